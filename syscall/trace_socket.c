// Arguments of the calls on sockets as text: addresses, flags, options, struct msghdr.
#include "kernel/memory/uio.h"
#include "kernel/memory/usercopy.h"
#include "kernel/string.h"
#include "net/socket.h"
#include "syscall/syscall.h"
#include "syscall/trace.h"
#include <asm/socket.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/netlink.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/un.h>

// clang-format off
#define N(name) {#name, (uint64_t)(name)}
#define END {NULL, 0}
static const struct name_value families[] = {N(AF_UNSPEC), N(AF_UNIX), N(AF_INET), N(AF_INET6), N(AF_NETLINK), END};
static const struct name_value types[] = {N(SOCK_STREAM), N(SOCK_DGRAM), N(SOCK_RAW), N(SOCK_SEQPACKET), END};
static const struct name_value type_flags[] = {N(SOCK_CLOEXEC), N(SOCK_NONBLOCK), END};
static const struct name_value levels[] = {
    {"SOL_IP", 0}, N(SOL_SOCKET), {"SOL_TCP", 6}, {"SOL_UDP", 17}, {"SOL_IPV6", 41}, {"SOL_NETLINK", 270}, END};
static const struct name_value options[] = {
    N(SO_DEBUG), N(SO_REUSEADDR), N(SO_TYPE), N(SO_ERROR), N(SO_DONTROUTE), N(SO_BROADCAST), N(SO_SNDBUF), N(SO_RCVBUF),
    N(SO_KEEPALIVE), N(SO_OOBINLINE), N(SO_NO_CHECK), N(SO_PRIORITY), N(SO_LINGER), N(SO_BSDCOMPAT), N(SO_REUSEPORT),
    N(SO_PASSCRED), N(SO_PEERCRED), N(SO_RCVLOWAT), N(SO_SNDLOWAT), {"SO_RCVTIMEO", SO_RCVTIMEO_OLD},
    {"SO_SNDTIMEO", SO_SNDTIMEO_OLD}, N(SO_BINDTODEVICE), N(SO_ATTACH_FILTER), N(SO_DETACH_FILTER), N(SO_PEERNAME),
    {"SO_TIMESTAMP", SO_TIMESTAMP_OLD}, N(SO_ACCEPTCONN), N(SO_PEERSEC), N(SO_SNDBUFFORCE), N(SO_RCVBUFFORCE), N(SO_PASSSEC),
    N(SO_MARK), N(SO_PROTOCOL), N(SO_DOMAIN), N(SO_RXQ_OVFL), N(SO_PEEK_OFF), N(SO_LOCK_FILTER), N(SO_BUSY_POLL),
    N(SO_INCOMING_CPU), N(SO_COOKIE), N(SO_PEERGROUPS), N(SO_ZEROCOPY), N(SO_BUF_LOCK), END};
static const struct name_value ip_options[] = {
    N(IP_TOS), N(IP_TTL), N(IP_HDRINCL), N(IP_OPTIONS), N(IP_RETOPTS), N(IP_PKTINFO), N(IP_MTU_DISCOVER), N(IP_RECVERR),
    N(IP_RECVTTL), N(IP_RECVTOS), N(IP_MTU), N(IP_FREEBIND), N(IP_TRANSPARENT), N(IP_RECVORIGDSTADDR), N(IP_MINTTL),
    N(IP_BIND_ADDRESS_NO_PORT), N(IP_MULTICAST_IF), N(IP_MULTICAST_TTL), N(IP_MULTICAST_LOOP), N(IP_ADD_MEMBERSHIP),
    N(IP_DROP_MEMBERSHIP), N(IP_ADD_SOURCE_MEMBERSHIP), N(IP_DROP_SOURCE_MEMBERSHIP), N(IP_MULTICAST_ALL), N(IP_UNICAST_IF),
    N(IP_LOCAL_PORT_RANGE), N(MCAST_JOIN_GROUP), N(MCAST_LEAVE_GROUP), END};
static const struct name_value ipv6_options[] = {
    N(IPV6_ADDRFORM), N(IPV6_CHECKSUM), N(IPV6_UNICAST_HOPS), N(IPV6_MULTICAST_IF), N(IPV6_MULTICAST_HOPS), N(IPV6_MULTICAST_LOOP),
    N(IPV6_ADD_MEMBERSHIP), N(IPV6_DROP_MEMBERSHIP), N(IPV6_MTU_DISCOVER), N(IPV6_MTU), N(IPV6_RECVERR), N(IPV6_V6ONLY),
    N(IPV6_RECVPKTINFO), N(IPV6_PKTINFO), N(IPV6_RECVHOPLIMIT), N(IPV6_HOPLIMIT), N(IPV6_RECVTCLASS), N(IPV6_TCLASS),
    N(IPV6_DONTFRAG), N(IPV6_FREEBIND), N(IPV6_TRANSPARENT), N(IPV6_RECVORIGDSTADDR), END};
