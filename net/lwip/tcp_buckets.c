// TCP's connections in buckets. lwIP knows its connections as two lists (active, TIME-WAIT) that it searches from the front. Each bucket of
// the table here has such a pair; the bucket of a connection is found by a keyed hash of its addresses and ports, and its lists stand in lwIP's
// variables between tcp_bucket_enter and tcp_bucket_leave, which nest: a callback may touch another connection. lwIP's tcp_input is called through
// ours, which reads the ports first. The table grows with the number of connections.
//
// lwIP's timers are called for a bucket only while something in it is to be timed: one that was left is `hot` and visited at the next
// tick; after a visit it stays so, or sleeps until its earliest deadline (TIME-WAIT, keepalive), or for ever. lwIP's count of ticks
// (TCP_SLOW_INTERVAL) comes from the clock, so that nothing has to count it. Under the core lock.
#include "kernel/list.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/random.h"
#include "kernel/string.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "net/lwip/stack.h"

#define DEPTH_MOST 8
#define FIRST_BITS 4
#define BITS_MOST 16
#define TICK (TCP_SLOW_INTERVAL * NSEC_PER_MSEC)
#define FAST_TICK (TCP_FAST_INTERVAL * NSEC_PER_MSEC)
#define TICKS(ms) ((u32_t)(ms) / TCP_SLOW_INTERVAL)
#define RTO_FIRST TICKS(1000) // RFC 6298; lwIP begins with three seconds
#define RTO_LWIP TICKS(3000)
#define FIRST_TICK 1000u // at boot
#define NEVER UINT32_MAX

enum where { NOWHERE, HOT, ASLEEP };

struct bucket {
    struct tcp_pcb *active, *time_wait;
    struct list link; // in `hot` or `asleep`
    uint8_t where;    // enum where
    uint32_t due;     // asleep: the tick at which to visit it, or NEVER
    uint32_t count, waiting; // connections, and of these in TIME-WAIT, as last seen
};

static struct bucket first_buckets[1 << FIRST_BITS], *buckets = first_buckets;
static unsigned bucket_bits = FIRST_BITS;
static struct list hot = LIST_INIT(hot), asleep = LIST_INIT(asleep);
static uint32_t asleep_due = NEVER; // the earliest
static struct bucket *current, *outer[DEPTH_MOST];
static unsigned depth;
static uint64_t key;
static uint32_t total, total_waiting, waiting_most;
static uint8_t visits; // lwIP's tcp_timer_ctr

void lwip_tcp_input(struct pbuf *p, struct netif *inp);

int tcp_bucket_init(void) {
    key = random_u64() | 1;
    waiting_most = (uint32_t)MIN(MAX(page_total() / 16, 256UL), 65536UL); // tcp_max_tw_buckets
    return 0;
}

// --- Finding ---
static uint64_t address_word(const ip_addr_t *a) {
    const u32_t *w = ip_2_ip6(a)->addr;
    return IP_IS_V6(a) ? (((uint64_t)w[0] << 32 | w[1]) * 0x9e3779b97f4a7c15) ^ ((uint64_t)w[2] << 32 | w[3]) : w[0];
}

static struct bucket *bucket_of(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote, uint16_t remote_port) {
    uint64_t h = (address_word(remote) + ((uint64_t)remote_port << 48) + ((uint64_t)local_port << 32) + key) * 0xff51afd7ed558ccd;
    h ^= h >> 32;
    h = (h + address_word(local)) * (key ^ 0xc4ceb9fe1a85ec52);
    return &buckets[(h ^ h << 17) >> (64 - bucket_bits)];
}

static struct bucket *bucket_of_pcb(const struct tcp_pcb *pcb) {
    return bucket_of(&pcb->local_ip, pcb->local_port, &pcb->remote_ip, pcb->remote_port);
}

// --- In and out ---
static void put(struct bucket *b, enum where where) {
    if (b->where != NOWHERE)
        list_remove(&b->link);
    b->where = where;
    if (where != NOWHERE)
        list_push_back(where == HOT ? &hot : &asleep, &b->link);
}

