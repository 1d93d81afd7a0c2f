// /proc/sys/net: what is written there takes effect. Where Linux' is read-only nothing is compared.
// build: glibc
// options: --net none
#include "own_network.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

static int put(const char *name, const char *value)
{
    int f = open(name, O_WRONLY);
    if (f == -1 && (errno == EROFS || errno == EACCES || errno == EPERM)) {
        printf("refused: %s\n", name);
        exit(77);
    }
    int n = f == -1 ? -1 : (int)write(f, value, strlen(value)), e = errno;
    if (f != -1)
        close(f);
    errno = e;
    return n;
}

static void show(const char *name)
{
    char text[256];
    int f = open(name, O_RDONLY);
    long n = read(f, text, sizeof text - 1);
    close(f);
    printf("%s: %.*s", name, n > 0 ? (int)n : 0, text);
}

static int port_of(int s)
{
    struct sockaddr_in in;
    socklen_t len = sizeof in;
    return getsockname(s, (struct sockaddr *)&in, &len) == -1 ? -1 : ntohs(in.sin_port);
}

#define IPV4 "/proc/sys/net/ipv4/"
int main(void)
{
    own_network();
    section("ports");
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    SHOW(put(IPV4 "ip_local_port_range", "40000 40009\n"));
    show(IPV4 "ip_local_port_range");
    for (int k = 0; k < 4; k++) {
        int s = socket(AF_INET, k & 1 ? SOCK_DGRAM : SOCK_STREAM, 0);
        if (bind(s, (struct sockaddr *)&in, sizeof in))
            give_up("bind");
        int port = port_of(s);
        printf("port %s\n", port >= 40000 && port <= 40009 ? "within" : "outside");
    }
    SHOW(put(IPV4 "ip_local_port_range", "50 40"));
    SHOW(put(IPV4 "ip_local_port_range", "1"));
    SHOW(put(IPV4 "ip_local_port_range", "x y"));
    SHOW(put(IPV4 "ip_local_port_range", "1 65536"));
    show(IPV4 "ip_local_port_range");
    SHOW(put(IPV4 "ip_unprivileged_port_start", "80"));
    show(IPV4 "ip_unprivileged_port_start");
    SHOW(put(IPV4 "ip_unprivileged_port_start", "65536"));

    section("TCP");
    SHOW(put(IPV4 "tcp_keepalive_time", "100"));
    SHOW(put(IPV4 "tcp_keepalive_intvl", "10"));
    SHOW(put(IPV4 "tcp_keepalive_probes", "3"));
    SHOW(put(IPV4 "tcp_keepalive_probes", "0"));
    SHOW(put(IPV4 "tcp_keepalive_probes", "128"));
    int s = socket(AF_INET, SOCK_STREAM, 0), v[3];
    socklen_t len = sizeof v[0];
    SHOW(getsockopt(s, IPPROTO_TCP, TCP_KEEPIDLE, &v[0], &len));
    SHOW(getsockopt(s, IPPROTO_TCP, TCP_KEEPINTVL, &v[1], &len));
    SHOW(getsockopt(s, IPPROTO_TCP, TCP_KEEPCNT, &v[2], &len));
    printf("%d %d %d\n", v[0], v[1], v[2]);
    SHOW(put(IPV4 "tcp_syn_retries", "3"));
    SHOW(put(IPV4 "tcp_syn_retries", "0"));
    SHOW(put(IPV4 "tcp_syn_retries", "128"));
    SHOW(getsockopt(s, IPPROTO_TCP, TCP_SYNCNT, &v[0], &len));
    printf("%d\n", v[0]);

    section("IP");
    SHOW(put(IPV4 "ip_default_ttl", "77"));
    SHOW(getsockopt(s, IPPROTO_IP, IP_TTL, &v[0], &len));
    printf("%d\n", v[0]);
    SHOW(put(IPV4 "ip_default_ttl", "0"));
    SHOW(put(IPV4 "ip_default_ttl", "256"));
    SHOW(put("/proc/sys/net/ipv6/bindv6only", "1"));
    int s6 = socket(AF_INET6, SOCK_STREAM, 0);
    SHOW(getsockopt(s6, IPPROTO_IPV6, IPV6_V6ONLY, &v[0], &len));
    printf("%d\n", v[0]);
    return 0;
}
