// Arguments of the calls on sockets as text: addresses, flags, options, struct msghdr.
#include "kernel/memory/uio.h"
#include "kernel/memory/usercopy.h"
#include "kernel/string.h"
#include "net/socket.h"
#include "syscall/syscall.h"
#include "syscall/trace.h"
#include <asm/socket.h>
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

void trace_socket_arg(struct text *t, unsigned kind, const uint64_t args[6], unsigned i, long result) {
    uint64_t v = args[i], next = i < 5 ? args[i + 1] : 0;
    switch (kind) {
    case ARG_SOCKET_FAMILY: text_name(t, v & 0xffffffff, families, "AF_"); break;
    case ARG_SOCKET_TYPE: print_type(t, v); break;
    case ARG_SOCKET_LEVEL: text_name(t, v & 0xffffffff, levels, "SOL_"); break;
    case ARG_SOCKET_OPTION: // those of other levels have numbers of their own
        if (i && (int)args[i - 1] == SOL_SOCKET)
            text_name(t, v & 0xffffffff, options, "SO_");
        else
            text_add(t, "%d", (int)v);
        break;
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