static const struct name_value tcp_options[] = {
    N(TCP_NODELAY), N(TCP_MAXSEG), N(TCP_CORK), N(TCP_KEEPIDLE), N(TCP_KEEPINTVL), N(TCP_KEEPCNT), N(TCP_SYNCNT), N(TCP_LINGER2),
    N(TCP_DEFER_ACCEPT), N(TCP_WINDOW_CLAMP), N(TCP_INFO), N(TCP_QUICKACK), N(TCP_CONGESTION), N(TCP_MD5SIG), N(TCP_USER_TIMEOUT),
    N(TCP_FASTOPEN), N(TCP_TIMESTAMP), N(TCP_NOTSENT_LOWAT), N(TCP_SAVE_SYN), N(TCP_FASTOPEN_CONNECT), N(TCP_ULP), N(TCP_INQ), END};
static const struct name_value udp_options[] = {N(UDP_CORK), N(UDP_ENCAP), N(UDP_SEGMENT), N(UDP_GRO), END};
static const struct name_value netlink_options[] = {
    N(NETLINK_ADD_MEMBERSHIP), N(NETLINK_DROP_MEMBERSHIP), N(NETLINK_PKTINFO), N(NETLINK_BROADCAST_ERROR), N(NETLINK_NO_ENOBUFS),
    N(NETLINK_LISTEN_ALL_NSID), N(NETLINK_LIST_MEMBERSHIPS), N(NETLINK_CAP_ACK), N(NETLINK_EXT_ACK), N(NETLINK_GET_STRICT_CHK), END};
static const struct {
    int level;
    const struct name_value *names;
    const char *prefix;
} option_names[] = {{SOL_SOCKET, options, "SO_"}, {IPPROTO_IP, ip_options, "IP_"}, {IPPROTO_TCP, tcp_options, "TCP_"},
    {IPPROTO_UDP, udp_options, "UDP_"}, {IPPROTO_IPV6, ipv6_options, "IPV6_"}, {270, netlink_options, "NETLINK_"}};
static const struct name_value how[] = {{"SHUT_RD", 0}, {"SHUT_WR", 1}, {"SHUT_RDWR", 2}, END};
static const struct name_value message_flags[] = {
    N(MSG_OOB), N(MSG_PEEK), {"MSG_DONTROUTE", 4}, N(MSG_CTRUNC), N(MSG_TRUNC), N(MSG_DONTWAIT), N(MSG_EOR), N(MSG_WAITALL),
    {"MSG_CONFIRM", 0x800}, {"MSG_ERRQUEUE", 0x2000}, N(MSG_NOSIGNAL), {"MSG_MORE", 0x8000}, N(MSG_WAITFORONE),
    {"MSG_FASTOPEN", 0x20000000}, N(MSG_CMSG_CLOEXEC), END};
// clang-format on

static void print_pointer(struct text *t, uint64_t p) { text_add(t, p ? "%#lx" : "NULL", (unsigned long)p); }

static void print_type(struct text *t, unsigned v) {
    text_name(t, v & SOCK_TYPE_MASK, types, "SOCK_");
    if (v & ~SOCK_TYPE_MASK) {
        text_add(t, "|");
        text_flags(t, v & ~SOCK_TYPE_MASK, type_flags, "0");
    }
}

static void print_unix(struct text *t, const char *path, size_t len) {
    bool abstract = len && !path[0];
    if (!len)
        return;
    text_add(t, ", sun_path=%s\"", abstract ? "@" : "");
    for (size_t i = abstract; i < len && (abstract || path[i]); i++)
        text_add(t, path[i] >= ' ' && path[i] < 0x7f ? "%c" : "\\%o", (unsigned char)path[i]);
    text_add(t, "\"");
}

