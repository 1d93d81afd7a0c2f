// /proc/net: the tables' columns, with sockets of known kinds on a network of its own; /proc/sys/net: what is written takes effect.
// build: glibc
// options: --net none
#include "own_network.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>

static char text[65536];

static char *file(const char *name)
{
    int f = open(name, O_RDONLY);
    long n = f == -1 ? -1 : 0, k = 0;
    while (n >= 0 && (k = read(f, text + n, sizeof text - 1 - n)) > 0)
        n += k;
    if (f != -1)
        close(f);
    if (n < 0)
        printf("%s: %s\n", name, errno_name(errno));
    text[n > 0 ? n : 0] = 0;
    return text;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// The lines, those that are filled up with their lengths, of all but the first the fields from `first` to `last`; sorted.
static void table(const char *name, int first, int last)
{
    char *lines[64], *save;
    int n = 0;
    bool filled = strcmp(name, "/proc/net/tcp") == 0 || strcmp(name, "/proc/net/udp") == 0;
    printf("%s\n", name);
    for (char *l = strtok_r(file(name), "\n", &save); l && n < 64; l = strtok_r(NULL, "\n", &save)) {
        char *out = malloc(512), *words;
        int k = 0, at = sprintf(out, "  %3d:", filled ? (int)strlen(l) : 0);
        if (n)
            for (char *w = strtok_r(l, " \t", &words); w; w = strtok_r(NULL, " \t", &words), k++)
                at += k >= first && k <= last ? sprintf(out + at, " %s", w) : 0;
        else
            snprintf(out + at, 512 - at, " %s", l);
        lines[n++] = out;
    }
    if (n > 1)
        qsort(lines + 1, n - 1, sizeof *lines, by_text);
    for (int i = 0; i < n; i++) {
        puts(lines[i]);
        free(lines[i]);
    }
}

static int tcp(int family, int port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int s = socket(family, SOCK_STREAM, 0);
    if (bind(s, family == AF_INET ? (void *)&in : (void *)&in6, family == AF_INET ? sizeof in : sizeof in6))
        give_up("bind");
    return s;
}

static int udp(int family, int port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int s = socket(family, SOCK_DGRAM, 0);
    if (bind(s, family == AF_INET ? (void *)&in : (void *)&in6, family == AF_INET ? sizeof in : sizeof in6))
        give_up("bind");
    return s;
}

static void sockets(void)
{
    section("sockets");
    table("/proc/net/tcp", 1, 9);
    table("/proc/net/udp", 1, 9);
    table("/proc/net/raw", 1, 9);
    table("/proc/net/icmp", 1, 9);
    table("/proc/net/tcp6", 1, 9);
    table("/proc/net/udp6", 1, 9);
    table("/proc/net/raw6", 1, 9);
    int l = tcp(AF_INET, 8001), l6 = tcp(AF_INET6, 8002), u = udp(AF_INET, 8003), u6 = udp(AF_INET6, 8004);
    int raw = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), c = tcp(AF_INET, 8005);
    table("/proc/net/tcp", 1, 9); // bound only: none
    listen(l, 5);
    listen(l6, 5);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(8001), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    SHOW(connect(c, (struct sockaddr *)&to, sizeof to));
    table("/proc/net/tcp", 1, 3);
    table("/proc/net/tcp6", 1, 7);
    int a = accept(l, NULL, NULL);
    SHOW(send(c, "hello", 5, 0));
    SHOW(recv(a, text, 5, MSG_PEEK | MSG_WAITALL));
    table("/proc/net/tcp", 1, 4);
    to.sin_port = htons(8003);
    int v = udp(AF_INET, 8006);
    SHOW(connect(v, (struct sockaddr *)&to, sizeof to));
    table("/proc/net/udp", 1, 8);
    table("/proc/net/udp6", 1, 8);
    table("/proc/net/raw", 1, 8);
    file("/proc/net/sockstat");
    printf("%.*s\n", (int)strcspn(strstr(text, "UDP:"), "m"), strstr(text, "UDP:"));
    printf("%.*s\n", 12, strstr(text, "RAW:"));
    file("/proc/net/sockstat6");
    printf("%s", text);
    close(c);
    close(a);
    close(l);
    close(l6);
    close(u);
    close(u6);
    close(v);
    close(raw);
}

static void interfaces(void)
{
    section("interfaces");
    table("/proc/net/dev", 0, 0);
    table("/proc/net/route", 0, 10);
    table("/proc/net/if_inet6", 0, 5);
    table("/proc/net/arp", 0, 5);
    table("/proc/net/packet", 0, 5);
    printf("%s", file("/proc/net/if_inet6"));
    printf("%.*s\n", (int)strcspn(file("/proc/net/igmp"), "\n"), text);
    printf("%.*s\n", (int)strcspn(file("/proc/net/netlink"), "\n"), text);
    printf("%.*s\n", (int)strcspn(file("/proc/net/protocols"), "\n"), text);
    printf("%.29s\n", file("/proc/net/snmp"));
    printf("%.7s\n", file("/proc/net/netstat"));
    printf("%.13s\n", file("/proc/net/snmp6"));
    char link[64] = {0};
    SHOW(readlink("/proc/net", link, sizeof link - 1));
    puts(link);
    HOLDS(access("/proc/self/net/tcp", R_OK) == 0);
}

int main(void)
{
    own_network();
    sockets();
    interfaces();
    return 0;
}
