// RTM_GETRULE and RTM_GETQDISC: there is nothing to be set up here, and this is what Linux shows then: the rules that say in which
// order the tables of routes are asked, and no queueing discipline.
#include "net/netlink/netlink.h"
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

static void rule(const struct netlink_request *r, uint8_t family, uint32_t priority, uint8_t rule_table) {
    struct fib_rule_hdr h = {.family = family, .table = rule_table, .action = FR_ACT_TO_TBL};
    struct message m = message_begin(r, RTM_NEWRULE, &h, sizeof(h));
    message_put_u32(&m, FRA_TABLE, rule_table);
    message_put_u32(&m, FRA_SUPPRESS_PREFIXLEN, ~0u);
    message_put_u8(&m, FRA_PROTOCOL, RTPROT_KERNEL);
    if (priority)
        message_put_u32(&m, FRA_PRIORITY, priority);
    message_end(&m);
}

int rule_dump(struct netlink_request *r) {
    const struct rtgenmsg *g = request_header(r, sizeof(*g));
    static const uint8_t families[] = {AF_INET, AF_INET6};
    if (g->rtgen_family != AF_UNSPEC && g->rtgen_family != AF_INET && g->rtgen_family != AF_INET6)
        return -EAFNOSUPPORT;
    for (unsigned i = 0; i < 2; i++) {
        if (g->rtgen_family != AF_UNSPEC && g->rtgen_family != families[i])
            continue;
        rule(r, families[i], 0, RT_TABLE_LOCAL);
        rule(r, families[i], 32766, RT_TABLE_MAIN);
        if (families[i] == AF_INET)
            rule(r, families[i], 32767, RT_TABLE_DEFAULT);
    }
    return 0;
}

int qdisc_dump(struct netlink_request *r) {
    const struct tcmsg *want = request_header(r, sizeof(*want));
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i)) {
        if (!i->up || (want && want->tcm_ifindex && want->tcm_ifindex != i->index))
            continue;
        struct tcmsg h = {.tcm_ifindex = i->index, .tcm_parent = ~0u, .tcm_info = 2}; // TC_H_ROOT, references
        struct message m = message_begin(r, RTM_NEWQDISC, &h, sizeof(h));
        message_put_text(&m, TCA_KIND, "noqueue");
        message_put_u8(&m, TCA_HW_OFFLOAD, 0);
        message_end(&m);
    }
    return 0;
}