static void print_inet6(struct text *t, const char *data) {
    struct sockaddr_in6 in;
    memcpy(&in, data, sizeof(in));
    text_add(t, ", sin6_port=htons(%u), sin6_flowinfo=htonl(%u), inet_pton(AF_INET6, \"", __builtin_bswap16(in.sin6_port),
             __builtin_bswap32(in.sin6_flowinfo));
    for (unsigned i = 0; i < 8; i++) // in full: nothing is left out
        text_add(t, "%s%x", i ? ":" : "", __builtin_bswap16(in.sin6_addr.s6_addr16[i]));
    text_add(t, "\", &sin6_addr), sin6_scope_id=%u", in.sin6_scope_id);
}

static void print_address(struct text *t, uint64_t addr, int64_t len) {
    struct socket_address a;
    if (!addr || len < 2 || len > SOCKET_ADDRESS_MAX || copy_in(a.data, addr, len)) {
        print_pointer(t, addr);
        return;
    }
    text_add(t, "{sa_family=");
    text_name(t, a.family, families, "AF_");
    if (a.family == AF_UNIX)
        print_unix(t, a.data + 2, len - 2);
    else if (a.family == AF_INET && len >= 8)
        text_add(t, ", sin_port=htons(%u), sin_addr=inet_addr(\"%u.%u.%u.%u\")",
                 (unsigned)(uint8_t)a.data[2] << 8 | (uint8_t)a.data[3], (uint8_t)a.data[4], (uint8_t)a.data[5],
                 (uint8_t)a.data[6], (uint8_t)a.data[7]);
    else if (a.family == AF_INET6 && len >= 28)
        print_inet6(t, a.data);
    else if (a.family == AF_NETLINK && len >= 12) {
        struct sockaddr_nl nl;
        memcpy(&nl, a.data, sizeof(nl));
        text_add(t, ", nl_pid=%u, nl_groups=%08x", nl.nl_pid, nl.nl_groups);
    }
    text_add(t, "}");
}

static int length_at(uint64_t addr) {
    int len;
    return addr && copy_in_obj(&len, addr) == 0 ? len : 0;
}

// struct msghdr; `received`: the result of a recvmsg(2), -1: it is being sent.
static void print_message(struct text *t, uint64_t addr, long received) {
    uint64_t h[7]; // name, its length, vectors, their number, control, its length, flags
    if (!addr || copy_in_obj(&h, addr)) {
        print_pointer(t, addr);
        return;
    }
    text_add(t, "{msg_name=");
    print_address(t, h[0], (int)h[1]);
    text_add(t, ", msg_namelen=%d, msg_iov=", (int)h[1]);
    trace_iovec(t, h[2], h[3], received < 0 ? ~0ul : (uint64_t)received);
    text_add(t, ", msg_iovlen=%lu, msg_controllen=%lu, msg_flags=", (unsigned long)h[3], (unsigned long)h[5]);
    text_flags(t, h[6] & 0xffffffff, message_flags, "0");
    text_add(t, "}");
}

static void print_option(struct text *t, int level, unsigned option) { // each level has numbers of its own
    for (unsigned i = 0; i < ARRAY_SIZE(option_names); i++) {
        if (option_names[i].level == level) {
            text_name(t, option, option_names[i].names, option_names[i].prefix);
            return;
        }
    }
    text_add(t, "%u", option);
}

void trace_socket_arg(struct text *t, unsigned kind, const uint64_t args[6], unsigned i, long result) {
    uint64_t v = args[i], next = i < 5 ? args[i + 1] : 0;
    switch (kind) {
    case ARG_SOCKET_FAMILY: text_name(t, v & 0xffffffff, families, "AF_"); break;
    case ARG_SOCKET_TYPE: print_type(t, v); break;
    case ARG_SOCKET_LEVEL: text_name(t, v & 0xffffffff, levels, "SOL_"); break;
    case ARG_SOCKET_OPTION: print_option(t, i ? (int)args[i - 1] : -1, v & 0xffffffff); break;
    case ARG_SHUT_HOW: text_name(t, v & 0xffffffff, how, "SHUT_"); break;
    case ARG_MSG_FLAGS: text_flags(t, v & 0xffffffff, message_flags, "0"); break;
    case ARG_SOCKADDR: print_address(t, v, (int)next); break;
    case ARG_SOCKADDR_OUT: print_address(t, v, length_at(next)); break;
    case ARG_MSGHDR: print_message(t, v, -1); break;
    case ARG_MSGHDR_OUT: print_message(t, v, result); break;
    case ARG_OPTION_OUT: {
        int number, len = length_at(next);
        if (len == sizeof(number) && copy_in_obj(&number, v) == 0)
            text_add(t, "[%d]", number);
        else
            trace_buffer(t, v, MAX(len, 0));
        break;
    }
    default: break;
    }
}
