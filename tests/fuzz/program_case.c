// The loader's view of a file, against an address space that only keeps account. No header of the C library here: the kernel's
// stand in for them.
#include "tests/fuzz/program_case.h"
#include "fs/file.h"
#include "kernel/memory/aspace.h"
#include "kernel/string.h"
#include "loader/elf.h"
#include "loader/script.h"

void *malloc(size_t n);
void free(void *p);
void abort(void) NORETURN;

#define HEAD_SIZE 1024UL // as loader/exec.c reads it
#define MAX_RANGES 4096

static struct range {
    uint64_t start, end, file_offset;
    bool file;
} ranges[MAX_RANGES];
static unsigned range_count;
static const uint8_t *file_data;
static uint64_t file_size;

#define CHECK(cond)                                                                                                    \
    do {                                                                                                               \
        if (!(cond))                                                                                                   \
            abort();                                                                                                   \
    } while (0)

long aspace_map(struct aspace *as, uaddr_t addr, size_t len, unsigned prot, unsigned flags, struct backing *backing,
                uint64_t offset, unsigned max_prot, unsigned vm_flags) {
    CHECK(len > 0 && addr % PAGE_SIZE == 0 && len % PAGE_SIZE == 0 && offset % PAGE_SIZE == 0);
    CHECK(addr >= USER_START && addr < USER_END && len <= USER_END - addr);
    CHECK(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE));
    // Pages of the file, the last perhaps in part: never a page that is wholly beyond the end.
    CHECK(!backing || (offset < file_size && len <= ALIGN_UP(file_size - offset, PAGE_SIZE)));
    for (unsigned i = 0; i < range_count; i++)
        if (addr < ranges[i].end && ranges[i].start < addr + len && flags & MAP_FIXED_NOREPLACE)
            return -EEXIST;
    if (range_count == MAX_RANGES)
        return -ENOMEM;
    ranges[range_count++] = (struct range){addr, addr + len, offset, backing != NULL};
    return (long)addr;
}

long aspace_access(struct aspace *as, uaddr_t addr, void *buf, size_t len, bool write, bool force) {
    CHECK(write && !buf && len > 0 && len < PAGE_SIZE && addr / PAGE_SIZE == (addr + len - 1) / PAGE_SIZE);
    for (unsigned i = 0; i < range_count; i++)
        if (addr >= ranges[i].start && addr + len <= ranges[i].end)
            return (long)len;
    abort(); // a write into something that was not mapped
}

static void nothing(struct backing *b) {}

static struct backing *fake_map(struct file *f, unsigned prot, unsigned flags) {
    static const struct backing_ops ops = {.ref = nothing, .unref = nothing};
    static struct backing backing = {.ops = &ops};
    return &backing;
}

static void check_info(const struct elf_info *e) {
    CHECK(e->low % PAGE_SIZE == 0 && e->high % PAGE_SIZE == 0 && e->low < e->high && e->high <= USER_END);
    CHECK(e->entry >= e->low && e->entry < e->high);
    CHECK(e->end > e->low && e->end <= e->high);
    CHECK(e->align >= PAGE_SIZE && !(e->align & (e->align - 1)));
    CHECK(e->interp_size <= ELF_MAX_INTERP && e->interp_offset + e->interp_size <= file_size);
    CHECK(!e->phdr || (e->phdr >= e->low && e->phdr < e->high));
    CHECK(e->code_end >= e->code_start && e->data_end >= e->data_start);
}

static const char *check_elf(const uint8_t *data, size_t size) {
    struct elf_info info;
    // Exact copies, so that a read past the end is seen.
    size_t head = MIN(size, HEAD_SIZE);
    uint8_t *copy = malloc(head);
    memcpy(copy, data, head);
    const char *why = elf_check_header(copy, head, size, &info);
    free(copy);
    if (why)
        return why;
    size_t bytes = info.phnum * sizeof(Elf64_Phdr);
    CHECK(info.phoff <= size && bytes <= size - info.phoff);
    Elf64_Phdr *ph = malloc(bytes);
    memcpy(ph, data + info.phoff, bytes);
    why = elf_check_segments(ph, size, &info);
    if (!why) {
        const struct file_ops ops = {.map = fake_map};
        struct file f = {.ops = &ops};
        uint64_t bias = info.relocatable ? ALIGN_DOWN(0x555555554000UL, info.align) - info.low : 0;
        check_info(&info);
        if (elf_map(NULL, &f, ph, &info, bias, false) < 0)
            why = "segments that cannot be mapped";
    }
    free(ph);
    return why;
}

static const char *check_script(const uint8_t *data, size_t size) {
    char *line = malloc(SCRIPT_LINE_MAX), *name, *argument;
    const char *why = NULL;
    memset(line, 0, SCRIPT_LINE_MAX);
    memcpy(line, data, MIN(size, (size_t)SCRIPT_LINE_MAX));
    if (!script_parse(line, &name, &argument)) {
        why = "no interpreter";
    } else {
        CHECK(name >= line + 2 && name + strlen(name) < line + SCRIPT_LINE_MAX);
        CHECK(!argument || (argument > name && argument + strlen(argument) < line + SCRIPT_LINE_MAX));
    }
    free(line);
    return why;
}

const char *program_case(const uint8_t *data, size_t size) {
    range_count = 0;
    file_data = data;
    file_size = size;
    if (size >= 2 && data[0] == '#' && data[1] == '!')
        return check_script(data, size);
    return check_elf(data, size);
}
