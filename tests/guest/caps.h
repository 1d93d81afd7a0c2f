// Capabilities as the kernel's headers have them, which not every C library's compiler finds; capget(2) and capset(2).
#pragma once
#include "check.h"

#define CAP_CHOWN 0
#define CAP_DAC_OVERRIDE 1
#define CAP_DAC_READ_SEARCH 2
#define CAP_FOWNER 3
#define CAP_FSETID 4
#define CAP_KILL 5
#define CAP_SETGID 6
#define CAP_SETUID 7
#define CAP_SETPCAP 8
#define CAP_NET_BIND_SERVICE 10
#define CAP_SYS_CHROOT 18
#define CAP_MKNOD 27
#define CAP_SETFCAP 31
#define CAPABILITY_VERSION_1 0x19980330
#define CAPABILITY_VERSION_2 0x20071026
#define CAPABILITY_VERSION_3 0x20080522
#define SECBIT_NOROOT 1
#define SECBIT_NOROOT_LOCKED 2
#define SECBIT_NO_SETUID_FIXUP 4
#define SECBIT_KEEP_CAPS 16
#define SECBIT_KEEP_CAPS_LOCKED 32
#define SECBIT_NO_CAP_AMBIENT_RAISE 64

#define BIT(c) (1UL << (c))
// Those that every container has: what the test's own surroundings hold back is masked by it.
#define COMMON                                                                                                                       \
    (BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_KILL) | BIT(CAP_SETGID) |                    \
     BIT(CAP_SETUID) | BIT(CAP_SETPCAP) | BIT(CAP_NET_BIND_SERVICE))

struct cap_header {
    uint32_t version;
    int pid;
};
struct cap_data {
    uint32_t effective, permitted, inheritable;
};

// Effective, permitted, inheritable.
static inline void get_caps(uint64_t set[3])
{
    struct cap_header h = {CAPABILITY_VERSION_3, 0};
    struct cap_data d[2] = {{0, 0, 0}, {0, 0, 0}};
    if (syscall(SYS_capget, &h, d))
        give_up("capget");
    set[0] = d[0].effective | (uint64_t)d[1].effective << 32;
    set[1] = d[0].permitted | (uint64_t)d[1].permitted << 32;
    set[2] = d[0].inheritable | (uint64_t)d[1].inheritable << 32;
}

static inline long set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
    struct cap_header h = {CAPABILITY_VERSION_3, 0};
    struct cap_data d[2] = {{(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
                            {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)}};
    return syscall(SYS_capset, &h, d);
}
