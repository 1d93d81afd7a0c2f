// What CPUID says about the rate of the time stamp counter. Intel SDM vol. 2, CPUID leaves 15H and 16H; leaf 40000010H is
// VMware's, which QEMU/KVM and others offer as well.
#include "kernel/x86/clock.h"
#include "kernel/x86/cpu.h"

#define LEAF_TSC 0x15
#define LEAF_FREQUENCY 0x16
#define LEAF_HYPERVISOR_TIMING 0x40000010

static uint32_t hypervisor_khz(bool bus)
{
    if (cpu_features.max_hypervisor_leaf < LEAF_HYPERVISOR_TIMING)
        return 0;
    struct cpuid r = cpuid(LEAF_HYPERVISOR_TIMING, 0);
    return bus ? r.ebx : r.eax;
}

bool tsc_rate(struct clock_cycles_info *info)
{
    uint32_t khz = hypervisor_khz(false);
    info->name = "tsc";
    if (khz) {
        info->hz = khz * 1000UL;
        info->exact = true;
        return true;
    }
    if (cpu_features.max_leaf < LEAF_TSC)
        return false;
    struct cpuid r = cpuid(LEAF_TSC, 0);
    if (r.eax && r.ebx && r.ecx) {
        info->hz = (uint64_t)r.ecx * r.ebx / r.eax;
        info->exact = true;
        return true;
    }
    if (cpu_features.max_leaf < LEAF_FREQUENCY || !cpu_features.invariant_tsc)
        return false;
    info->hz = (cpuid(LEAF_FREQUENCY, 0).eax & 0xffff) * 1000000UL; // rounded to MHz: to be measured
    return info->hz != 0;
}

uint64_t tsc_apic_hz(void)
{
    uint32_t khz = hypervisor_khz(true);
    if (khz)
        return khz * 1000UL;
    return cpu_features.max_leaf >= LEAF_TSC ? cpuid(LEAF_TSC, 0).ecx : 0; // the crystal's
}
