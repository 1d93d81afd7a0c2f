// ELF files: validation and mapping. Nothing that a file says is believed: every number is checked against the file's size and
// the application's half of the address space before it is used, with sums that cannot overflow.
#include "loader/elf.h"
#include "fs/file.h"
#include "kernel/memory/aspace.h"
#include "kernel/string.h"

#define MAX_SPAN (1UL << 44)

_Static_assert(sizeof(Elf64_Ehdr) == 64 && sizeof(Elf64_Phdr) == 56, "ELF-64");

const char *elf_check_header(const void *header, size_t len, uint64_t file_size, struct elf_info *out) {
    Elf64_Ehdr h;

    memset(out, 0, sizeof(*out));
    if (len < SELFMAG || memcmp(header, ELFMAG, SELFMAG))
        return "not an ELF file";
    // The identification tells a file for another machine from a short one.
    if (len >= EI_NIDENT && ((const uint8_t *)header)[EI_CLASS] == ELFCLASS32)
        return "a 32-bit program";
    if (len < sizeof(h) || file_size < sizeof(h))
        return "truncated in its ELF header";
    memcpy(&h, header, sizeof(h));
    if (h.e_ident[EI_CLASS] != ELFCLASS64)
        return "unknown ELF class";
    if (h.e_ident[EI_DATA] != ELFDATA2LSB)
        return "not little-endian";
    if (h.e_ident[EI_VERSION] != EV_CURRENT || h.e_version != EV_CURRENT)
        return "unknown ELF version";
    if (h.e_machine != EM_X86_64)
        return "for another machine than x86-64";
    if (h.e_type != ET_EXEC && h.e_type != ET_DYN)
        return "not a program (neither ET_EXEC nor ET_DYN)";
    if (h.e_phentsize != sizeof(Elf64_Phdr))
        return "program headers of an unknown size";
    if (h.e_phnum == 0)
        return "no program headers";
    if (h.e_phnum > ELF_MAX_PHDR_BYTES / sizeof(Elf64_Phdr))
        return "too many program headers";
    if (h.e_phoff > file_size || h.e_phnum * sizeof(Elf64_Phdr) > file_size - h.e_phoff)
        return "truncated in its program headers";
    out->phoff = h.e_phoff;
    out->phnum = h.e_phnum;
    out->entry = h.e_entry;
    out->relocatable = h.e_type == ET_DYN;
    return NULL;
}

static bool power_of_two(uint64_t x) { return x && !(x & (x - 1)); }

static const char *check_load(const Elf64_Phdr *p, uint64_t file_size, bool relocatable) {
    if (p->p_filesz > p->p_memsz)
        return "a segment with more bytes in the file than in memory";
    // Where there are no bytes, as in a segment that is all bss, the offset may be anything.
    if (p->p_filesz && (p->p_offset > file_size || p->p_filesz > file_size - p->p_offset))
        return "truncated: a segment lies beyond the end of the file";
    if (p->p_vaddr > USER_END || p->p_memsz > USER_END - p->p_vaddr)
        return "a segment outside the application's address space";
    if (!relocatable && p->p_vaddr < USER_START)
        return "a segment below the lowest address for programs";
    if ((p->p_vaddr - p->p_offset) % PAGE_SIZE && p->p_filesz)
        return "a segment whose offset and address differ within the page";
    return NULL;
}

// Segments may share a page (the later one has it then), but no byte.
static bool overlaps_earlier(const Elf64_Phdr *ph, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        if (ph[i].p_type == PT_LOAD && ph[i].p_memsz && ph[i].p_vaddr < ph[n].p_vaddr + ph[n].p_memsz &&
            ph[n].p_vaddr < ph[i].p_vaddr + ph[i].p_memsz)
            return true;
    return false;
}

static void account_load(const Elf64_Phdr *p, struct elf_info *out) {
    uint64_t start = p->p_vaddr, end = start + p->p_memsz;

    out->low = MIN(out->low, ALIGN_DOWN(start, PAGE_SIZE));
    out->high = MAX(out->high, ALIGN_UP(end, PAGE_SIZE));
    out->end = MAX(out->end, end);
    if (power_of_two(p->p_align))
        out->align = MAX(out->align, p->p_align);
    if (!out->phdr && p->p_filesz && out->phoff >= p->p_offset && out->phoff - p->p_offset < p->p_filesz &&
        out->phnum * sizeof(Elf64_Phdr) <= p->p_filesz - (out->phoff - p->p_offset))
        out->phdr = start + (out->phoff - p->p_offset);
    if (p->p_flags & PF_X) {
        out->code_start = MIN(out->code_start, start);
        out->code_end = MAX(out->code_end, start + p->p_filesz);
    }
    // As Linux: the data are where the highest segment is.
    if (start >= out->data_start)
        out->data_start = start;
    out->data_end = MAX(out->data_end, start + p->p_filesz);
}

