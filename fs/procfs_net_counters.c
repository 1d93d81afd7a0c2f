// /proc/net/snmp, snmp6 and netstat: lwIP's counters. What it does not count is 0, as are all of IPv6's.
#include "fs/procfs_net.h"
#include "kernel/log.h"
#include "lwip/stats.h"
#include "net/inet/sysctl.h"

struct counter {
    const char *name;
    const u32_t *value; // NULL: 0
};
#define NOT(name)                                                                                                      \
    { name, NULL }
#define HAS(name, field)                                                                                               \
    { name, &lwip_stats.mib2.field }

static unsigned value_of(const struct counter *c) { return c->value ? *c->value : 0; }

// Two lines: names and values.
static void put_lines(struct seqbuf *s, const char *group, const char *fixed_names, const char *fixed_values,
                      const struct counter *c, unsigned n) {
    seq_printf(s, "%s:%s", group, fixed_names);
    for (unsigned i = 0; i < n; i++)
        seq_printf(s, " %s", c[i].name);
    seq_printf(s, "\n%s:%s", group, fixed_values);
    for (unsigned i = 0; i < n; i++)
        seq_printf(s, " %u", value_of(&c[i]));
    seq_puts(s, "\n");
}

static const struct counter ip[] = {
    HAS("InReceives", ipinreceives),
    HAS("InHdrErrors", ipinhdrerrors),
    HAS("InAddrErrors", ipinaddrerrors),
    HAS("ForwDatagrams", ipforwdatagrams),
    HAS("InUnknownProtos", ipinunknownprotos),
    HAS("InDiscards", ipindiscards),
    HAS("InDelivers", ipindelivers),
    HAS("OutRequests", ipoutrequests),
    HAS("OutDiscards", ipoutdiscards),
    HAS("OutNoRoutes", ipoutnoroutes),
    NOT("ReasmTimeout"),
    HAS("ReasmReqds", ipreasmreqds),
    HAS("ReasmOKs", ipreasmoks),
    HAS("ReasmFails", ipreasmfails),
    HAS("FragOKs", ipfragoks),
    HAS("FragFails", ipfragfails),
    HAS("FragCreates", ipfragcreates),
};
static const struct counter icmp[] = {
    HAS("InMsgs", icmpinmsgs),
    HAS("InErrors", icmpinerrors),
    NOT("InCsumErrors"),
    HAS("InDestUnreachs", icmpindestunreachs),
    HAS("InTimeExcds", icmpintimeexcds),
    HAS("InParmProbs", icmpinparmprobs),
    HAS("InSrcQuenchs", icmpinsrcquenchs),
    HAS("InRedirects", icmpinredirects),
    HAS("InEchos", icmpinechos),
    HAS("InEchoReps", icmpinechoreps),
    HAS("InTimestamps", icmpintimestamps),
    HAS("InTimestampReps", icmpintimestampreps),
    HAS("InAddrMasks", icmpinaddrmasks),
    HAS("InAddrMaskReps", icmpinaddrmaskreps),
    HAS("OutMsgs", icmpoutmsgs),
    HAS("OutErrors", icmpouterrors),
    HAS("OutDestUnreachs", icmpoutdestunreachs),
    HAS("OutTimeExcds", icmpouttimeexcds),
    NOT("OutParmProbs"),
    NOT("OutSrcQuenchs"),
    NOT("OutRedirects"),
    HAS("OutEchos", icmpoutechos),
    HAS("OutEchoReps", icmpoutechoreps),
    NOT("OutTimestamps"),
    NOT("OutTimestampReps"),
    NOT("OutAddrMasks"),
    NOT("OutAddrMaskReps"),
};
static const struct counter tcp_before[] = {
    HAS("ActiveOpens", tcpactiveopens),
    HAS("PassiveOpens", tcppassiveopens),
    HAS("AttemptFails", tcpattemptfails),
    HAS("EstabResets", tcpestabresets),
};
static const struct counter tcp_after[] = {
    HAS("InSegs", tcpinsegs), HAS("OutSegs", tcpoutsegs), HAS("RetransSegs", tcpretranssegs),
    HAS("InErrs", tcpinerrs), HAS("OutRsts", tcpoutrsts), NOT("InCsumErrors"),
};
static const struct counter udp[] = {
    HAS("InDatagrams", udpindatagrams),
    HAS("NoPorts", udpnoports),
    HAS("InErrors", udpinerrors),
    HAS("OutDatagrams", udpoutdatagrams),
    NOT("RcvbufErrors"),
    NOT("SndbufErrors"),
    NOT("InCsumErrors"),
    NOT("IgnoredMulti"),
    NOT("MemErrors"),
};
static const struct counter udplite[] = {
    NOT("InDatagrams"),  NOT("NoPorts"),      NOT("InErrors"),     NOT("OutDatagrams"), NOT("RcvbufErrors"),
    NOT("SndbufErrors"), NOT("InCsumErrors"), NOT("IgnoredMulti"), NOT("MemErrors"),
};

