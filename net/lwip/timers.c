// lwIP's timers, each only while it has something to do: a machine whose network is idle is not woken. One kernel timer stands for the
// earliest; it raises deferred work, which calls lwIP under the core lock.
//
// Whether a timer is needed is looked at when something has happened that may need one (net_timers_wanted, told by the allocations and messages
// that lead to it), and when it has run. What only ages (the tables of neighbours, lifetimes of addresses) is called for SLOW intervals at once.
#include "kernel/threads/deferred.h"
#include "kernel/time.h"
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/icmp6.h"
#include "lwip/igmp.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/memp.h"
#include "lwip/mld6.h"
#include "lwip/nd6.h"
#include "lwip/prot/dhcp.h"
#include "lwip/priv/nd6_priv.h"
#include "net/lwip/stack.h"

#define SLOW 10

enum need { IDLE, AGES, ACTS };

static bool neighbours4, neighbours6; // there may be some in the tables

static enum need need_reassembly(void) { return net_memory_count(MEMP_REASSDATA) ? ACTS : IDLE; }
static enum need need_reassembly6(void) { return net_memory_count(MEMP_IP6_REASSDATA) ? ACTS : IDLE; }

static enum need need_arp(void) {
    ip4_addr_t *ip;
    struct netif *n;
    struct eth_addr *mac;
    if (net_memory_count(MEMP_ARP_QUEUE))
        return ACTS;
    for (size_t i = 0; neighbours4 && i < ARP_TABLE_SIZE; i++)
        if (etharp_get_entry(i, &ip, &n, &mac))
            return AGES;
    neighbours4 = false;
    return IDLE;
}

static enum need need_nd(void) {
    enum need need = IDLE;
    bool any = false;
    for (unsigned i = 0; neighbours6 && i < LWIP_ND6_NUM_NEIGHBORS; i++) {
        any |= neighbor_cache[i].state != ND6_NO_ENTRY;
        if (neighbor_cache[i].state == ND6_INCOMPLETE || neighbor_cache[i].state == ND6_DELAY || neighbor_cache[i].state == ND6_PROBE)
            return ACTS;
        if (neighbor_cache[i].state == ND6_REACHABLE) // a stale one may stay
            need = AGES;
    }
    neighbours6 = any;
    struct netif *n;
    NETIF_FOREACH(n) {
        bool up = netif_is_up(n) && netif_is_link_up(n);
        if (n->rs_count && up && !ip6_addr_isinvalid(netif_ip6_addr_state(n, 0)) && !ip6_addr_isduplicated(netif_ip6_addr_state(n, 0)))
            return ACTS;
        for (unsigned k = 0; k < LWIP_IPV6_NUM_ADDRESSES; k++) {
            if (ip6_addr_istentative(netif_ip6_addr_state(n, k)) && up)
                return ACTS;
            if (!ip6_addr_isinvalid(netif_ip6_addr_state(n, k)) && !netif_ip6_addr_isstatic(n, k))
                need = AGES;
        }
    }
    for (unsigned i = 0; any && i < LWIP_ND6_NUM_ROUTERS; i++)
        if (default_router_list[i].neighbor_entry)
            need = AGES;
    for (unsigned i = 0; i < LWIP_ND6_NUM_PREFIXES; i++)
        if (prefix_list[i].netif)
            need = AGES;
    return need;
}

static enum need need_igmp(void) {
    struct netif *n;
    NETIF_FOREACH(n)
        for (const struct igmp_group *g = netif_igmp_data(n); g; g = g->next)
            if (g->timer)
                return ACTS;
    return IDLE;
}

static enum need need_mld(void) {
    struct netif *n;
    NETIF_FOREACH(n)
        for (const struct mld_group *g = netif_mld6_data(n); g; g = g->next)
            if (g->timer)
                return ACTS;
    return IDLE;
}

static enum need need_dhcp_lease(void) {
    struct netif *n;
    NETIF_FOREACH(n) {
        const struct dhcp *d = netif_dhcp_data(n);
        if (d && d->state != DHCP_STATE_OFF && d->t0_timeout)
            return ACTS;
    }
    return IDLE;
}

static enum need need_dhcp_request(void) {
    struct netif *n;
    NETIF_FOREACH(n) {
        const struct dhcp *d = netif_dhcp_data(n);
        if (d && d->request_timeout)
            return ACTS;
    }
    return IDLE;
}

// Prefixes and routers end there.
static void nd_timer(void) {
    nd6_tmr();
    net_routes_changed();
}

static struct cyclic {
    uint32_t ms;
    void (*run)(void);
    enum need (*need)(void);
    nsec_t next; // 0: not needed
    unsigned times;
} cyclics[] = {
    {1000, ip_reass_tmr, need_reassembly, 0, 0},
    {1000, ip6_reass_tmr, need_reassembly6, 0, 0},
    {1000, etharp_tmr, need_arp, 0, 0},
    {1000, nd_timer, need_nd, 0, 0},
    {100, igmp_tmr, need_igmp, 0, 0},
    {100, mld6_tmr, need_mld, 0, 0},
    {DHCP_COARSE_TIMER_MSECS, dhcp_coarse_tmr, need_dhcp_lease, 0, 0},
    {DHCP_FINE_TIMER_MSECS, dhcp_fine_tmr, need_dhcp_request, 0, 0},
};

