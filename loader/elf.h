// ELF files: the check of what a file says, which touches nothing but its arguments, and the mapping of a file that passed.
#ifndef LOADER_ELF_H
#define LOADER_ELF_H

#include "kernel/types.h"
#include <linux/elf.h>

struct aspace;
struct file;

#define ELF_MAX_PHDR_BYTES 65536 // of the program header table, as Linux
#define ELF_MAX_INTERP 4096      // PT_INTERP, with its NUL

// What the program headers amount to. Addresses are those of the file, before relocation by a bias.
struct elf_info {
    uint64_t phoff, entry;
    unsigned phnum;
    bool relocatable;       // ET_DYN: may be put anywhere
    uint64_t low, high;     // the pages that all segments cover, page-aligned
    uint64_t align;         // largest alignment that a segment asks for, at least a page
    uint64_t phdr;          // where the program headers are in memory; 0: in no segment
    uint64_t interp_offset; // in the file; interp_size 0: no interpreter
    uint64_t interp_size;
    uint64_t code_start, code_end, data_start, data_end, end; // end: of the last segment, to the byte
    bool exec_stack;
};

// Checks the ELF header, of which the file's first `len` bytes are at `header`, and fills in phoff, phnum, entry and
// relocatable. NULL, or why the file is refused. `file_size`: of the whole file.
const char *elf_check_header(const void *header, size_t len, uint64_t file_size, struct elf_info *out);
// Checks the program headers (out->phnum of them) and fills in the rest. NULL, or why the file is refused.
const char *elf_check_segments(const Elf64_Phdr *ph, uint64_t file_size, struct elf_info *out);

// Maps the segments of a checked file at their addresses plus `bias`. Pages that other mappings have are taken only when
// `replace` (a reservation of the caller's). 0, -ENOMEM, -ENOEXEC (the address space is taken), or an error of the file.
int elf_map(struct aspace *as, struct file *f, const Elf64_Phdr *ph, const struct elf_info *info, uint64_t bias,
            bool replace);

#endif
