// KVM's paravirtual clock: a page that tells how the host scales the time stamp counter. Used when the host says that the
// counters of all CPUs agree (then its rate is all that is needed), and for the time of day at the boot.
// Linux, Documentation/virt/kvm/x86/{msr,cpuid}.rst.
#include "kernel/muldiv.h"
#include "kernel/memory/page.h"
#include "kernel/x86/clock.h"
#include "kernel/x86/cpu.h"

#define LEAF_KVM_FEATURES 0x40000001
#define FEATURE_CLOCKSOURCE2 (1u << 3)
#define FEATURE_CLOCKSOURCE_STABLE (1u << 24)
#define MSR_KVM_WALL_CLOCK 0x4b564d00
#define MSR_KVM_SYSTEM_TIME 0x4b564d01

struct pvclock_time {
    uint32_t version; // odd while the host writes
    uint32_t pad;
    uint64_t tsc_timestamp, system_time;
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags;
    uint8_t pad2[2];
} PACKED;
_Static_assert(sizeof(struct pvclock_time) == 32, "the hypervisor's ABI");
#define PVCLOCK_TSC_STABLE 1

struct pvclock_wall {
    uint32_t version, sec, nsec;
} PACKED;

static struct pvclock_time time_page ALIGNED(64);
static struct pvclock_wall wall_page ALIGNED(16);

// Cycles a second: ns = (cycles << shift) * mul >> 32.
static uint64_t pvclock_hz(const struct pvclock_time *t)
{
    uint64_t hz = mul_div(1000000000UL, 1UL << 32, t->tsc_to_system_mul);
    return t->tsc_shift < 0 ? hz << -t->tsc_shift : hz >> t->tsc_shift;
}

bool kvmclock_init(struct clock_cycles_info *info)
{
    if (cpu_features.max_hypervisor_leaf < LEAF_KVM_FEATURES || __builtin_memcmp(cpu_features.hypervisor_vendor, "KVMKVMKVM", 9))
        return false;
    uint32_t features = cpuid(LEAF_KVM_FEATURES, 0).eax;
    if (!(features & FEATURE_CLOCKSOURCE2))
        return false;
    wrmsr(MSR_KVM_WALL_CLOCK, virt_to_phys(&wall_page));
    wrmsr(MSR_KVM_SYSTEM_TIME, virt_to_phys(&time_page) | 1);
    // The host has filled in both by the time that the writes are done.
    struct pvclock_time t = *(volatile struct pvclock_time *)&time_page;
    uint64_t since = mul_shift32(t.tsc_shift < 0 ? (rdtsc() - t.tsc_timestamp) >> -t.tsc_shift
                                                 : (rdtsc() - t.tsc_timestamp) << t.tsc_shift,
                                 t.tsc_to_system_mul);
    if (READ_ONCE(wall_page.sec))
        info->realtime = (nsec_t)wall_page.sec * NSEC_PER_SEC + wall_page.nsec + (nsec_t)(t.system_time + since);
    bool usable = t.tsc_to_system_mul && ((features & FEATURE_CLOCKSOURCE_STABLE) || (t.flags & PVCLOCK_TSC_STABLE) ||
                                          cpu_features.invariant_tsc);
    wrmsr(MSR_KVM_SYSTEM_TIME, 0); // it does not change any more
    if (!usable)
        return false;
    info->hz = pvclock_hz(&t);
    info->exact = true;
    info->name = "kvm-clock";
    return true;
}
