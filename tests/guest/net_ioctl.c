// ioctl(2) of sockets about interfaces, routes and neighbours: what lo answers, to which sockets, and what is refused.
// build: glibc
// options: --net none
#include "own_network.h"
#include <arpa/inet.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <sys/wait.h>

static struct ifreq r;

static const char *ip(void)
{
    static char text[32];
    return inet_ntop(AF_INET, &((struct sockaddr_in *)&r.ifr_addr)->sin_addr, text, sizeof text);
}

static int call(int s, unsigned cmd, const char *name)
{
    memset(&r.ifr_ifru, 0xee, sizeof r.ifr_ifru);
    strncpy(r.ifr_name, name, sizeof r.ifr_name);
    errno = 0;
    return ioctl(s, cmd, &r);
}

static void show(const char *what, int err)
{
    printf("  %s: %s", what, err ? errno_name(errno) : "ok");
}
#define ASK(s, cmd, name) show(#cmd " " name, call(s, cmd, name))

static void questions(const char *what, int s)
{
    printf("%s\n", what);
    ASK(s, SIOCGIFFLAGS, "lo"), printf(" %x\n", errno ? 0 : r.ifr_flags);
    ASK(s, SIOCGIFINDEX, "lo"), printf(" %d\n", errno ? 0 : r.ifr_ifindex);
    ASK(s, SIOCGIFMTU, "lo"), printf(" %d\n", errno ? 0 : r.ifr_mtu);
    ASK(s, SIOCGIFMETRIC, "lo"), printf(" %d\n", errno ? 0 : r.ifr_metric);
    ASK(s, SIOCGIFTXQLEN, "lo"), printf(" %d\n", errno ? 0 : r.ifr_qlen);
    ASK(s, SIOCGIFHWADDR, "lo"), printf(" %d %d\n", errno ? 0 : r.ifr_hwaddr.sa_family, errno ? 0 : r.ifr_hwaddr.sa_data[0]);
    ASK(s, SIOCGIFMAP, "lo"), printf(" %lx\n", errno ? 0 : r.ifr_map.mem_start);
    ASK(s, SIOCGIFADDR, "lo"), printf(" %s\n", errno ? "" : ip());
    ASK(s, SIOCGIFNETMASK, "lo"), printf(" %s\n", errno ? "" : ip());
    ASK(s, SIOCGIFBRDADDR, "lo"), printf(" %s\n", errno ? "" : ip());
    ASK(s, SIOCGIFDSTADDR, "lo"), printf(" %s\n", errno ? "" : ip());
    ASK(s, SIOCGIFSLAVE, "lo"), printf("\n");
    ASK(s, SIOCGIFMEM, "lo"), printf("\n");
    ASK(s, SIOCGIFFLAGS, "nothing"), printf("\n");
    ASK(s, SIOCGIFADDR, "nothing"), printf("\n");
    ASK(s, SIOCGIFMTU, "lo:1"), printf(" %d, %s\n", errno ? 0 : r.ifr_mtu, r.ifr_name);
    ASK(s, SIOCGIFFLAGS, ""), printf("\n");
    r.ifr_ifindex = 1;
    errno = 0;
    show("SIOCGIFNAME 1", ioctl(s, SIOCGIFNAME, &r));
    printf(" %s\n", r.ifr_name);
    r.ifr_ifindex = 99;
    show("SIOCGIFNAME 99", ioctl(s, SIOCGIFNAME, &r)), printf("\n");
    show("SIOCGIFNAME, nowhere", ioctl(s, SIOCGIFNAME, 8)), printf("\n");
    show("no such command", ioctl(s, 0x89ff, &r)), printf("\n");
}

static void lists(int s)
{
    section("SIOCGIFCONF");
    struct ifreq list[4];
    struct ifconf c = {.ifc_len = sizeof list, .ifc_req = list};
    memset(list, 0xee, sizeof list);
    SHOW(ioctl(s, SIOCGIFCONF, &c));
    printf("%d bytes, %s %s\n", c.ifc_len, list[0].ifr_name, inet_ntoa(((struct sockaddr_in *)&list[0].ifr_addr)->sin_addr));
    c = (struct ifconf){.ifc_len = 0};
    c.ifc_req = NULL;
    SHOW(ioctl(s, SIOCGIFCONF, &c));
    printf("%d bytes\n", c.ifc_len);
    c = (struct ifconf){.ifc_len = 39, .ifc_req = list};
    SHOW(ioctl(s, SIOCGIFCONF, &c));
    printf("%d bytes\n", c.ifc_len);
    c = (struct ifconf){.ifc_len = 40, .ifc_req = (void *)8};
    SHOW(ioctl(s, SIOCGIFCONF, &c));
    SHOW(ioctl(s, SIOCGIFCONF, 8));
}

static int change(int s, unsigned cmd, const char *name, int value)
{
    memset(&r, 0, sizeof r);
    strncpy(r.ifr_name, name, sizeof r.ifr_name);
    r.ifr_mtu = value;
    return ioctl(s, cmd, &r);
}

static int set_address(int s, unsigned cmd, const char *name, int family, const char *address)
{
    memset(&r, 0, sizeof r);
    strncpy(r.ifr_name, name, sizeof r.ifr_name);
    struct sockaddr_in *in = (void *)&r.ifr_addr;
    in->sin_family = family;
    in->sin_addr.s_addr = inet_addr(address);
    return ioctl(s, cmd, &r);
}