bool net_timers_wanted;
static struct timer timer;
static nsec_t armed = NSEC_MAX;    // for when the timer is set
static nsec_t tcp_next = NSEC_MAX; // tcp_bucket_timer
static nsec_t now_cached;

nsec_t net_now(void) {
    if (!now_cached)
        now_cached = time_monotonic();
    return now_cached;
}
void net_now_forget(void) { now_cached = 0; }

// The interrupt: deadlines are looked at under the lock.
static void run(struct deferred *d);
static struct deferred work = {.fn = run};
static void expired(struct timer *t) { deferred_raise(&work); }

static void arm(nsec_t at) {
    if (at >= armed)
        return;
    armed = at;
    timer_add(&timer, at);
}

static void arm_all(void) {
    nsec_t first = tcp_next;
    for (unsigned i = 0; i < ARRAY_SIZE(cyclics); i++)
        if (cyclics[i].next)
            first = MIN(first, cyclics[i].next);
    arm(first);
}

// `ran`: it has just been called, and its next interval begins.
static void plan(struct cyclic *c, bool ran) {
    enum need need = c->need();
    unsigned times = need == AGES ? SLOW : 1;
    if (need == IDLE)
        c->next = 0;
    else if (ran || !c->next || times < c->times)
        c->next = net_now() + (nsec_t)times * c->ms * NSEC_PER_MSEC;
    else
        return;
    c->times = times;
}

void net_timers_check(void) {
    net_timers_wanted = false;
    neighbours6 |= net_memory_count(MEMP_ND6_QUEUE);
    for (unsigned i = 0; i < ARRAY_SIZE(cyclics); i++)
        plan(&cyclics[i], false);
    arm_all();
}

static void run(struct deferred *d) {
    net_lock();
    armed = NSEC_MAX;
    nsec_t now = net_now();
    if (now >= tcp_next) {
        tcp_next = NSEC_MAX;
        tcp_bucket_timer();
    }
    for (unsigned i = 0; i < ARRAY_SIZE(cyclics); i++) {
        struct cyclic *c = &cyclics[i];
        if (!c->next || now < c->next)
            continue;
        for (unsigned n = c->times; n; n--) { // as soon as it has to act it needs time between the calls
            c->run();
            if (n > 1 && c->need() == ACTS)
                break;
        }
        plan(c, true);
    }
    arm_all();
    net_unlock();
}

void net_timers_tcp(nsec_t at) {
    if (at >= tcp_next)
        return;
    tcp_next = at;
    arm(at);
}

void net_timers_init(void) { timer_init(&timer, expired); }

// --- Messages after which a timer may be needed: lwIP's functions are compiled under another name (Makefile) ---
void lwip_etharp_input(struct pbuf *p, struct netif *n);
void lwip_icmp6_input(struct pbuf *p, struct netif *n);
void lwip_igmp_input(struct pbuf *p, struct netif *n, const ip4_addr_t *to);

void etharp_input(struct pbuf *p, struct netif *n) {
    if (p->len < SIZEOF_ETHARP_HDR) { // lwIP does not look
        pbuf_free(p);
        return;
    }
    net_timers_wanted = neighbours4 = true;
    lwip_etharp_input(p, n);
}

// RFC 8201, 4: such a message is to be discarded. lwIP would believe it, and cut packets into pieces of nothing without end.
bool net_path_mtu_harmful(const struct pbuf *p, unsigned at, uint32_t most) {
    struct icmp6_hdr h;
    return pbuf_copy_partial(p, &h, sizeof(h), (u16_t)at) == sizeof(h) && h.type == ICMP6_TYPE_PTB &&
           (lwip_ntohl(h.data) < IP6_MIN_MTU_LENGTH || lwip_ntohl(h.data) > most);
}

void icmp6_input(struct pbuf *p, struct netif *n) {
    if (unlikely(net_path_mtu_harmful(p, 0, UINT32_MAX))) {
        pbuf_free(p);
        return;
    }
    net_timers_wanted = neighbours6 = true;
    if (p->len && *(const u8_t *)p->payload == ICMP6_TYPE_PTB)
        net_paths_known = true;
    bool routers = p->len && *(const u8_t *)p->payload >= ICMP6_TYPE_RS && *(const u8_t *)p->payload <= ICMP6_TYPE_RD;
    lwip_icmp6_input(p, n);
    if (routers)
        net_routes_changed();
}

void igmp_input(struct pbuf *p, struct netif *n, const ip4_addr_t *to) {
    net_timers_wanted = true;
    lwip_igmp_input(p, n, to);
}
