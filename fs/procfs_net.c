// /proc/net, which is a link to /proc/self/net: interfaces, addresses, routes, neighbours and groups, in Linux' columns. Sockets are in
// procfs_net_sockets.c, counters in procfs_net_counters.c.
#include "fs/procfs_net.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "lwip/igmp.h"
#include "lwip/mld6.h"
#include "net/inet/interface.h"
#include "net/netlink/address.h"
#include "net/netlink/neighbour.h"
#include "net/netlink/route.h"
#include "net/unix.h"
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#define RTF_UP 1u
#define RTF_GATEWAY 2u
#define RTF_HOST 4u
#define RTF_LOCAL 0x80000000u
#define RTF_NONEXTHOP 0x00200000u
#define IPV6_LOOPBACK 0x10 // scopes
#define IPV6_LINKLOCAL 0x20
#define IPV6_SITELOCAL 0x40

void seq_pad_line(struct seqbuf *s, size_t from, size_t width) {
    while (!s->failed && s->len - from < width)
        seq_write(s, " ", 1);
    seq_write(s, "\n", 1);
}

static void put_ip6(struct seqbuf *s, const ip6_addr_t *a) {
    for (unsigned i = 0; i < 4; i++)
        seq_printf(s, "%08x", lwip_ntohl(a->addr[i]));
}

static void put_mac(struct seqbuf *s, const uint8_t *mac) {
    for (unsigned i = 0; i < 6; i++)
        seq_printf(s, i ? ":%02x" : "%02x", mac[i]);
}

#define LOCKED(fn, body)                                                                                               \
    static int fn(struct seqbuf *s, struct proc_ref *r) {                                                              \
        int err = net_start();                                                                                         \
        if (err < 0)                                                                                                   \
            return err;                                                                                                \
        net_lock();                                                                                                    \
        body;                                                                                                          \
        net_unlock();                                                                                                  \
        return 0;                                                                                                      \
    }

// --- Interfaces and addresses ---

static void print_dev(struct seqbuf *s) {
    seq_puts(s,
             "Inter-|   Receive                                                |  Transmit\n"
             " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls "
             "carrier compressed\n");
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i)) {
        const struct net_statistics *t = net_interface_statistics(i);
        seq_printf(s, "%6s: %7lu %7lu %4lu %4lu %4u %5u %10u %9lu %8lu %7lu %4lu %4lu %4u %5u %7u %10u\n", i->name,
                   (unsigned long)t->rx_bytes, (unsigned long)t->rx_packets, (unsigned long)t->rx_errors,
                   (unsigned long)t->rx_dropped, 0, 0, 0, (unsigned long)t->multicast, (unsigned long)t->tx_bytes,
                   (unsigned long)t->tx_packets, (unsigned long)t->tx_errors, (unsigned long)t->tx_dropped, 0, 0, 0, 0);
    }
}
LOCKED(show_dev, print_dev(s))

static void print_address6(void *ctx, const struct interface_address *a) {
    put_ip6(ctx, ip_2_ip6(&a->ip));
    seq_printf(ctx, " %02x %02x %02x %02x %8s\n", a->interface->index, a->prefix,
               a->scope == RT_SCOPE_HOST   ? IPV6_LOOPBACK
               : a->scope == RT_SCOPE_LINK ? IPV6_LINKLOCAL
               : a->scope == RT_SCOPE_SITE ? IPV6_SITELOCAL
                                           : 0,
               a->flags & 0xff, a->interface->name);
}
LOCKED(show_if_inet6, interface_addresses(AF_INET6, 0, print_address6, s))

// --- Routes ---

static void print_route(void *ctx, const struct route_row *row) {
    struct seqbuf *s = ctx;
    size_t from = s->len;
    const struct net_route *r = &row->route;
    uint32_t mask = r->prefix ? lwip_htonl(~0u << (32 - r->prefix)) : 0, gateway = ip_2_ip4(&r->gateway)->addr;
    if (row->table != RT_TABLE_MAIN || !r->interface)
        return;
    seq_printf(s, "%s\t%08X\t%08X\t%04X\t%d\t%u\t%d\t%08X\t%d\t%u\t%u", r->interface->name,
               ip_2_ip4(&r->destination)->addr, gateway,
               RTF_UP | (gateway ? RTF_GATEWAY : 0) | (r->prefix == 32 ? RTF_HOST : 0), 0, 0, (int)r->metric, mask, 0,
               0, 0);
    seq_pad_line(s, from, 127);
}

