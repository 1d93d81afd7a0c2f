// The parts of the boot that kernel/boot.c and main.c share with the machine, and the pure parts that are tested.
#ifndef KERNEL_X86_BOOT_MEMORY_H
#define KERNEL_X86_BOOT_MEMORY_H

#include "kernel/boot.h"

#define BOOT_MAPPED (1UL << 30) // what boot.S's page table shows

// As PVH (and the BIOS before it) describes memory.
struct boot_memory_range {
    uint64_t address, size;
    uint32_t type, reserved;
};
_Static_assert(sizeof(struct boot_memory_range) == 24, "struct hvm_memmap_table_entry");
#define BOOT_MEMORY_RAM 1

// Fills in boot_info. `magic`: MULTIBOOT2_MAGIC, what is at `info` are its tags; otherwise a PVH start_info.
void boot_parse(phys_t info, uint32_t magic);
#define MULTIBOOT2_MAGIC 0x36d76289u
// The tags at `info`, of which `room` bytes can be read, and are changed. False: there is no memory map among them.
bool boot_parse_multiboot(struct boot_info *b, void *info, size_t room, uint64_t limit);
// RAM below `limit`, sorted, without overlaps, in whole pages; what is also described as something else is not RAM.
void boot_set_memory_map(struct boot_info *b, const struct boot_memory_range *map, unsigned count, uint64_t limit);
// The range of RAM that the initrd begins in reaches to its end, whatever the map says.
void boot_cover_initrd(struct boot_info *b);
void boot_probe_memory(struct boot_info *b); // without a memory map: what the CMOS says
uint64_t boot_memory_limit(void);            // physical addresses that the processor and the direct map can have
void boot_clear_bss(void);                   // should the loader have left dirt in it

void cmdline_parse(const char *cmdline); // for cmdline_get and cmdline_each
void cmdline_report_unknown(void);

#endif
