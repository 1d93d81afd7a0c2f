// QEMU's configuration device, as far as the boot needs it.
#ifndef KERNEL_X86_FWCFG_H
#define KERNEL_X86_FWCFG_H

unsigned fwcfg_cpu_count(void); // 0: not on QEMU

#endif
