// /proc/net: sockets of the Internet protocols, and how many there are.
#include "fs/procfs_net.h"
#include "kernel/string.h"
#include "net/netlink/netlink.h"
#include "net/unix.h"

#define TICKS_PER_SECOND 100
enum { ESTABLISHED = 1, TIME_WAIT = 6, LISTEN = 10 }; // TCP's states as Linux numbers them

// --- Which rows belong where ---

static bool row_is_v6(const struct inet_row *row) {
    return row->socket ? row->socket->socket.family == AF_INET6 : !IP_IS_V4(&row->local);
}

struct lines {
    struct seqbuf *s;
    enum inet_table table;
    bool v6;
    unsigned number;
};

// IPv4 addresses in a file of IPv6 are mapped, but "any" of a socket for both.
static void put_address(struct lines *l, const ip_addr_t *a, unsigned port) {
    struct seqbuf *s = l->s;
    if (!l->v6) {
        seq_printf(s, " %08X:%04X", IP_IS_V6_VAL(*a) ? 0 : ip_2_ip4(a)->addr, port);
    } else if (IP_IS_V4(a)) {
        uint32_t ip = ip_2_ip4(a)->addr;
        seq_printf(s, " %08X%08X%08X%08X:%04X", 0, 0, ip ? 0xffff0000 : 0, ip, port);
    } else {
        const u32_t *ip = ip_2_ip6(a)->addr;
        seq_printf(s, " %08X%08X%08X%08X:%04X", ip[0], ip[1], ip[2], ip[3], port);
    }
}

static bool print_row(void *ctx, const struct inet_row *row) {
    struct lines *l = ctx;
    struct seqbuf *s = l->s;
    bool tcp = l->table == TABLE_TCP, pads = !l->v6 && l->table != TABLE_RAW;
    if (row_is_v6(row) != l->v6)
        return s->failed;
    size_t from = s->len;
    seq_printf(s, tcp || l->table == TABLE_RAW ? "%4u:" : "%5u:", l->number++);
    put_address(l, &row->local, row->local_port);
    put_address(l, &row->remote, row->remote_port);
    unsigned timer = !row->timer ? 0 : row->state == TIME_WAIT ? 3 : 1;
    unsigned long ticks = row->timer > 0 ? (unsigned long)(row->timer / (NSEC_PER_SEC / TICKS_PER_SECOND)) : 0;
    seq_printf(s, " %02X %08X:%08X %02X:%08lX %08X %5u %8d %lu %d %016x", row->state,
               tcp && row->state == LISTEN ? 0 : row->send_queue, row->receive_queue, timer, ticks, row->retransmits,
               row->uid, 0, (unsigned long)row->inode, row->socket ? 2 : 3, 0);
    if (tcp && row->state != TIME_WAIT)
        seq_printf(s, " %u %d %d %d %d", row->state == LISTEN ? 100u : 20u, 0, 0, 10, row->state == LISTEN ? 0 : -1);
    else if (!tcp)
        seq_printf(s, " %u", row->drops);
    if (pads)
        seq_pad_line(s, from, tcp ? 149 : 127);
    else
        seq_write(s, "\n", 1);
    return s->failed;
}

static int show(struct seqbuf *s, enum inet_table table, bool v6, bool any) {
    struct lines l = {s, table, v6, 0};
    size_t from = s->len;
    bool tcp = table == TABLE_TCP;
    if (v6)
        seq_puts(
            s,
            "  sl  local_address                         remote_address                        st tx_queue rx_queue tr "
            "tm->when retrnsmt   uid  timeout inode");
    else
        seq_printf(s,
                   "%s  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
                   table == TABLE_UDP ? " " : "");
    if (!tcp)
        seq_puts(s, " ref pointer drops");
    seq_pad_line(s, from, v6 || table == TABLE_RAW ? 0 : tcp ? 149 : 127);
    int err = net_start();
    if (err < 0 || !any)
        return err;
    net_lock();
    inet_each(table, print_row, &l);
    net_unlock();
    return 0;
}

#define SOCKETS(fn, table, v6, any)                                                                                    \
    int fn(struct seqbuf *s, struct proc_ref *r) { return show(s, table, v6, any); }
SOCKETS(proc_show_tcp, TABLE_TCP, false, true)
SOCKETS(proc_show_tcp6, TABLE_TCP, true, true)
SOCKETS(proc_show_udp, TABLE_UDP, false, true)
SOCKETS(proc_show_udp6, TABLE_UDP, true, true)
SOCKETS(proc_show_udplite, TABLE_UDP, false, false) // there is none
SOCKETS(proc_show_udplite6, TABLE_UDP, true, false)
SOCKETS(proc_show_raw, TABLE_RAW, false, true)
SOCKETS(proc_show_raw6, TABLE_RAW, true, true)
SOCKETS(proc_show_icmp, TABLE_PING, false, true)
SOCKETS(proc_show_icmp6, TABLE_PING, true, true)

