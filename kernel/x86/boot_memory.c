// What the boot has to ask the machine itself about memory.
#include "kernel/x86/boot_memory.h"
#include "kernel/string.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/io.h"

extern char bss_start[], bss_end[];

// A loader clears all of it or nothing (what lies behind a segment's bytes is to be zero): one word of each page tells.
void boot_clear_bss(void) {
    uint64_t dirt = 0;
    for (const char *p = bss_start; p < bss_end; p += PAGE_SIZE)
        dirt |= *(const volatile uint64_t *)p;
    if (dirt)
        memset(bss_start, 0, (size_t)(bss_end - bss_start));
}

uint64_t boot_memory_limit(void) {
    uint32_t bits = cpuid(0x80000000, 0).eax >= 0x80000008 ? cpuid(0x80000008, 0).eax & 0xff : 36;
    return 1UL << MIN(MAX(bits, 32u), 46u); // 64 TiB of direct map
}

static uint8_t cmos_read(uint8_t reg) {
    out8(0x70, 0x80 | reg); // NMI stays off meanwhile
    return in8(0x71);
}

// CMOS registers as BIOSes and QEMU fill them: KiB from 1 MiB on, 64 KiB units from 16 MiB on, 64 KiB units from 4 GiB on.
void boot_probe_memory(struct boot_info *b) {
    uint64_t low = (uint64_t)(cmos_read(0x30) | cmos_read(0x31) << 8) << 10;
    uint64_t middle = (uint64_t)(cmos_read(0x34) | cmos_read(0x35) << 8) << 16;
    uint64_t high = (uint64_t)(cmos_read(0x5b) | cmos_read(0x5c) << 8 | cmos_read(0x5d) << 16) << 16;
    const struct boot_memory_range map[] = {
        {.address = 0, .size = 0x9f000, .type = BOOT_MEMORY_RAM},
        {.address = 0x100000, .size = middle ? middle + 0xf00000 : low, .type = BOOT_MEMORY_RAM},
        {.address = 1UL << 32, .size = high, .type = BOOT_MEMORY_RAM},
    };
    boot_set_memory_map(b, map, ARRAY_SIZE(map), boot_memory_limit());
}