static void changes(int s)
{
    section("changes");
    SHOW(change(s, SIOCSIFMTU, "lo", 1500));
    ASK(s, SIOCGIFMTU, "lo"), printf(" %d\n", r.ifr_mtu);
    SHOW(change(s, SIOCSIFMTU, "lo", -1));
    SHOW(change(s, SIOCSIFMTU, "lo", 65536));
    SHOW(change(s, SIOCSIFMTU, "nothing", 1500));
    SHOW(change(s, SIOCSIFFLAGS, "lo", 0));
    ASK(s, SIOCGIFFLAGS, "lo"), printf(" %x\n", r.ifr_flags);
    SHOW(change(s, SIOCSIFFLAGS, "lo", IFF_UP));
    ASK(s, SIOCGIFFLAGS, "lo"), printf(" %x\n", r.ifr_flags);
    SHOW(set_address(s, SIOCSIFADDR, "lo", AF_INET, "127.0.0.1"));
    SHOW(set_address(s, SIOCSIFADDR, "lo", AF_INET6, "127.0.0.1"));
    SHOW(set_address(s, SIOCSIFADDR, "nothing", AF_INET, "127.0.0.1"));
    SHOW(set_address(s, SIOCSIFNETMASK, "lo", AF_INET, "255.0.255.0"));
    SHOW(set_address(s, SIOCSIFADDR, "lo", AF_INET, "10.1.2.3"));
    ASK(s, SIOCGIFADDR, "lo"), printf(" %s\n", ip());
    ASK(s, SIOCGIFNETMASK, "lo"), printf(" %s\n", ip());
    SHOW(set_address(s, SIOCSIFNETMASK, "lo", AF_INET, "255.255.255.0"));
    ASK(s, SIOCGIFNETMASK, "lo"), printf(" %s\n", ip());
    SHOW(set_address(s, SIOCSIFADDR, "lo", AF_INET, "127.0.0.1"));
    ASK(s, SIOCGIFNETMASK, "lo"), printf(" %s\n", ip());
}

static void routes(int s)
{
    section("routes and neighbours");
    struct rtentry e;
    memset(&e, 0, sizeof e);
    SHOW(ioctl(s, SIOCADDRT, &e));
    e.rt_dst.sa_family = AF_INET;
    SHOW(ioctl(s, SIOCDELRT, &e));
    SHOW(ioctl(s, SIOCADDRT, &e));
    e.rt_flags = RTF_UP | RTF_GATEWAY;
    SHOW(ioctl(s, SIOCADDRT, &e));
    struct sockaddr_in *in = (void *)&e.rt_gateway;
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = inet_addr("10.0.0.1");
    SHOW(ioctl(s, SIOCADDRT, &e));
    e.rt_dev = "nothing";
    SHOW(ioctl(s, SIOCADDRT, &e));
    SHOW(ioctl(s, SIOCADDRT, 8));
    struct arpreq a;
    memset(&a, 0, sizeof a);
    SHOW(ioctl(s, SIOCGARP, &a));
    in = (void *)&a.arp_pa;
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = inet_addr("10.0.0.1");
    strcpy(a.arp_dev, "nothing");
    SHOW(ioctl(s, SIOCGARP, &a));
    strcpy(a.arp_dev, "lo");
    SHOW(ioctl(s, SIOCGARP, &a));
    uint32_t link[2] = {0xa, 7};
    memset(&r, 0, sizeof r);
    strcpy(r.ifr_name, "lo");
    r.ifr_data = (void *)link;
    SHOW(ioctl(s, SIOCETHTOOL, &r));
    printf("link %u\n", link[1]);
}

static void unprivileged(int s)
{
    section("without rights");
    fflush(stdout);
    if (fork() == 0) {
        struct rtentry e = {0};
        struct arpreq a = {0};
        if (setuid(65534))
            give_up("setuid");
        SHOW(change(s, SIOCSIFMTU, "lo", 1500));
        SHOW(change(s, SIOCSIFMTU, "nothing", 1500));
        SHOW(change(s, SIOCSIFFLAGS, "lo", 0));
        SHOW(set_address(s, SIOCSIFADDR, "lo", AF_INET, "10.1.2.3"));
        SHOW(ioctl(s, SIOCADDRT, &e));
        SHOW(ioctl(s, SIOCDARP, &a));
        ASK(s, SIOCGIFFLAGS, "lo"), printf(" %x\n", r.ifr_flags);
        fflush(stdout);
        _exit(0);
    }
    int status;
    wait(&status);
    printf("status %x\n", status);
}

int main(void)
{
    own_network();
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    section("questions");
    questions("AF_INET", s);
    questions("AF_INET6", socket(AF_INET6, SOCK_DGRAM, 0));
    questions("TCP", socket(AF_INET, SOCK_STREAM, 0));
    questions("AF_UNIX", socket(AF_UNIX, SOCK_STREAM, 0));
    questions("AF_NETLINK", socket(AF_NETLINK, SOCK_RAW, 0));
    lists(s);
    changes(s);
    routes(s);
    unprivileged(s);
    return 0;
}
