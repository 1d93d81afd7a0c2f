// What `knarr check` reads out of code: values of registers along all paths, functions, and the words about missing calls.
// link: tools/check/value.c tools/check/flow.c tools/check/code.c tools/check/disasm.c tools/check/object.c tools/check/dynamic.c tools/check/frames.c
// link: tools/check/gaps.c tools/check/gotable.c tools/check/table.c tools/check/numbers.c tools/check/reach.c tools/common.c
// libs: -lelf
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "tools/check/table.h"

/* Code with a label behind it, assembled by the compiler. */
#define CODE(name, text)                                                                                               \
    __asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection");                                \
    extern const uint8_t name[], name##_end[]

CODE(moves, "mov $7, %ecx; mov %rcx, %rdx; movl %edx, %eax; syscall");
CODE(branches, "mov $1, %eax; test %edi, %edi; je 1f; mov $2, %eax; 1: syscall; ret");
CODE(loop, "mov $9, %r9d; jmp 2f; nop; nopw 0(%rax,%rax,1); 1: mov %r9d, %eax; syscall; 2: cmp $1, %rdi; jne 1b; ret");
CODE(computed, "xor %eax, %eax; cmp $3, %edi; setne %al; add $0x10b, %eax; syscall");
CODE(borrowed, "cmp $1, %edi; sbb %eax, %eax; and $5, %eax; add $10, %eax; syscall");
CODE(chosen, "mov $3, %eax; mov $4, %ecx; test %edi, %edi; cmove %ecx, %eax; syscall");
CODE(spilled, "sub $0x28, %rsp; movl $11, 0x10(%rsp); mov %rax, 0x18(%rsp); call 1f; 1: mov 0x10(%rsp), %eax; syscall");
CODE(escaped, "sub $0x28, %rsp; movl $11, 0x10(%rsp); lea 0x10(%rsp), %rdi; call 1f; 1: mov 0x10(%rsp), %eax; syscall");
CODE(framed, "push %rbp; mov %rsp, %rbp; sub $0x20, %rsp; mov %edi, -4(%rbp); mov -4(%rbp), %eax; syscall");
CODE(parameter, "mov %rsi, %rax; mov %rdi, %rdi; syscall");
CODE(above, "mov 16(%rsp), %rax; syscall");
CODE(clobbered, "mov $1, %eax; call 1f; 1: syscall");
CODE(kept, "mov $1, %ebx; call 1f; 1: mov %ebx, %eax; syscall");
CODE(twice, "mov $1, %eax; syscall; syscall");
CODE(exchanged, "mov $1, %eax; mov $2, %ecx; xchg %eax, %ecx; syscall");
CODE(pushed, "push $33; pop %rax; syscall");
CODE(masked, "and $2, %eax; or $4, %eax; syscall");
CODE(partial, "mov $0x100, %eax; mov $2, %al; syscall");
CODE(many, "xor %eax, %eax; 1: inc %eax; cmp $500, %eax; jne 1b; syscall");
CODE(shifted, "mov $1, %eax; shl $3, %eax; lea 2(%rax,%rax,1), %eax; syscall");
CODE(from_memory, "mov (%rdi), %eax; syscall");
CODE(hidden, "ret; mov %ecx, %eax; syscall");

static struct object object;
static struct segment segment;

static const struct object *object_of(const uint8_t *code, size_t size) {
    segment = (struct segment){.address = 0x1000, .size = size, .executable = true};
    object = (struct object){
        .bytes = (uint8_t *)code, .size = size, .segments = &segment, .segment_count = 1, .position_independent = true};
    return &object;
}

/* RAX at the last syscall instruction. */
static struct value number_in(const uint8_t *from, const uint8_t *to) {
    struct code code;
    struct flow flow;
    struct state state;
    size_t i, size = (size_t)(to - from);

    code_read(&code, object_of(from, size), 0x1000, 0x1000 + size, 0);
    flow_solve(&flow, &code, NULL, 0);
    for (i = code.count; i-- > 0 && code.insns[i].op != OP_SYSCALL;)
        ;
    flow_before(&flow, &code.insns[i], &state);
    flow_free(&flow);
    code_free(&code);
    return state.registers[REG_AX];
}

static void expect(const uint8_t *from, const uint8_t *to, uint32_t parameters, unsigned count,
                   const int64_t *constants) {
    struct value value = number_in(from, to);

    assert_int_equal(value.kind, VALUE_SET);
    assert_int_equal(value.parameters, parameters);
    assert_int_equal(value.count, count);
    for (unsigned i = 0; i < count; i++) {
        bool found = false;
        for (unsigned k = 0; k < count; k++)
            found |= value.constants[k] == constants[i];
        assert_true(found);
    }
}

#define CONSTANTS(name, ...) expect(name, name##_end, 0, sizeof((int64_t[]){__VA_ARGS__}) / 8, (int64_t[]){__VA_ARGS__})
#define ANY(name) assert_int_equal(number_in(name, name##_end).kind, VALUE_ANY)

static void constants(void **state) {
    CONSTANTS(moves, 7);
    CONSTANTS(branches, 1, 2);
    CONSTANTS(loop, 9);
    CONSTANTS(computed, 0x10b, 0x10c);
    CONSTANTS(borrowed, 10, 15);
    CONSTANTS(chosen, 3, 4);
    CONSTANTS(spilled, 11);
    CONSTANTS(kept, 1);
    CONSTANTS(exchanged, 2);
    CONSTANTS(pushed, 33);
    CONSTANTS(masked, 4, 6);
    CONSTANTS(shifted, 18);
}