// --- How many ---

struct counts {
    unsigned v4, v6, time_wait, orphans;
};

static bool count_row(void *ctx, const struct inet_row *row) {
    struct counts *c = ctx;
    if (row->state == TIME_WAIT)
        c->time_wait++;
    else if (!row->socket)
        c->orphans++;
    else if (row_is_v6(row))
        c->v6++;
    else
        c->v4++;
    return false;
}

static int count(struct counts by[TABLE_PING + 1]) {
    int err = net_start();
    memset(by, 0, sizeof(*by) * (TABLE_PING + 1));
    if (err < 0)
        return err;
    net_lock();
    for (enum inet_table t = TABLE_TCP; t <= TABLE_PING; t++)
        inet_each(t, count_row, &by[t]);
    net_unlock();
    return 0;
}

static unsigned lines_of(int (*fn)(struct seqbuf *s)) { // behind the headline
    struct seqbuf text = {0};
    unsigned n = 0;
    if (fn(&text) == 0)
        for (size_t i = 0; i < text.len; i++)
            n += text.data[i] == '\n';
    seq_free(&text);
    return n ? n - 1 : 0;
}

int proc_show_sockstat(struct seqbuf *s, struct proc_ref *r) {
    struct counts c[TABLE_PING + 1];
    int err = count(c);
    if (err < 0)
        return err;
    unsigned used = lines_of(unix_show) + lines_of(netlink_show) - 2; // two of netlink's lines are the kernel's
    for (unsigned t = TABLE_TCP; t <= TABLE_PING; t++)
        used += c[t].v4 + c[t].v6;
    unsigned tcp = c[TABLE_TCP].v4 + c[TABLE_TCP].v6;
    seq_printf(
        s,
        "sockets: used %u\nTCP: inuse %u orphan %u tw %u alloc %u mem %u\nUDP: inuse %u mem %u\nUDPLITE: inuse 0\n"
        "RAW: inuse %u\nFRAG: inuse 0 memory 0\n",
        used, c[TABLE_TCP].v4, c[TABLE_TCP].orphans, c[TABLE_TCP].time_wait, tcp, 0, c[TABLE_UDP].v4, 0,
        c[TABLE_RAW].v4);
    return 0;
}

int proc_show_sockstat6(struct seqbuf *s, struct proc_ref *r) {
    struct counts c[TABLE_PING + 1];
    int err = count(c);
    if (!err)
        seq_printf(s, "TCP6: inuse %u\nUDP6: inuse %u\nUDPLITE6: inuse 0\nRAW6: inuse %u\nFRAG6: inuse 0 memory 0\n",
                   c[TABLE_TCP].v6, c[TABLE_UDP].v6, c[TABLE_RAW].v6);
    return err;
}

int proc_show_protocols(struct seqbuf *s, struct proc_ref *r) {
    static const char *const yes = "y  y  y  n  y  y  y  n  y  y  y  y  n  n  y  y  y  n";
    static const char *const tcp = "y  y  y  y  y  y  y  y  y  y  y  y  n  y  y  y  y  y";
    static const char *const no = "y  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n";
    static const char *const names[] = {"TCP", "UDP", "RAW", "PING"};
    struct counts c[TABLE_PING + 1];
    int err = count(c);
    if (err < 0)
        return err;
    seq_puts(s, "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re bi "
                "br ha uh gp em\n");
    for (unsigned v6 = 1; v6 < 2; v6--) {
        for (unsigned t = TABLE_PING + 1; t-- > 0;)
            seq_printf(s, "%s%-*s %4u %6u  %6d   %-3s %6u   yes  kernel      %s  n\n", names[t],
                       (int)(9 - strlen(names[t])), v6 ? "v6" : "", (unsigned)sizeof(struct inet_socket),
                       v6 ? c[t].v6 : c[t].v4, t == TABLE_TCP ? 0 : -1, t == TABLE_TCP ? "no" : "NI", 0,
                       t == TABLE_TCP ? tcp : yes);
        if (v6)
            seq_printf(s, "UNIX      %4u %6u  %6d   NI  %6u   yes  kernel      %s  n\n",
                       (unsigned)sizeof(struct unix_socket), lines_of(unix_show), -1, 0, no);
    }
    seq_printf(s, "NETLINK   %4u %6u  %6d   NI  %6u   no   kernel      n%s  n\n",
               (unsigned)sizeof(struct netlink_socket), lines_of(netlink_show) - 2, -1, 0, no + 1);
    return 0;
}
