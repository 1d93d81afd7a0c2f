// How often errors of ICMP are sent, with Linux's settings (icmp_msgs_per_sec, icmp_msgs_burst, icmp_ratelimit): so many for all together, and
// to one address some at once, then one a second (of IPv6 four). Whoever sends floods to closed ports, or in the name of others, gets no more
// out of this machine. Echo replies are not limited, nor are they in Linux. lwIP's functions are compiled under another name (Makefile).
// Under the core lock.
#include "lwip/icmp.h"
#include "lwip/icmp6.h"
#include "lwip/ip.h"
#include "lwip/prot/ip4.h"
#include "net/lwip/stack.h"

#define ALL_PER_SECOND 1000
#define ALL_AT_ONCE 50
#define ONE_AT_ONCE 6
#define INTERVAL4 NSEC_PER_SEC
#define INTERVAL6 (NSEC_PER_SEC / 4)

// The time at which it will have all its tokens again: each that is taken moves it on by an interval.
struct bucket {
    nsec_t full;
};

static bool has(const struct bucket *b, nsec_t now, nsec_t interval, unsigned at_once) {
    return b->full <= now + (nsec_t)(at_once - 1) * interval;
}

static void take(struct bucket *b, nsec_t now, nsec_t interval) { b->full = MAX(b->full, now) + interval; }

static struct bucket all;
static struct target {
    ip_addr_t address;
    struct bucket bucket;
} targets[64];

// A bucket that another address had is empty only for it.
static struct target *target_of(const ip_addr_t *to) {
    const u32_t *a = ip_2_ip6(to)->addr;
    u32_t h = IP_IS_V6(to) ? a[0] ^ a[1] ^ a[2] ^ a[3] : a[0];
    h ^= h >> 16;
    struct target *t = &targets[(h ^ h >> 8) % ARRAY_SIZE(targets)];
    if (!ip_addr_cmp(&t->address, to)) {
        ip_addr_copy(t->address, *to);
        t->bucket.full = 0;
    }
    return t;
}

static bool allowed(const ip_addr_t *to) {
    nsec_t now = net_now(), interval = IP_IS_V6(to) ? INTERVAL6 : INTERVAL4;
    if (!has(&all, now, NSEC_PER_SEC / ALL_PER_SECOND, ALL_AT_ONCE))
        return false;
    struct target *t = target_of(to);
    if (!has(&t->bucket, now, interval, ONE_AT_ONCE))
        return false;
    take(&all, now, NSEC_PER_SEC / ALL_PER_SECOND);
    take(&t->bucket, now, interval);
    return true;
}

static bool allowed4(const struct pbuf *p) {
    ip_addr_t to;
    ip_addr_copy_from_ip4(to, ((const struct ip_hdr *)p->payload)->src);
    return allowed(&to);
}

static bool allowed6(const ip6_addr_t *a) {
    ip_addr_t to;
    ip_addr_copy_from_ip6(to, *a);
    return allowed(&to);
}

void lwip_icmp_dest_unreach(struct pbuf *p, enum icmp_dur_type t);
void lwip_icmp_time_exceeded(struct pbuf *p, enum icmp_te_type t);
void lwip_icmp6_dest_unreach(struct pbuf *p, enum icmp6_dur_code c);
void lwip_icmp6_time_exceeded_with_addrs(struct pbuf *p, enum icmp6_te_code c, const ip6_addr_t *src, const ip6_addr_t *dest);
void lwip_icmp6_param_problem(struct pbuf *p, enum icmp6_pp_code c, const void *pointer);

void icmp_dest_unreach(struct pbuf *p, enum icmp_dur_type t) {
    if (allowed4(p))
        lwip_icmp_dest_unreach(p, t);
}

void icmp_time_exceeded(struct pbuf *p, enum icmp_te_type t) {
    if (allowed4(p))
        lwip_icmp_time_exceeded(p, t);
}

void icmp6_dest_unreach(struct pbuf *p, enum icmp6_dur_code c) {
    if (allowed6(ip6_current_src_addr()))
        lwip_icmp6_dest_unreach(p, c);
}

void icmp6_time_exceeded_with_addrs(struct pbuf *p, enum icmp6_te_code c, const ip6_addr_t *src, const ip6_addr_t *dest) {
    if (allowed6(src))
        lwip_icmp6_time_exceeded_with_addrs(p, c, src, dest);
}

void icmp6_param_problem(struct pbuf *p, enum icmp6_pp_code c, const void *pointer) {
    if (allowed6(ip6_current_src_addr()))
        lwip_icmp6_param_problem(p, c, pointer);
}