static void unknown(void **state) {
    ANY(escaped);
    ANY(clobbered);
    ANY(twice);
    ANY(partial);
    ANY(many);
    ANY(hidden);
    expect(from_memory, from_memory_end, VALUE_MEMORY, 0, NULL);
}

static void parameters(void **state) {
    expect(parameter, parameter_end, 1u << REG_SI, 0, NULL);
    expect(framed, framed_end, 1u << REG_DI, 0, NULL);
    expect(above, above_end, 1u << (PARAMETER_STACK + 1), 0, NULL);
}

static void merging(void **state) {
    struct value many = {0}, none = {0};

    for (int64_t i = 0; i < VALUE_CONSTANTS; i++) {
        struct value one = value_constant(i);
        many = value_merge(&many, &one);
        assert_int_equal(many.kind, VALUE_SET);
    }
    struct value more = value_constant(VALUE_CONSTANTS), stack = value_stack(8), other = value_stack(16);
    assert_int_equal(value_merge(&many, &more).kind, VALUE_ANY);
    assert_int_equal(value_merge(&stack, &other).kind, VALUE_ANY);
    assert_int_equal(value_merge(&none, &stack).kind, VALUE_STACK);
    struct value minus = value_constant(-1);
    assert_int_equal(value_extend(&minus, 4, false).constants[0], 0xffffffff);
    assert_int_equal(value_extend(&minus, 1, true).constants[0], -1);
}

/* Every call that is absent has words, and no other. */
static void words(void **state) {
    const char *purpose, *effect;

#define SYSCALL(number, name, ...) assert_int_equal(call_loss(number, &purpose, &effect), LOSS_NONE);
#define NOSYS(number, name, ...)                                                                                       \
    assert_int_not_equal(call_loss(number, &purpose, &effect), LOSS_NONE);                                             \
    if (strcmp(purpose, "no call of Linux") == 0)                                                                      \
        fail_msg("%s has no ABSENT line in syscall/absent.h", #name);
#include "syscall/table.h"
#define ABSENT(name, ...)                                                                                              \
    {                                                                                                                  \
        unsigned i = 0;                                                                                                \
        while (i < NUMBERS && (!call_name(i) || strcmp(call_name(i), #name) != 0))                                     \
            i++;                                                                                                       \
        if (i == NUMBERS || call_loss(i, &purpose, &effect) == LOSS_NONE)                                              \
            fail_msg("%s is in syscall/absent.h and not absent", #name);                                               \
    }
#define REFUSED(call, first, last, mask, loss, text)                                                                   \
    assert_int_equal(option_loss(number_named(#call), first, &purpose), LOSS_##loss);                                  \
    assert_true(option_argument(number_named(#call)) >= 0);
    unsigned number_named(const char *name) {
        for (unsigned i = 0; i < NUMBERS; i++)
            if (call_name(i) && strcmp(call_name(i), name) == 0)
                return i;
        fail_msg("%s is no call", name);
        return 0;
    }
#include "syscall/absent.h"
    assert_int_equal(option_loss(number_named("socket"), 2, &purpose), LOSS_NONE);
    assert_int_equal(option_loss(number_named("clone"), 0x3d0f00, &purpose), LOSS_NONE);
    assert_int_equal(option_loss(number_named("prctl"), 15, &purpose), LOSS_NONE);
}

/* Each damage of a small file: read or refused, and looked at to the end. */
static void damaged(void **state) {
    struct {
        Elf64_Ehdr header;
        Elf64_Phdr segments[2];
        uint8_t code[64];
    } file = {.header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                         .e_type = ET_EXEC,
                         .e_machine = EM_X86_64,
                         .e_version = EV_CURRENT,
                         .e_entry = 0x400000 + offsetof(__typeof__(file), code),
                         .e_phoff = sizeof(Elf64_Ehdr),
                         .e_ehsize = sizeof(Elf64_Ehdr),
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = 2},
              .segments = {{.p_type = PT_LOAD,
                            .p_flags = PF_R | PF_X,
                            .p_vaddr = 0x400000,
                            .p_filesz = sizeof(file),
                            .p_memsz = sizeof(file)},
                           {.p_type = PT_DYNAMIC, .p_vaddr = 0x400000, .p_filesz = 64, .p_memsz = 64}}};

    memcpy(file.code, branches, (size_t)(branches_end - branches));
    for (size_t at = 0; at <= 2 * sizeof(file); at++) {
        size_t size = at > sizeof(file) ? at - sizeof(file) : sizeof(file);
        uint8_t *bytes = malloc(size);
        memcpy(bytes, &file, size);
        if (at < sizeof(file))
            bytes[at] ^= 0xff;
        struct object damaged;
        struct reach reach = {0};
        struct numbers numbers = {0};
        if (object_read(&damaged, "damaged", bytes, size) == NULL) {
            reach_add(&reach, &damaged);
            reach_enter(&reach, &damaged, true, false);
            reach_run(&reach);
            numbers_find(&numbers, &reach);
            if (at == sizeof(file)) {
                assert_int_equal(numbers.calls[1].level, LEVEL_SURE);
                assert_int_equal(numbers.calls[2].level, LEVEL_SURE);
                assert_int_equal(numbers.calls[3].level, LEVEL_NONE);
            }
        }
        numbers_free(&numbers);
        reach_free(&reach);
        object_free(&damaged);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constants), cmocka_unit_test(unknown), cmocka_unit_test(parameters),
        cmocka_unit_test(merging),   cmocka_unit_test(words),   cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
