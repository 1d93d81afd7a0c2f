// The initial stack, as the x86-64 psABI and Linux's binfmt_elf.c lay it out. From the top down: 8 zero bytes; the name of the
// file; the environment's and the arguments' strings; a random gap; "x86_64"; 16 random bytes; and, with RSP at its start and
// aligned to 16: argc, argv[], NULL, envp[], NULL, auxv[]. The size of everything is known from the lengths of the strings, so
// it is written in one pass upwards, through a buffer.
#include "loader/stack.h"
#include "kernel/memory/aspace.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include <linux/auxvec.h>

#define ARG_MAX_BYTES 131072UL     // what is allowed however small the stack
#define STACK_ARGS_CAP (6UL << 20) // and never more than this: three quarters of the usual stack
#define BUFFER_SIZE 1024UL

static const char platform[] = "x86_64";

uint64_t stack_argument_limit(uint64_t stack_limit) { return MIN(MAX(stack_limit / 4, ARG_MAX_BYTES), STACK_ARGS_CAP); }

// One vector: how many strings, how many bytes. False: one is too long, or all are.
static bool measure(char **v, unsigned *count, uint64_t *bytes, uint64_t limit) {
    uint64_t n = 0;
    unsigned i = 0;
    for (; v[i]; i++) {
        size_t length = strlen(v[i]) + 1;
        n += length;
        if (length > STACK_MAX_STRING || n > limit)
            return false;
    }
    *count = i;
    *bytes = n;
    return true;
}

int stack_measure(struct stack_params *p, uint64_t stack_limit) {
    uint64_t limit = stack_argument_limit(stack_limit);
    if (!measure(p->argv, &p->argc, &p->arg_bytes, limit) || !measure(p->envp, &p->envc, &p->env_bytes, limit))
        return -E2BIG;
    uint64_t pointers = (uint64_t)(p->argc + p->envc) * sizeof(uint64_t);
    return p->arg_bytes + p->env_bytes + pointers + strlen(p->exec_name) + 1 > limit ? -E2BIG : 0;
}

// The writer: a window of the stack that moves upwards.
struct writer {
    struct aspace *as;
    uaddr_t addr; // of the first byte in the buffer
    size_t fill;
    int error;
    uint8_t *buffer;
};

static void writer_flush(struct writer *w) {
    if (!w->fill || w->error)
        return;
    long n = aspace_access(w->as, w->addr, w->buffer, w->fill, true, true);
    if (n != (long)w->fill)
        w->error = -ENOMEM;
    w->addr += w->fill;
    w->fill = 0;
}

static void put(struct writer *w, const void *data, size_t n) {
    while (n && !w->error) {
        size_t part = MIN(n, BUFFER_SIZE - w->fill);
        memcpy(w->buffer + w->fill, data, part);
        w->fill += part;
        data = (const uint8_t *)data + part;
        n -= part;
        if (w->fill == BUFFER_SIZE)
            writer_flush(w);
    }
}

static void put_word(struct writer *w, uint64_t value) { put(w, &value, sizeof(value)); }

// The gaps of the layout, of less than 8192 + 32 bytes: the stack is zero there already.
static void skip_to(struct writer *w, uaddr_t addr) {
    writer_flush(w);
    w->addr = addr;
}

// The addresses of strings that stand one behind another from `addr` on. Returns the end of the last.
static uaddr_t put_pointers(struct writer *w, char **v, uaddr_t addr) {
    for (; *v; v++) {
        put_word(w, addr);
        addr += strlen(*v) + 1;
    }
    put_word(w, 0);
    return addr;
}

static void put_strings(struct writer *w, char **v) {
    for (; *v; v++)
        put(w, *v, strlen(*v) + 1);
}

static uint64_t vector_words(const struct stack_params *p) { return 3 + p->argc + p->envc + 2 * (p->auxv_count + 1); }

uint64_t stack_size(const struct stack_params *p) {
    uint64_t bytes = 8 + strlen(p->exec_name) + 1 + p->arg_bytes + p->env_bytes + p->jitter + sizeof(platform) +
                     sizeof(p->random) + vector_words(p) * 8 + 32; // 32: two alignments to 16
    return ALIGN_UP(bytes, PAGE_SIZE);
}

static void complete_auxv(struct stack_params *p, uaddr_t random, uaddr_t exec_name, uaddr_t platform_at) {
    for (unsigned i = 0; i < p->auxv_count; i++) {
        struct auxv_entry *e = &p->auxv[i];
        if (e->type == AT_RANDOM)
            e->value = random;
        else if (e->type == AT_EXECFN)
            e->value = exec_name;
        else if (e->type == AT_PLATFORM)
            e->value = platform_at;
    }
    p->auxv[p->auxv_count] = (struct auxv_entry){AT_NULL, 0};
}

int stack_build(struct aspace *as, struct stack_params *p, uint64_t size, uaddr_t *sp) {
    size_t name_bytes = strlen(p->exec_name) + 1;
    unsigned auxv_words = 2 * (p->auxv_count + 1);

    if (p->auxv_count >= AUXV_MAX || stack_size(p) > size)
        return -E2BIG;
    uaddr_t name_at = p->top - 8 - name_bytes;
    uaddr_t env_at = name_at - p->env_bytes, arg_at = env_at - p->arg_bytes;
    uaddr_t platform_at = ALIGN_DOWN(arg_at - p->jitter, 16) - sizeof(platform);
    uaddr_t random_at = platform_at - sizeof(p->random);
    *sp = ALIGN_DOWN(random_at - vector_words(p) * 8, 16);

    complete_auxv(p, random_at, name_at, platform_at);
    struct writer w = {.as = as, .addr = *sp, .buffer = kmalloc(BUFFER_SIZE)};
    if (!w.buffer)
        return -ENOMEM;
    put_word(&w, p->argc);
    uaddr_t next = put_pointers(&w, p->argv, arg_at);
    put_pointers(&w, p->envp, next);
    put(&w, p->auxv, auxv_words * 8);
    skip_to(&w, random_at);
    put(&w, p->random, sizeof(p->random));
    put(&w, platform, sizeof(platform));
    skip_to(&w, arg_at);
    put_strings(&w, p->argv);
    put_strings(&w, p->envp);
    put(&w, p->exec_name, name_bytes);
    writer_flush(&w);
    kfree(w.buffer);

    as->stack_top = p->top;
    as->arg_start = arg_at;
    as->arg_end = as->env_start = env_at;
    as->env_end = name_at;
    _Static_assert(sizeof(as->auxv) >= AUXV_MAX * sizeof(struct auxv_entry), "room for every entry");
    memcpy(as->auxv, p->auxv, auxv_words * 8);
    as->auxv_words = auxv_words;
    return w.error;
}
