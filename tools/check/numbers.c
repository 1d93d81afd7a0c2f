/*
 * From syscall instructions to numbers; see the header. A function that has a number from its caller makes a demand on its callers: what
 * do you put there? Demands are answered one after the other, each once; the answer may be another demand.
 */
#include "tools/check/numbers.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

enum { ARGUMENTS = 3, NOT_A_PARAMETER = 0xff, UNKNOWN_MOST = 64, OPTIONS_MOST = 4096, DEMANDS_MOST = 20000 };
static const uint8_t kernel_arguments[ARGUMENTS] = {REG_DI, REG_SI, REG_DX};

struct demand {
    struct function *function;
    uint16_t number; /* of an option's call; NUMBERS + 1: the number itself is wanted */
    uint8_t parameter;
    uint8_t arguments[ARGUMENTS]; /* where the arguments of a call with wanted number come from */
};

enum { WANTED = NUMBERS + 1 };

static const uint64_t work_most = 200u << 20;

struct search {
    struct reach *reach;
    struct numbers *numbers;
    struct demand *demands;
    size_t demand_count;
    uint64_t work;            /* instructions that were walked through */
    struct function *current; /* whose code and flow these are */
    struct code code;
    struct flow flow;
};

int option_argument(unsigned number) {
    switch (number) {
    case SYS_socket:
    case SYS_socketpair:
    case SYS_prctl:
    case SYS_arch_prctl:
    case SYS_clone:
    case SYS_unshare:
    case NUMBER_DLOPEN: return 0;
    case SYS_ioctl: return 1;
    case SYS_mmap:
    case SYS_mprotect: return 2;
    default: return -1;
    }
}

static bool better(const struct use *old, enum level level) { return level > old->level; }

static void open_function(struct search *s, struct function *f) {
    if (s->current == f)
        return;
    code_free(&s->code);
    flow_free(&s->flow);
    code_read(&s->code, f->object, f->start, f->end, f->limit);
    for (size_t i = 0; i < s->code.count; i++) {
        struct insn *insn = &s->code.insns[i];
        if (insn->op == OP_CALL && insn->to.kind == OPERAND_IMMEDIATE) {
            const struct function *called = reach_function(s->reach, f->object, (uint64_t)insn->to.value);
            insn->ends = called && called->level && !called->returns;
        }
    }
    flow_solve(&s->flow, &s->code, f->entries, f->entry_count);
    s->current = f;
    s->work += s->code.count + s->flow.work;
    s->reach->gave_up |= s->work > work_most;
}

/* --- What was found --- */

static void found_unknown(struct search *s, struct function *f, uint64_t site, enum level level) {
    struct numbers *n = s->numbers;

    for (size_t i = 0; i < n->unknown_count; i++)
        if (n->unknown[i].function == f) {
            n->unknown[i].level = level > n->unknown[i].level ? level : n->unknown[i].level;
            return;
        }
    if (n->unknown_count == UNKNOWN_MOST)
        return;
    n->unknown = xrealloc(n->unknown, (n->unknown_count + 1) * sizeof(*n->unknown));
    n->unknown[n->unknown_count++] = (struct use){level, f, site};
}

static void found_option(struct search *s, unsigned number, int64_t value, struct function *f, uint64_t site) {
    struct numbers *n = s->numbers;

    value = number == SYS_ioctl || number == SYS_prctl || number == SYS_arch_prctl ? (int64_t)(uint32_t)value : value;
    for (size_t i = 0; i < n->option_count; i++)
        if (n->options[i].number == number && n->options[i].value == value &&
            (number != NUMBER_DLOPEN || n->options[i].use.function->object == f->object)) {
            if (better(&n->options[i].use, f->level))
                n->options[i].use = (struct use){f->level, f, site};
            return;
        }
    if (n->option_count == OPTIONS_MOST)
        return;
    n->options = xrealloc(n->options, (n->option_count + 1) * sizeof(*n->options));
    n->options[n->option_count++] = (struct option_use){number, value, {f->level, f, site}};
}

static void demand(struct search *s, const struct demand *wanted) {
    for (size_t i = 0; i < s->demand_count; i++)
        if (s->demands[i].function == wanted->function && s->demands[i].number == wanted->number &&
            s->demands[i].parameter == wanted->parameter &&
            memcmp(s->demands[i].arguments, wanted->arguments, ARGUMENTS) == 0)
            return;
    if (s->demand_count == DEMANDS_MOST)
        return;
    if ((s->demand_count & (s->demand_count + 1)) == 0)
        s->demands = xrealloc(s->demands, (2 * s->demand_count + 1) * sizeof(*s->demands));
    s->demands[s->demand_count++] = *wanted;
}

static void found_value(struct search *s, unsigned number, const struct value *value, struct function *f,
                        uint64_t site) {
    if (value->kind != VALUE_SET)
        return;
    for (unsigned i = 0; i < value->count && !(value->parameters & VALUE_MEMORY); i++)
        found_option(s, number, value->constants[i], f, site);
    for (unsigned p = 0; p < PARAMETER_COUNT; p++)
        if (value->parameters & 1u << p)
            demand(s, &(struct demand){.function = f, .number = (uint16_t)number, .parameter = (uint8_t)p});
}

