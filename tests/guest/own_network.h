// A network with nothing but lo, which is up: on Linux in a namespace of its own (status 77 where that is refused), on Knarr the
// machine's, which is run with --net none.
#pragma once
#include "check.h"
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>

static inline void own_network(void)
{
    struct utsname u;
    if (unshare(CLONE_NEWNET) == -1 && (uname(&u) == -1 || !strstr(u.release, "knarr"))) { // which has no namespaces
        printf("refused: unshare\n");
        exit(77);
    }
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    if (s == -1 || ioctl(s, SIOCSIFFLAGS, &r) == -1)
        give_up("lo up");
    close(s);
}
