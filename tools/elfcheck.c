/*
 * Early checks of a program file, with libelf; see the header.
 */
#include "tools/elfcheck.h"

#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>

static const char *machine_name(unsigned machine) {
    switch (machine) {
    case EM_386: return "an ELF file for 32-bit x86, not for x86-64";
    case EM_ARM: return "an ELF file for 32-bit ARM, not for x86-64";
    case EM_AARCH64: return "an ELF file for 64-bit ARM, not for x86-64";
    case EM_RISCV: return "an ELF file for RISC-V, not for x86-64";
    case EM_PPC64: return "an ELF file for PowerPC, not for x86-64";
    case EM_S390: return "an ELF file for S/390, not for x86-64";
    default: return "an ELF file for another processor, not for x86-64";
    }
}

static const char *check_segments(const char *head, size_t length, uint64_t size, const GElf_Ehdr *header,
                                  char **interpreter) {
    bool loads = false;

    if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum == 0)
        return "an ELF file without program headers";
    if (header->e_phoff > size || (uint64_t)header->e_phnum * sizeof(Elf64_Phdr) > size - header->e_phoff)
        return "a truncated ELF file: its program headers lie behind its end";
    for (unsigned i = 0; i < header->e_phnum; i++) {
        uint64_t at = header->e_phoff + i * sizeof(Elf64_Phdr);
        Elf64_Phdr segment;

        if (at + sizeof(segment) > length)
            return NULL;
        memcpy(&segment, head + at, sizeof(segment));
        if (segment.p_type == PT_LOAD) {
            loads = true;
            if (segment.p_filesz && (segment.p_offset > size || segment.p_filesz > size - segment.p_offset))
                return "a truncated ELF file: a segment lies behind its end";
        } else if (segment.p_type == PT_INTERP && !*interpreter && segment.p_offset < length &&
                   segment.p_filesz <= length - segment.p_offset && segment.p_filesz > 0) {
            *interpreter = strndup(head + segment.p_offset, segment.p_filesz);
        }
    }
    return loads ? NULL : "an ELF file with nothing to load";
}

const char *elf_check(char *head, size_t length, uint64_t size, char **interpreter) {
    *interpreter = NULL;
    if (size == 0)
        return "an empty file";
    if (length >= 2 && memcmp(head, "#!", 2) == 0)
        return NULL;
    if (length < SELFMAG || memcmp(head, ELFMAG, SELFMAG) != 0)
        return "not an ELF file";
    if (length < sizeof(Elf32_Ehdr))
        return "a truncated ELF file";

    elf_version(EV_CURRENT);
    Elf *elf = elf_memory(head, length);
    GElf_Ehdr header;
    bool readable = elf && gelf_getehdr(elf, &header);
    elf_end(elf);
    if (!readable)
        return length < sizeof(Elf64_Ehdr) ? "a truncated ELF file" : "a damaged ELF file";
    if (header.e_machine != EM_X86_64)
        return machine_name(header.e_machine);
    if (header.e_ident[EI_CLASS] != ELFCLASS64)
        return "an ELF file of the x32 ABI, which Knarr does not have";
    if (header.e_ident[EI_DATA] != ELFDATA2LSB)
        return "a damaged ELF file";
    if (header.e_type == ET_REL)
        return "an object file: it must be linked first";
    if (header.e_type != ET_EXEC && header.e_type != ET_DYN)
        return "an ELF file, but not a program";
    return check_segments(head, length, size, &header, interpreter);
}
