// All sockets of a protocol, for /proc/net and netlink.
#include "net/inet/datagram.h"
#include "net/inet/tcp.h"

void inet_each(enum inet_table table, bool (*fn)(void *ctx, const struct inet_row *row), void *ctx) {
    switch (table) {
    case TABLE_TCP: tcp_each(fn, ctx); break;
    case TABLE_UDP: udp_each(fn, ctx); break;
    case TABLE_RAW: raw_each(fn, ctx); break;
    case TABLE_PING: ping_each(fn, ctx); break;
    }
}
