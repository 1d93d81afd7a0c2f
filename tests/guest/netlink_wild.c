// Requests without sense, of all kinds, and ioctls likewise, from two processes: what they change does not matter, the kernel must go on.
// Prints one line at the end. Arguments: how many, the first number of the noise.
// runner: none
#include "check.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

static uint32_t state;
static uint32_t roll(uint32_t n) { return noise(&state) % n; }

static char buffer[65536];

static void drain(int s)
{
    while (recv(s, buffer, roll(2) ? sizeof buffer : 64, MSG_DONTWAIT) > 0)
        ;
}

static void send_one(int route, int diag)
{
    static const uint16_t often[] = {RTM_NEWLINK, RTM_GETLINK, RTM_SETLINK, RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR, RTM_NEWROUTE,
                                     RTM_DELROUTE, RTM_GETROUTE, RTM_GETNEIGH, RTM_GETRULE, RTM_GETQDISC};
    static const char families[] = {AF_UNSPEC, AF_INET, AF_INET6, 7, 1};
    _Alignas(8) char m[512];
    int len = 16 + roll(200), s = roll(4) ? route : diag;
    for (int k = 0; k < len; k++)
        m[k] = roll(5) ? roll(8) : roll(256);
    struct nlmsghdr *h = (void *)m;
    h->nlmsg_type = s == diag ? 20 : roll(3) ? 16 + roll(100) : often[roll(12)];
    h->nlmsg_flags = NLM_F_REQUEST | roll(8) << 2 | roll(16) << 8;
    h->nlmsg_len = roll(8) ? (unsigned)len : roll(600);
    m[16] = families[roll(5)];
    if (roll(2))
        m[20] = roll(4), m[21] = m[22] = m[23] = 0;
    for (int at = 20 + 4 * roll(4); at + 4 < len;) { // attributes, most of them well formed
        uint16_t a[2] = {roll(6) ? 4 + roll(24) : roll(65536), roll(70)};
        memcpy(m + at, a, sizeof a);
        if (a[0] < 4)
            break;
        at += (a[0] + 3) & ~3;
    }
    send(s, m, len, 0);
    if (roll(3))
        drain(s);
}

static void ioctl_one(int s)
{
    char r[128];
    for (unsigned k = 0; k < sizeof r; k++)
        r[k] = roll(4) ? 0 : roll(256);
    strcpy(r, roll(2) ? "lo" : "eth0");
    if (roll(3) == 0)
        r[16] = AF_INET, r[17] = 0;
    ioctl(s, 0x8900 + roll(256), r);
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : 1000, status = 0;
    pid_t child = fork();
    state = (argc > 2 ? atoi(argv[2]) : 1) + (child ? 0 : 1000);
    int route = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), diag = socket(AF_NETLINK, SOCK_RAW, 4);
    int listener = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), s4 = socket(AF_INET, SOCK_DGRAM, 0), s6 = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_nl all = {.nl_family = AF_NETLINK, .nl_groups = ~0u};
    if (route == -1 || diag == -1 || bind(listener, (struct sockaddr *)&all, sizeof all))
        give_up("sockets");
    for (int k = 0; k < count; k++) {
        send_one(route, diag);
        if (roll(50) == 0)
            drain(listener);
        if (roll(64) == 0) {
            int value = roll(3);
            setsockopt(route, 270, 1 + roll(14), &value, sizeof value);
        }
        if (roll(8) == 0)
            ioctl_one(roll(2) ? s4 : s6);
        if (roll(5000) == 0) {
            close(route);
            route = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
        }
    }
    if (!child)
        _exit(0);
    wait(&status);
    printf("%d requests of two processes, status %x\n", 2 * count, status);
    return 0;
}
