// QEMU's fw_cfg through its two ports (QEMU's docs/specs/fw_cfg): select an item, read its bytes.
#include "kernel/x86/fwcfg.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/io.h"

#define PORT_SELECT 0x510
#define PORT_DATA 0x511
#define ITEM_SIGNATURE 0x00
#define ITEM_CPU_COUNT 0x05

unsigned fwcfg_cpu_count(void) {
    if (!cpu_features.hypervisor)
        return 0;
    out16(PORT_SELECT, ITEM_SIGNATURE);
    if (in8(PORT_DATA) != 'Q' || in8(PORT_DATA) != 'E' || in8(PORT_DATA) != 'M' || in8(PORT_DATA) != 'U')
        return 0;
    out16(PORT_SELECT, ITEM_CPU_COUNT);
    unsigned low = in8(PORT_DATA);
    return low | (unsigned)in8(PORT_DATA) << 8;
}