static bool count_established(void *ctx, const struct inet_row *row) {
    *(unsigned *)ctx += row->state == 1 || row->state == 8; // ESTABLISHED, CLOSE-WAIT
    return false;
}

int proc_show_snmp(struct seqbuf *s, struct proc_ref *r) {
    char text[24];
    unsigned established = 0;
    int err = net_start();
    if (err < 0)
        return err;
    net_lock();
    inet_each(TABLE_TCP, count_established, &established);
    snprintf(text, sizeof(text), " 2 %u", net_settings.default_ttl);
    put_lines(s, "Ip", " Forwarding DefaultTTL", text, ip, ARRAY_SIZE(ip));
    put_lines(s, "Icmp", "", "", icmp, ARRAY_SIZE(icmp));
    seq_puts(s, "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn");
    for (unsigned i = 0; i < ARRAY_SIZE(tcp_before); i++)
        seq_printf(s, " %s", tcp_before[i].name);
    seq_puts(s, " CurrEstab");
    for (unsigned i = 0; i < ARRAY_SIZE(tcp_after); i++)
        seq_printf(s, " %s", tcp_after[i].name);
    seq_puts(s, "\nTcp: 1 200 120000 -1");
    for (unsigned i = 0; i < ARRAY_SIZE(tcp_before); i++)
        seq_printf(s, " %u", value_of(&tcp_before[i]));
    seq_printf(s, " %u", established);
    for (unsigned i = 0; i < ARRAY_SIZE(tcp_after); i++)
        seq_printf(s, " %u", value_of(&tcp_after[i]));
    seq_puts(s, "\n");
    put_lines(s, "Udp", "", "", udp, ARRAY_SIZE(udp));
    put_lines(s, "UdpLite", "", "", udplite, ARRAY_SIZE(udplite));
    net_unlock();
    return 0;
}

int proc_show_snmp6(struct seqbuf *s, struct proc_ref *r) {
    static const char *const names[] = {
        "Ip6InReceives",      "Ip6InHdrErrors",     "Ip6InTooBigErrors", "Ip6InNoRoutes",   "Ip6InAddrErrors",
        "Ip6InUnknownProtos", "Ip6InTruncatedPkts", "Ip6InDiscards",     "Ip6InDelivers",   "Ip6OutForwDatagrams",
        "Ip6OutRequests",     "Ip6OutDiscards",     "Ip6OutNoRoutes",    "Ip6ReasmTimeout", "Ip6ReasmReqds",
        "Ip6ReasmOKs",        "Ip6ReasmFails",      "Ip6FragOKs",        "Ip6FragFails",    "Ip6FragCreates",
        "Ip6InMcastPkts",     "Ip6OutMcastPkts",    "Ip6InOctets",       "Ip6OutOctets",    "Icmp6InMsgs",
        "Icmp6InErrors",      "Icmp6OutMsgs",       "Icmp6OutErrors",    "Udp6InDatagrams", "Udp6NoPorts",
        "Udp6InErrors",       "Udp6OutDatagrams",   "Udp6RcvbufErrors",  "Udp6SndbufErrors"};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        seq_printf(s, "%-32s\t0\n", names[i]);
    return 0;
}

int proc_show_netstat(struct seqbuf *s, struct proc_ref *r) {
    static const struct counter tcp[] = {NOT("SyncookiesSent"),
                                         NOT("EmbryonicRsts"),
                                         NOT("TW"),
                                         NOT("DelayedACKs"),
                                         NOT("ListenOverflows"),
                                         NOT("ListenDrops"),
                                         HAS("TCPTimeouts", tcpretranssegs),
                                         NOT("TCPSynRetrans")};
    struct net_statistics sum = {0};
    int err = net_start();
    if (err < 0)
        return err;
    net_lock();
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i)) {
        const struct net_statistics *t = net_interface_statistics(i);
        sum.rx_bytes += t->rx_bytes;
        sum.tx_bytes += t->tx_bytes;
        sum.multicast += t->multicast;
    }
    put_lines(s, "TcpExt", "", "", tcp, ARRAY_SIZE(tcp));
    net_unlock();
    seq_printf(s, "IpExt: InMcastPkts InOctets OutOctets\nIpExt: %lu %lu %lu\n", (unsigned long)sum.multicast,
               (unsigned long)sum.rx_bytes, (unsigned long)sum.tx_bytes);
    return 0;
}
