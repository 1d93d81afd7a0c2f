// Options of sockets: what getsockopt(2) tells of new ones, what can be set and to what it becomes, lengths, wrong names and levels.
// build: musl glibc
#include "check.h"
#include "sockets.h"

#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif
#define O(name) {name, #name}
static const struct {
    int number;
    const char *name;
} options[] = {O(SO_DEBUG), O(SO_REUSEADDR), O(SO_TYPE), O(SO_ERROR), O(SO_DONTROUTE), O(SO_BROADCAST), O(SO_KEEPALIVE),
               O(SO_OOBINLINE), O(SO_NO_CHECK), O(SO_PRIORITY), O(SO_BSDCOMPAT), O(SO_REUSEPORT), O(SO_PASSCRED), O(SO_RCVLOWAT),
               O(SO_SNDLOWAT), O(SO_ACCEPTCONN), O(SO_PASSSEC), O(SO_MARK), O(SO_PROTOCOL), O(SO_DOMAIN), O(SO_RXQ_OVFL),
               O(SO_PEEK_OFF)};

static void show_int(int s, int number, const char *name)
{
    int value = -7;
    socklen_t len = sizeof value;
    if (getsockopt(s, SOL_SOCKET, number, &value, &len))
        printf("%s: %s\n", name, errno_name(errno));
    else
        printf("%s: %d, length %u\n", name, value, len);
}

static void set_int(int s, int number, const char *name, int value)
{
    int r = setsockopt(s, SOL_SOCKET, number, &value, sizeof value);
    printf("%s <- %d: %s; ", name, value, r ? errno_name(errno) : "ok");
    show_int(s, number, name);
}

static void all(int type, const char *title)
{
    int s = socket(AF_UNIX, type, 0);
    section(title);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        show_int(s, options[i].number, options[i].name);
    close(s);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    all(SOCK_STREAM, "a new stream");
    all(SOCK_DGRAM, "a new datagram socket");
    all(SOCK_RAW, "raw is datagram");
    section("setting");
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    set_int(s, SO_REUSEADDR, "SO_REUSEADDR", 5);
    set_int(s, SO_REUSEADDR, "SO_REUSEADDR", 0);
    set_int(s, SO_BROADCAST, "SO_BROADCAST", 1);
    set_int(s, SO_KEEPALIVE, "SO_KEEPALIVE", 1);
    set_int(s, SO_OOBINLINE, "SO_OOBINLINE", 1);
    set_int(s, SO_PASSCRED, "SO_PASSCRED", 1);
    set_int(s, SO_TYPE, "SO_TYPE", 1);
    set_int(s, SO_ERROR, "SO_ERROR", 1);
    set_int(s, SO_DOMAIN, "SO_DOMAIN", 1);
    set_int(s, SO_PROTOCOL, "SO_PROTOCOL", 1);
    set_int(s, SO_ACCEPTCONN, "SO_ACCEPTCONN", 1);
    set_int(s, SO_SNDLOWAT, "SO_SNDLOWAT", 10);
    set_int(s, SO_RCVLOWAT, "SO_RCVLOWAT", 10);
    set_int(s, SO_RCVLOWAT, "SO_RCVLOWAT", 0);
    set_int(s, SO_RCVLOWAT, "SO_RCVLOWAT", -5);
    set_int(s, SO_PRIORITY, "SO_PRIORITY", 6);
    set_int(s, SO_PEEK_OFF, "SO_PEEK_OFF", 3);
    set_int(s, SO_SNDBUF, "SO_SNDBUF", 0);
    set_int(s, SO_SNDBUF, "SO_SNDBUF", 10000);
    set_int(s, SO_RCVBUF, "SO_RCVBUF", 0);
    set_int(s, SO_RCVBUF, "SO_RCVBUF", 10000);
    set_int(s, 9999, "9999", 1);
    struct linger l = {1, 30};
    SHOW(setsockopt(s, SOL_SOCKET, SO_LINGER, &l, sizeof l));
    SHOW(setsockopt(s, SOL_SOCKET, SO_LINGER, &l, 4));
    l = (struct linger){0};
    socklen_t len = sizeof l;
    SHOW(getsockopt(s, SOL_SOCKET, SO_LINGER, &l, &len));
    printf("%d %d\n", l.l_onoff, l.l_linger);
    section("lengths");
    char big[16];
    memset(big, 'x', sizeof big);
    len = 16;
    SHOW(getsockopt(s, SOL_SOCKET, SO_TYPE, big, &len));
    printf("%u %d %c\n", len, big[0], big[4]);
    len = 1;
    SHOW(getsockopt(s, SOL_SOCKET, SO_TYPE, big, &len));
    printf("%u\n", len);
    len = 0;
    SHOW(getsockopt(s, SOL_SOCKET, SO_TYPE, NULL, &len));
    len = (socklen_t)-1;
    SHOW(getsockopt(s, SOL_SOCKET, SO_TYPE, big, &len));
    SHOW(getsockopt(s, SOL_SOCKET, SO_TYPE, big, NULL));
    len = 4;
    SHOW(getsockopt(s, SOL_SOCKET, SO_TYPE, (void *)8, &len));
    int one = 1;
    SHOW(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, 3));
    SHOW(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, (socklen_t)-1));
    SHOW(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, (void *)8, 4));
    SHOW(setsockopt(s, SOL_SOCKET, 9999, (void *)8, 4));
    section("levels");
    SHOW(setsockopt(s, 6, 1, &one, 4));
    SHOW(setsockopt(s, 0, 1, &one, 4));
    len = 4;
    SHOW(getsockopt(s, 6, 1, &one, &len));
    SHOW(getsockopt(s, -1, 1, &one, &len));
    section("peers");
    int v[2];
    pair(SOCK_STREAM, v);
    struct sockaddr_un a;
    len = sizeof a;
    SHOW(getsockopt(v[0], SOL_SOCKET, SO_PEERNAME, &a, &len));
    len = sizeof a;
    SHOW(getsockopt(s, SOL_SOCKET, SO_PEERNAME, &a, &len));
    uint64_t cookie[2] = {0}, other[2] = {0};
    len = 8;
    SHOW(getsockopt(v[0], SOL_SOCKET, 57, cookie, &len));
    SHOW(getsockopt(v[1], SOL_SOCKET, 57, other, &len));
    HOLDS(cookie[0] && cookie[0] != other[0]);
    SHOW(getsockopt(v[0], SOL_SOCKET, 57, other, &len));
    HOLDS(cookie[0] == other[0]);
    len = 4;
    SHOW(getsockopt(v[0], SOL_SOCKET, 57, other, &len));
    SHOW(ioctl(v[0], 0x8906, big));
    SHOW(ioctl(v[0], 0x1234, big));
    int owner = getpid();
    SHOW(ioctl(v[0], 0x8901, &owner));
    owner = 0;
    SHOW(ioctl(v[0], 0x8903, &owner));
    HOLDS(owner == getpid());
    return 0;
}