/* The constants among a number's values. */
static void found_numbers(struct search *s, const struct value *value, const struct value *arguments,
                          struct function *f, uint64_t site) {
    for (unsigned i = 0; i < value->count; i++) {
        int64_t number = value->constants[i];
        if ((number < 0 || number >= NUMBERS) && value->parameters & VALUE_MEMORY)
            continue; /* what a variable holds before it is set */
        if (number < 0 || number >= NUMBERS) {
            if (number != -1 && better(&s->numbers->beyond, f->level)) { /* -1: no call at all */
                s->numbers->beyond = (struct use){f->level, f, site};
                s->numbers->beyond_number = number;
            }
            continue;
        }
        if (better(&s->numbers->calls[number], f->level))
            s->numbers->calls[number] = (struct use){f->level, f, site};
        int which = option_argument((unsigned)number);
        if (which >= 0)
            found_value(s, (unsigned)number, &arguments[which], f, site);
    }
}

static void number_wanted(struct search *s, const struct value *value, const struct value *arguments,
                          struct function *f) {
    for (unsigned p = 0; p < PARAMETER_COUNT; p++) {
        struct demand wanted = {.function = f, .number = WANTED, .parameter = (uint8_t)p};
        if (!(value->parameters & 1u << p))
            continue;
        for (unsigned i = 0; i < ARGUMENTS; i++) {
            bool one = arguments[i].kind == VALUE_SET && arguments[i].count == 0 &&
                       __builtin_popcount(arguments[i].parameters) == 1 && arguments[i].parameters != VALUE_MEMORY;
            wanted.arguments[i] = one ? (uint8_t)__builtin_ctz(arguments[i].parameters) : NOT_A_PARAMETER;
        }
        demand(s, &wanted);
    }
}

static void found_number(struct search *s, const struct value *value, const struct value *arguments, struct function *f,
                         uint64_t site) {
    if (value->kind != VALUE_SET) {
        if (value->kind != VALUE_NONE)
            found_unknown(s, f, site, f->level);
        return;
    }
    if (value->parameters & VALUE_MEMORY)
        found_unknown(s, f, site, LEVEL_MAY);
    found_numbers(s, value, arguments, f, site);
    number_wanted(s, value, arguments, f);
}

/* --- Where it is looked for --- */

static void look_at_trap(struct search *s, struct function *f, const struct trap *trap) {
    struct state state;
    struct value arguments[ARGUMENTS];

    if (trap->op != OP_SYSCALL) {
        struct use *use = trap->op == OP_INT80 ? &s->numbers->int80 : &s->numbers->sysenter;
        if (better(use, f->level))
            *use = (struct use){f->level, f, trap->site};
        return;
    }
    open_function(s, f);
    const struct insn *insn = code_at(&s->code, trap->site);
    if (!insn)
        return;
    flow_before(&s->flow, insn, &state);
    for (unsigned i = 0; i < ARGUMENTS; i++)
        arguments[i] = state.registers[kernel_arguments[i]];
    struct value number = value_extend(&state.registers[REG_AX], 4, true);
    found_number(s, &number, arguments, f, trap->site);
}

static void answer(struct search *s, const struct demand *d, const struct call *call) {
    struct state state;
    struct value arguments[ARGUMENTS];

    open_function(s, call->from);
    const struct insn *insn = code_at(&s->code, call->site);
    bool goes = insn && (insn->op == OP_CALL || insn->op == OP_JUMP || insn->op == OP_BRANCH);
    bool falls = insn && !goes && insn->address + insn->size == d->function->start;
    if (!goes && !falls) {
        if (d->number == WANTED)
            found_unknown(s, d->function, call->site, LEVEL_MAY);
        return;
    }
    falls ? flow_after(&s->flow, insn, &state) : flow_before(&s->flow, insn, &state);
    struct value value = flow_argument(&state, insn, d->parameter);
    if (d->number != WANTED) {
        found_value(s, d->number, &value, call->from, call->site);
        return;
    }
    for (unsigned i = 0; i < ARGUMENTS; i++)
        arguments[i] = d->arguments[i] == NOT_A_PARAMETER ? value_any() : flow_argument(&state, insn, d->arguments[i]);
    value = value_extend(&value, 4, true);
    found_number(s, &value, arguments, call->from, call->site);
}

void numbers_find(struct numbers *numbers, struct reach *reach) {
    struct search s = {.reach = reach, .numbers = numbers};
    struct function *dlopen[2];

    *numbers = (struct numbers){0};
    for (struct function *f = reach->first; f && s.work <= work_most; f = f->next_reached)
        for (const struct trap *trap = f->traps; trap && s.work <= work_most; trap = trap->next)
            look_at_trap(&s, f, trap);
    size_t count = reach_resolve(reach, "dlopen", dlopen, 2);
    for (size_t i = 0; i < count; i++)
        demand(&s, &(struct demand){.function = dlopen[i], .number = NUMBER_DLOPEN, .parameter = REG_DI});
    for (size_t i = 0; i < s.demand_count; i++) {
        struct demand d = s.demands[i];
        for (const struct call *call = d.function->calls; call && s.work <= work_most; call = call->next)
            answer(&s, &d, call);
        if (d.number == WANTED && d.function->taken)
            found_unknown(&s, d.function, d.function->start, LEVEL_MAY);
    }
    code_free(&s.code);
    flow_free(&s.flow);
    free(s.demands);
}

void numbers_free(struct numbers *numbers) {
    free(numbers->options);
    free(numbers->unknown);
    *numbers = (struct numbers){0};
}