static void print_routes(struct seqbuf *s) {
    size_t from = s->len;
    seq_puts(s, "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
    seq_pad_line(s, from, 127);
    route_rows(AF_INET, print_route, s);
}
LOCKED(show_route, print_routes(s))

static void print_route6(void *ctx, const struct route_row *row) {
    struct seqbuf *s = ctx;
    const struct net_route *r = &row->route;
    bool gateway = !ip_addr_isany(&r->gateway);
    put_ip6(s, ip_2_ip6(&r->destination));
    seq_printf(s, " %02x 00000000000000000000000000000000 00 ", r->prefix);
    put_ip6(s, ip_2_ip6(&r->gateway));
    seq_printf(s, " %08x %08x %08x %08x %8s\n", r->metric, 1, 0,
               RTF_UP | (gateway ? RTF_GATEWAY : 0) |
                   (row->type == RTN_LOCAL ? RTF_LOCAL | RTF_NONEXTHOP
                    : r->prefix == 128     ? RTF_HOST
                                           : 0),
               r->interface->name);
}

static void print_routes6(struct seqbuf *s) {
    route_rows(AF_INET6, print_route6, s);
    seq_puts(s,
             "00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 "
             "ffffffff 00000001 00000000 00200200       lo\n"); // what has no route
}
LOCKED(show_ipv6_route, print_routes6(s))

// --- Neighbours ---

static bool print_neighbour(void *ctx, const struct neighbour *n) {
    char ip[16];
    const uint8_t *a = (const void *)&ip_2_ip4(&n->ip)->addr;
    snprintf(ip, sizeof(ip), "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
    seq_printf(ctx, "%-16s 0x%-10x0x%-10x", ip, ARPHRD_ETHER,
               n->state == NUD_PERMANENT    ? 6
               : n->state == NUD_INCOMPLETE ? 0
                                            : 2);
    put_mac(ctx, n->mac);
    seq_printf(ctx, "     *        %s\n", n->interface->name);
    return false;
}

static void print_arp(struct seqbuf *s) {
    seq_puts(s, "IP address       HW type     Flags       HW address            Mask     Device\n");
    (void)neighbours(AF_INET, print_neighbour, s);
}
LOCKED(show_arp, print_arp(s))

// --- Groups ---

static void print_igmp(struct seqbuf *s) {
    seq_puts(s, "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n");
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i)) {
        unsigned count = 0;
        for (const struct igmp_group *g = netif_igmp_data(&i->netif); g; g = g->next)
            count++;
        seq_printf(s, "%d\t%-10s: %5u %s\n", i->index, i->name, count, "V2");
        for (const struct igmp_group *g = netif_igmp_data(&i->netif); g; g = g->next)
            seq_printf(s, "\t\t\t\t%08X %5d %d:%08X\t\t%d\n", g->group_address.addr, MAX((int)g->use, 1), g->timer != 0,
                       g->timer * 10u, g->last_reporter_flag);
    }
}
LOCKED(show_igmp, print_igmp(s))

static void print_igmp6(struct seqbuf *s) {
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i)) {
        for (const struct mld_group *g = netif_mld6_data(&i->netif); g; g = g->next) {
            seq_printf(s, "%-4d %-15s ", i->index, i->name);
            put_ip6(s, &g->group_address);
            seq_printf(s, " %5d %08X %d\n", MAX((int)g->use, 1), g->last_reporter_flag ? 4 : 0, g->timer * 10);
        }
        seq_printf(s, "%-4d %-15s ff020000000000000000000000000001     1 0000000C 0\n", i->index, i->name);
        seq_printf(s, "%-4d %-15s ff010000000000000000000000000001     1 00000008 0\n", i->index, i->name);
    }
}
LOCKED(show_igmp6, print_igmp6(s))

static void print_dev_mcast(struct seqbuf *s) {
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i)) {
        if (!i->device)
            continue;
        for (const struct igmp_group *g = netif_igmp_data(&i->netif); g; g = g->next)
            seq_printf(s, "%-4d %-15s %-5d %-5d 01005e%06x\n", i->index, i->name, 1, 0,
                       lwip_ntohl(g->group_address.addr) & 0x7fffff);
        seq_printf(s, "%-4d %-15s %-5d %-5d 333300000001\n", i->index, i->name, 1, 0);
        for (const struct mld_group *g = netif_mld6_data(&i->netif); g; g = g->next)
            seq_printf(s, "%-4d %-15s %-5d %-5d 3333%08x\n", i->index, i->name, 1, 0,
                       lwip_ntohl(g->group_address.addr[3]));
    }
}
LOCKED(show_dev_mcast, print_dev_mcast(s))

// --- The rest ---

static int show_unix(struct seqbuf *s, struct proc_ref *r) { return unix_show(s); }
static int show_netlink(struct seqbuf *s, struct proc_ref *r) { return netlink_show(s); }

static int show_packet(struct seqbuf *s, struct proc_ref *r) {
    seq_puts(s, "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n");
    return 0;
}

static int show_ptype(struct seqbuf *s, struct proc_ref *r) {
    seq_puts(s, "Type Device      Function\n0800          ip_rcv\n0806          arp_rcv\n86dd          ipv6_rcv\n");
    return 0;
}

const struct proc_entry proc_net_entries[] = {
    PROC_FILE("arp", show_arp),
    PROC_FILE("dev", show_dev),
    PROC_FILE("dev_mcast", show_dev_mcast),
    PROC_FILE("icmp", proc_show_icmp),
    PROC_FILE("icmp6", proc_show_icmp6),
    PROC_FILE("if_inet6", show_if_inet6),
    PROC_FILE("igmp", show_igmp),
    PROC_FILE("igmp6", show_igmp6),
    PROC_FILE("ipv6_route", show_ipv6_route),
    PROC_FILE("netlink", show_netlink),
    PROC_FILE("netstat", proc_show_netstat),
    PROC_FILE("packet", show_packet),
    PROC_FILE("protocols", proc_show_protocols),
    PROC_FILE("ptype", show_ptype),
    PROC_FILE("raw", proc_show_raw),
    PROC_FILE("raw6", proc_show_raw6),
    PROC_FILE("route", show_route),
    PROC_FILE("snmp", proc_show_snmp),
    PROC_FILE("snmp6", proc_show_snmp6),
    PROC_FILE("sockstat", proc_show_sockstat),
    PROC_FILE("sockstat6", proc_show_sockstat6),
    PROC_FILE("tcp", proc_show_tcp),
    PROC_FILE("tcp6", proc_show_tcp6),
    PROC_FILE("udp", proc_show_udp),
    PROC_FILE("udp6", proc_show_udp6),
    PROC_FILE("udplite", proc_show_udplite),
    PROC_FILE("udplite6", proc_show_udplite6),
    PROC_FILE("unix", show_unix),
    {.name = NULL},
};
