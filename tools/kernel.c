/*
 * Checks the kernel; see the header.
 */
#include "tools/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <string.h>
#include <unistd.h>

/* Where the kernel ends in physical memory; 0 when the file is not a 64-bit ELF program with a note (PVH's entry). */
static uint64_t kernel_end(int fd) {
    uint64_t end = 0;
    size_t count = 0;
    bool has_note = false;

    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
    GElf_Ehdr header;
    if (elf && gelf_getehdr(elf, &header) && header.e_machine == EM_X86_64 && header.e_type == ET_EXEC)
        elf_getphdrnum(elf, &count);
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr segment;
        if (!gelf_getphdr(elf, (int)i, &segment))
            continue;
        has_note |= segment.p_type == PT_NOTE;
        if (segment.p_type == PT_LOAD && segment.p_paddr + segment.p_memsz > end)
            end = segment.p_paddr + segment.p_memsz;
    }
    elf_end(elf);
    return has_note ? end : 0;
}

void kernel_check(const char *path, uint64_t memory, uint64_t initrd_size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        die(STATUS_FAILED, "the kernel %s: %s", path, strerror(errno));
    uint64_t end = kernel_end(fd);
    close(fd);
    if (end == 0)
        die(STATUS_FAILED, "the kernel %s: not a kernel for PVH", path);
    /* What the program needs is its own affair; these two must lie side by side for the kernel to say anything at all. */
    if (memory < end + initrd_size) {
        die(STATUS_FAILED, "%ju KiB of memory do not hold the kernel (%ju KiB) and the initrd (%ju KiB); see -m",
            (uintmax_t)(memory >> 10), (uintmax_t)(end >> 10), (uintmax_t)(initrd_size >> 10));
    }
}