static uint32_t length(const struct tcp_pcb *p) {
    uint32_t n = 0;
    for (; p; p = p->next)
        n++;
    return n;
}

static void store(struct bucket *b) {
    b->active = tcp_active_pcbs;
    if (unlikely(b->time_wait != tcp_tw_pcbs)) {
        b->time_wait = tcp_tw_pcbs;
        total_waiting -= b->waiting;
        b->waiting = length(b->time_wait);
        total_waiting += b->waiting;
    }
}

static void load(struct bucket *b) {
    tcp_active_pcbs = b ? b->active : NULL;
    tcp_tw_pcbs = b ? b->time_wait : NULL;
}

static u32_t ticks_now(void) { return (u32_t)(net_now() / TICK) + FIRST_TICK; } // never 0, which lwIP takes for "none"

static void enter(struct bucket *b) {
    ASSERT(depth < DEPTH_MOST);
    if (unlikely(current))
        store(current);
    else
        tcp_ticks = ticks_now();
    outer[depth++] = current;
    current = b;
    load(b);
}

static void leave(void) {
    store(current);
    current = outer[--depth];
    load(current);
}

void tcp_bucket_enter(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote, uint16_t remote_port) {
    enter(bucket_of(local, local_port, remote, remote_port));
}

void tcp_bucket_enter_pcb(const struct tcp_pcb *pcb) { enter(bucket_of_pcb(pcb)); }

static void forget(struct bucket *b) { // nothing is in it
    put(b, NOWHERE);
    total -= b->count;
    b->count = 0;
}

void tcp_bucket_leave(void) {
    struct bucket *b = current;
    leave();
    if (b->where != HOT && (b->active || b->time_wait)) {
        put(b, HOT);
        net_timers_tcp((net_now() / FAST_TICK + 1) * FAST_TICK);
    } else if (b->where == ASLEEP) {
        forget(b);
    }
    if (unlikely(total_waiting > waiting_most))
        tcp_bucket_reclaim();
}

// A client may use a port again while the connection of before is in TIME-WAIT here: a SYN that is newer than what came last begins a new
// one (RFC 1122, 4.2.2.13). lwIP would let it wait until TIME-WAIT is over.
static void forget_waiting(const struct tcp_hdr *h) {
    for (struct tcp_pcb *p = tcp_tw_pcbs; p; p = p->next) {
        if (p->remote_port == lwip_ntohs(h->src) && p->local_port == lwip_ntohs(h->dest) &&
            ip_addr_cmp(&p->remote_ip, ip_current_src_addr()) && ip_addr_cmp(&p->local_ip, ip_current_dest_addr())) {
            if ((s32_t)(lwip_ntohl(h->seqno) - p->rcv_nxt) > 0)
                tcp_abort(p); // says nothing in this state
            return;
        }
    }
}

// --- Listeners: lwIP sees those alone whose port is in the same bucket, and only while it is about them ---
static struct tcp_pcb_listen *first_listeners[1 << FIRST_BITS], **listeners = first_listeners, **listeners_current;
static unsigned listener_bits = FIRST_BITS, listener_count;

static struct tcp_pcb_listen **listeners_at(uint16_t port) {
    return &listeners[port * 0x9e3779b1u >> (32 - listener_bits)];
}

static unsigned length_of_listeners(void) {
    unsigned n = 0;
    for (const struct tcp_pcb_listen *l = tcp_listen_pcbs.listen_pcbs; l; l = l->next)
        n++;
    return n;
}

static void grow_listeners(void) {
    struct tcp_pcb_listen **old = listeners, *l, *next;
    struct tcp_pcb_listen **new = listener_bits + 2 <= BITS_MOST ? kzalloc(sizeof(*new) << (listener_bits + 2)) : NULL;
    if (!new)
        return;
    unsigned n = 1u << listener_bits;
    listeners = new;
    listener_bits += 2;
    for (struct tcp_pcb_listen **b = old; b < old + n; b++) {
        for (l = *b; l; l = next) {
            struct tcp_pcb_listen **to = listeners_at(l->local_port);
            next = l->next;
            l->next = *to;
            *to = l;
        }
    }
    if (old != first_listeners)
        kfree(old);
}