const char *elf_check_segments(const Elf64_Phdr *ph, uint64_t file_size, struct elf_info *out) {
    bool any = false, entry_ok = false;
    uint64_t highest = 0; // end of the segments so far: those in ascending order cannot overlap

    out->low = out->code_start = USER_END;
    out->align = PAGE_SIZE;
    for (unsigned i = 0; i < out->phnum; i++) {
        const Elf64_Phdr *p = &ph[i];
        const char *why;

        switch (p->p_type) {
        case PT_LOAD:
            why = check_load(p, file_size, out->relocatable);
            if (why)
                return why;
            if (p->p_memsz == 0)
                break;
            if (p->p_vaddr < highest && overlaps_earlier(ph, i))
                return "segments that overlap";
            highest = MAX(highest, p->p_vaddr + p->p_memsz);
            account_load(p, out);
            any = true;
            if (p->p_flags & PF_X && out->entry >= p->p_vaddr && out->entry - p->p_vaddr < p->p_memsz)
                entry_ok = true;
            break;
        case PT_INTERP:
            if (out->interp_size)
                break; // as on Linux the first one counts
            if (p->p_filesz < 2 || p->p_filesz > ELF_MAX_INTERP)
                return "an interpreter's name that is empty or too long";
            if (p->p_offset > file_size || p->p_filesz > file_size - p->p_offset)
                return "truncated in its interpreter's name";
            out->interp_offset = p->p_offset;
            out->interp_size = p->p_filesz;
            break;
        case PT_GNU_STACK: out->exec_stack = p->p_flags & PF_X; break;
        default: break;
        }
    }
    if (!any)
        return "no segment to load";
    if (!entry_ok)
        return "an entry point outside its code";
    // From where programs are put, so much is left below the stack, with every random offset.
    if (out->relocatable && out->high - out->low > MAX_SPAN)
        return "segments too far apart";
    out->align = MIN(out->align, 1UL << 30);
    if (out->code_start == USER_END)
        out->code_start = 0;
    return NULL;
}

// Zeroes what follows a segment's bytes in their last page. The page is the file's until this write makes a copy.
static int zero_tail(struct aspace *as, uaddr_t addr) {
    size_t n = ALIGN_UP(addr, PAGE_SIZE) - addr;
    return n && aspace_access(as, addr, NULL, n, true, true) != (long)n ? -ENOMEM : 0;
}

static int map_segment(struct aspace *as, struct backing *backing, const Elf64_Phdr *p, uint64_t bias, unsigned fixed) {
    uaddr_t start = ALIGN_DOWN(p->p_vaddr, PAGE_SIZE) + bias;
    uaddr_t file_end = p->p_vaddr + p->p_filesz + bias, end = p->p_vaddr + p->p_memsz + bias;
    uaddr_t file_pages = p->p_filesz ? ALIGN_UP(file_end, PAGE_SIZE) : start;
    uaddr_t all_pages = ALIGN_UP(end, PAGE_SIZE);
    unsigned prot = (p->p_flags & PF_R ? PROT_READ : 0) | (p->p_flags & PF_W ? PROT_WRITE : 0) |
                    (p->p_flags & PF_X ? PROT_EXEC : 0);
    const unsigned max_prot = PROT_READ | PROT_WRITE | PROT_EXEC;

    if (file_pages > start) {
        long r = aspace_map(as, start, file_pages - start, prot, MAP_PRIVATE | fixed, backing,
                            ALIGN_DOWN(p->p_offset, PAGE_SIZE), max_prot, 0);
        if (r < 0)
            return (int)r;
        if (end > file_end) {
            int err = zero_tail(as, file_end);
            if (err)
                return err;
        }
    }
    if (all_pages > file_pages) {
        long r = aspace_map(as, file_pages, all_pages - file_pages, prot, MAP_PRIVATE | MAP_ANONYMOUS | fixed, NULL, 0,
                            max_prot, 0);
        if (r < 0)
            return (int)r;
    }
    return 0;
}

int elf_map(struct aspace *as, struct file *f, const Elf64_Phdr *ph, const struct elf_info *info, uint64_t bias,
            bool replace) {
    uint64_t mapped_to = 0; // end of the pages mapped so far
    int err = 0;

    if (!f->ops->map)
        return -ENOEXEC;
    struct backing *backing = f->ops->map(f, PROT_READ | PROT_EXEC, MAP_PRIVATE);
    if (IS_ERR(backing))
        return (int)PTR_ERR(backing);
    for (unsigned i = 0; i < info->phnum && !err; i++) {
        if (ph[i].p_type != PT_LOAD || ph[i].p_memsz == 0)
            continue;
        // Only a page shared with an earlier segment may be mapped over.
        bool shares = ALIGN_DOWN(ph[i].p_vaddr, PAGE_SIZE) < mapped_to;
        err = map_segment(as, backing, &ph[i], bias, replace || shares ? MAP_FIXED : MAP_FIXED_NOREPLACE);
        mapped_to = MAX(mapped_to, ALIGN_UP(ph[i].p_vaddr + ph[i].p_memsz, PAGE_SIZE));
    }
    backing->ops->unref(backing);
    return err == -EEXIST ? -ENOEXEC : err;
}