void tcp_listeners_enter(uint16_t port) {
    ASSERT(!listeners_current);
    listeners_current = listeners_at(port);
    tcp_listen_pcbs.listen_pcbs = *listeners_current;
    listener_count -= length_of_listeners();
}

void tcp_listeners_leave(void) {
    listener_count += length_of_listeners();
    *listeners_current = tcp_listen_pcbs.listen_pcbs;
    listeners_current = NULL;
    tcp_listen_pcbs.listen_pcbs = NULL;
    if (unlikely(listener_count > 1u << listener_bits))
        grow_listeners();
}

void tcp_input(struct pbuf *p, struct netif *inp) {
    const struct tcp_hdr *h = p->payload;
    if (p->len < sizeof(*h)) { // nobody's: lwIP counts and drops it
        lwip_tcp_input(p, inp);
        return;
    }
    tcp_bucket_enter(ip_current_dest_addr(), lwip_ntohs(h->dest), ip_current_src_addr(), lwip_ntohs(h->src));
    if (unlikely((TCPH_FLAGS(h) & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN && tcp_tw_pcbs))
        forget_waiting(h);
    bool may_open = TCPH_FLAGS(h) & TCP_SYN; // of other segments to nobody lwIP says the same with and without a listener
    if (may_open)
        tcp_listeners_enter(lwip_ntohs(h->dest));
    lwip_tcp_input(p, inp);
    if (may_open)
        tcp_listeners_leave();
    tcp_bucket_leave();
}

void tcp_bucket_each(bool (*fn)(void *ctx, struct tcp_pcb *pcb), void *ctx) {
    if (current)
        store(current);
    for (unsigned i = 0; i < 1u << bucket_bits; i++) {
        for (struct tcp_pcb *p = buckets[i].active; p; p = p->next)
            if (fn(ctx, p))
                return;
        for (struct tcp_pcb *p = buckets[i].time_wait; p; p = p->next)
            if (fn(ctx, p))
                return;
    }
}

// A bucket that has slept long, since those in TIME-WAIT sleep.
bool tcp_bucket_reclaim(void) {
    struct bucket *b, *next;
    unsigned looked = 0;
    list_for_each_safe(b, next, &asleep, link) {
        if (++looked > 256)
            break;
        if (!b->time_wait || b == current) {
            put(b, ASLEEP); // to the end
            continue;
        }
        enter(b);
        struct tcp_pcb *oldest = tcp_tw_pcbs;
        for (struct tcp_pcb *p = oldest; p; p = p->next)
            if ((s32_t)(p->tmr - oldest->tmr) <= 0)
                oldest = p;
        if (oldest)
            tcp_abort(oldest);
        leave();
        if (!b->active && !b->time_wait)
            forget(b);
        return oldest;
    }
    return false;
}

struct tcp_pcb *tcp_bucket_find(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote, uint16_t remote_port) {
    struct tcp_pcb *p = tcp_active_pcbs;
    while (p && (p->remote_port != remote_port || p->local_port != local_port || !ip_addr_cmp(&p->remote_ip, remote) ||
                 !ip_addr_cmp(&p->local_ip, local)))
        p = p->next;
    return p;
}

// --- FIN-WAIT-2 without a socket, and handshakes that wait: lwIP's times for both are fixed, so it is kept from seeing them pass ---
// An ext-arg says how long, in ticks and one more (0: nothing was said); in its upper half at which tick it is over, as soon as that runs.

void tcp_bucket_fin_wait(struct tcp_pcb *pcb, unsigned seconds) {
    uint32_t ticks = TICKS(1000) * MIN(seconds, 1u << 26);
    tcp_ext_arg_set(pcb, NET_TCP_TIME, (void *)(uintptr_t)(ticks + 1));
}

void tcp_bucket_defer(struct tcp_pcb *pcb, unsigned seconds) {
    pcb->rto = (s16_t)MIN(TICKS(1000) * seconds + 1, 0x7ff0u);
    pcb->rttest = 0; // the answer comes when the peer wants
    tcp_ext_arg_set(pcb, NET_TCP_TIME, (void *)(uintptr_t)1);
}

static bool in_fin_wait(const struct tcp_pcb *p) { return p->state == FIN_WAIT_2 && p->flags & TF_RXCLOSED; }

static uint64_t time_arg(const struct tcp_pcb *p) { return (uintptr_t)tcp_ext_arg_get(p, NET_TCP_TIME); }

static void fin_wait(struct tcp_pcb *p) {
    uint64_t arg = time_arg(p);
    uint32_t ticks = (uint32_t)arg - 1, end = (uint32_t)(arg >> 32);
    if (!end) {
        end = tcp_ticks + ticks;
        tcp_ext_arg_set(p, NET_TCP_TIME, (void *)(uintptr_t)(arg | (uint64_t)end << 32));
    }
    if ((s32_t)(tcp_ticks - end) < 0)
        p->tmr = tcp_ticks;
    else if (!ticks)
        tcp_abort(p);
    else
        p->tmr = tcp_ticks - TICKS(TCP_FIN_WAIT_TIMEOUT) - 2; // lwIP ends it
}

// --- Timers ---
// The tick at which lwIP's slow timer has something to do with it; 0: the next.
static uint32_t due_of(const struct tcp_pcb *p) {
    if (p->state == TIME_WAIT || p->state == LAST_ACK)
        return p->tmr + TICKS(2 * TCP_MSL) + 1;
    if (p->unsent || p->unacked || p->ooseq || p->refused_data || p->poll || p->persist_backoff || p->rtime >= 0 ||
        p->flags & (TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND | TF_NAGLEMEMERR) || p->state < ESTABLISHED)
        return 0;
    if (in_fin_wait(p) && time_arg(p))
        return (uint32_t)(time_arg(p) >> 32);
    if (in_fin_wait(p))
        return p->tmr + TICKS(TCP_FIN_WAIT_TIMEOUT) + 1;
    if (ip_get_option(p, SOF_KEEPALIVE) && (p->state == ESTABLISHED || p->state == CLOSE_WAIT))
        return p->tmr + TICKS(p->keep_idle + p->keep_cnt_sent * p->keep_intvl) + 1;
    return NEVER;
}

static void set_last_timer(void) { // so that lwIP does not take one for visited whose last visit was 256 calls ago
    for (struct tcp_pcb *p = tcp_active_pcbs; p; p = p->next)
        p->last_timer = visits;
    visits++;
}

static void before_slow(void) {
    for (struct tcp_pcb *p = tcp_active_pcbs, *next; p; p = next) {
        next = p->next;
        if (p->state == SYN_RCVD && time_arg(p) && p->nrtx <= 1)
            p->tmr = tcp_ticks;
        if (unlikely(in_fin_wait(p)) && time_arg(p)) {
            fin_wait(p);
            continue;
        }
        if (p->state < ESTABLISHED && p->nrtx == 0 && p->rto == RTO_LWIP)
            p->rto = p->sv = RTO_FIRST;
        if (p->persist_backoff && p->snd_wnd > p->mss)
            p->persist_backoff = 0; // it is not closed: there was no memory to cut a large segment
    }
}

static void after_slow(void) {
    for (struct tcp_pcb *p = tcp_active_pcbs, *next; p; p = next) {
        next = p->next;
        // The byte of a probe is not in flight: behind it, where the peer's window ends, it would not look at our ACKs, and a window of ours
        // that opens would stay unknown. When it takes the byte we send it again, with the rest.
        if (p->persist_backoff && p->unsent && p->unsent->len && !p->unacked)
            p->snd_nxt = p->lastack;
        if (p->state == SYN_SENT)
            p->rto = (s16_t)(RTO_FIRST << MIN(p->nrtx, 7));
        else if (p->unsent && !p->unacked)
            tcp_output(p); // ours cuts what does not fit into the window after a timeout
    }
}

static void visit(struct bucket *b, bool slow) {
    put(b, NOWHERE);
    enter(b);
    set_last_timer();
    tcp_fasttmr();
    if (slow) {
        before_slow();
        set_last_timer();
        tcp_ticks--;
        tcp_slowtmr();
        after_slow();
    }
    leave();
    uint32_t due = NEVER, count = 0;
    for (const struct tcp_pcb *p = b->active; p; p = p->next, count++)
        due = MIN(due, due_of(p));
    for (const struct tcp_pcb *p = b->time_wait; p; p = p->next, count++)
        due = MIN(due, due_of(p));
    total += count - b->count;
    b->count = count;
    b->due = due;
    if (b->where == HOT || !count) // a callback has been here, or nothing is
        return;
    put(b, due ? ASLEEP : HOT);
    if (b->where == ASLEEP)
        asleep_due = MIN(asleep_due, due);
}

static void wake_sleepers(uint32_t tick) {
    struct bucket *b, *next;
    asleep_due = NEVER;
    list_for_each_safe(b, next, &asleep, link) {
        if (b->due <= tick)
            put(b, HOT);
        else
            asleep_due = MIN(asleep_due, b->due);
    }
}

static void grow(void) {
    unsigned bits = bucket_bits + 2;
    struct bucket *old = buckets, *new = bits <= BITS_MOST ? kzalloc(sizeof(*new) << bits) : NULL;
    if (!new)
        return;
    unsigned n = 1u << bucket_bits;
    buckets = new;
    bucket_bits = bits;
    total_waiting = total = 0;
    for (struct bucket *b = old; b < old + n; b++) {
        put(b, NOWHERE);
        for (struct tcp_pcb *p = b->active, *next; p; p = next) {
            struct bucket *to = bucket_of_pcb(p);
            next = p->next;
            p->next = to->active;
            to->active = p;
        }
        for (struct tcp_pcb *p = b->time_wait, *next; p; p = next) {
            struct bucket *to = bucket_of_pcb(p);
            next = p->next;
            p->next = to->time_wait;
            to->time_wait = p;
            to->waiting++;
            total_waiting++;
        }
    }
    for (struct bucket *b = new; b < new + (1u << bits); b++)
        if (b->active || b->time_wait)
            put(b, HOT);
    if (old != first_buckets)
        kfree(old);
}

void tcp_bucket_timer(void) {
    static uint32_t last_tick;
    uint32_t tick = ticks_now();
    bool slow = tick != last_tick;
    ASSERT(!depth);
    // What the devices have sent comes back: lwIP does not send again what they still have.
    for (struct net_interface *i = net_interface_next(NULL); i && slow; i = net_interface_next(i))
        if (i->device)
            net_interface_poll(i, 0);
    if (slow && tick >= asleep_due)
        wake_sleepers(tick);
    if (slow)
        last_tick = tick;
    unsigned n = 0;
    struct list *at;
    for (at = hot.next; at != &hot; at = at->next)
        n++;
    while (n-- && !list_empty(&hot)) // those that come in meanwhile have time
        visit(list_first(&hot, struct bucket, link), slow);
    if (unlikely(total > 2u << bucket_bits))
        grow();
    if (!list_empty(&hot))
        net_timers_tcp((net_now() / FAST_TICK + 1) * FAST_TICK);
    else if (asleep_due != NEVER)
        net_timers_tcp((nsec_t)(MAX(asleep_due, tick + 1) - FIRST_TICK) * TICK);
}

void tcp_timer_needed(void) {} // lwIP's, for a connection of the bucket that is entered

// lwIP's, which aborts an interface's connections when its address changes. In Linux they stay, and may come back with the address.
void tcp_netif_ip_addr_changed(const ip_addr_t *old, const ip_addr_t *new) {}
