/* See lwip_host.h. */
#include "tests/unit/lwip_host.h"

#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/random.h"
#include "kernel/threads/deferred.h"
#include "kernel/threads/lock.h"
#include "kernel/time.h"
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/prot/tcp.h"
#include "lwip/raw.h"
#include "lwip/priv/raw_priv.h"
#include "lwip/udp.h"
#include "net/lwip/config.h"
#include "net/lwip/hooks.h"
#include "netif/ethernet.h"

void *malloc(size_t n);
void *calloc(size_t n, size_t m);
void free(void *p);
void abort(void) NORETURN;
int dprintf(int fd, const char *fmt, ...);
int vdprintf(int fd, const char *fmt, va_list ap);

nsec_t host_now = NSEC_PER_SEC, host_timer_at;
bool host_timer_armed;
long host_objects;
unsigned host_fail_every, host_assertions;
void (*host_sent)(const uint8_t *packet, unsigned len);
struct net_interface host_eth = {.name = "eth0", .mtu = 1500, .up = true};

/* --- Kernel --- */
enum log_level log_threshold = LOG_ERR;
void log_print(enum log_level level, const char *fmt, ...) {
    va_list ap;
    if (level != LOG_ERR)
        return;
    va_start(ap, fmt);
    vdprintf(2, fmt, ap);
    va_end(ap);
    dprintf(2, "\n");
    host_assertions++;
}
void panic(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vdprintf(2, fmt, ap);
    dprintf(2, "\n");
    abort();
}
static uint64_t random_state = 88172645463325252;
uint64_t random_u64(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}
void random_bytes(void *buf, size_t len) {
    for (size_t i = 0; i < len; i++)
        ((char *)buf)[i] = (char)random_u64();
}
nsec_t time_monotonic(void) { return host_now; }
uint64_t page_total(void) { return 65536; }
void spin_lock_slow(struct spinlock *l) { panic("the core lock is taken twice"); }
struct cpu *cpu_this(void) { panic("the core lock is taken twice"); }
void cpu_kick(unsigned cpu) {}
void cpu_kick_hold(void) {}
void cpu_kick_release(void) {}

static bool fails(void) {
    static unsigned count;
    return host_fail_every && ++count % host_fail_every == 0;
}
void *kmalloc(size_t size) {
    void *p = fails() ? NULL : malloc(size);
    host_objects += p != NULL;
    return p;
}
void *kzalloc(size_t size) {
    void *p = kmalloc(size);
    return p ? __builtin_memset(p, 0, size) : NULL;
}
void kfree(void *p) {
    host_objects -= p != NULL;
    free(p);
}
void *slab_alloc(struct slab_cache *c) { return kmalloc(c->size); }
void slab_free(struct slab_cache *c, void *p) { kfree(p); }

static timer_fn timer_function;
void timer_init(struct timer *t, timer_fn fn) { timer_function = fn; }
void timer_add(struct timer *t, nsec_t at) {
    host_timer_at = at;
    host_timer_armed = true;
}

static struct deferred *queue;
void deferred_raise(struct deferred *d) {
    if (d->queued)
        return;
    d->queued = true;
    d->next = queue;
    queue = d;
}
bool deferred_run(void) {
    while (queue) {
        struct deferred *d = queue;
        queue = d->next;
        d->queued = false;
        d->fn(d);
    }
    return true;
}

void host_run(nsec_t ns) {
    nsec_t end = host_now + ns;
    for (deferred_run(); host_timer_armed && host_timer_at <= end; deferred_run()) {
        host_now = MAX(host_now, host_timer_at);
        host_timer_armed = false;
        timer_function(NULL);
    }
    host_now = end;
}

/* --- What the rest of the network has --- */
void (*net_device_wake)(struct net_device *dev);
int net_interface_create(struct net_device *dev) { return -ENODEV; }
unsigned net_interface_poll(struct net_interface *i, unsigned budget) { return 0; }
void net_interface_kick(struct net_interface *i) {}
void dns_setserver(u8_t n, const ip_addr_t *address) {}
const ip_addr_t *dns_getserver(u8_t n) { return IP6_ADDR_ANY; }
void net_dhcp_option(struct netif *n, u8_t option, u8_t len, const struct pbuf *p, u16_t at) {}
void lwip_udp_input(struct pbuf *p, struct netif *n);
err_t net_tcp_half_open(struct tcp_pcb *pcb, const struct tcp_hdr *h, const struct pbuf *p) { return ERR_OK; }
void udp_input(struct pbuf *p, struct netif *n) { lwip_udp_input(p, n); }
raw_input_state_t raw_input(struct pbuf *p, struct netif *n) { return RAW_INPUT_NONE; }
void raw_netif_ip_addr_changed(const ip_addr_t *old, const ip_addr_t *new) {}

/* --- The interface --- */
static err_t output(struct netif *n, struct pbuf *p) {
    static uint8_t packet[65536];
    if (p->tot_len > 1500 && !(p->flags & NET_PBUF_GSO))
        panic("a packet of %u bytes", p->tot_len);
    pbuf_copy_partial(p, packet, p->tot_len, 0);
    if (host_sent)
        host_sent(packet, p->tot_len);
    return ERR_OK;
}
static err_t output4(struct netif *n, struct pbuf *p, const ip4_addr_t *to) { return output(n, p); }
static err_t output6(struct netif *n, struct pbuf *p, const ip6_addr_t *to) { return output(n, p); }
static err_t output_frame(struct netif *n, struct pbuf *p) {
    struct pbuf *all = pbuf_clone(PBUF_RAW, PBUF_RAM, p);
    if (!all)
        return ERR_MEM;
    pbuf_remove_header(all, SIZEOF_ETH_HDR);
    if (host_sent)
        host_sent(all->payload, all->len);
    pbuf_free(all);
    return ERR_OK;
}

static bool frames; /* with neighbours and Ethernet headers */
static err_t init(struct netif *n) {
    n->output = frames ? etharp_output : output4;
    n->output_ip6 = frames ? ethip6_output : output6;
    n->linkoutput = output_frame;
    n->mtu = n->mtu6 = 1500;
    n->hwaddr_len = 6;
    __builtin_memcpy(n->hwaddr, "\x52\x54\0\x12\x34\x56", 6);
    n->flags |= NETIF_FLAG_BROADCAST | NETIF_FLAG_LINK_UP | NETIF_FLAG_IGMP | NETIF_FLAG_MLD6 | (frames ? NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET : 0);
    return ERR_OK;
}

void host_start(bool gso) {
    static struct net_device device;
    ip4_addr_t ip, mask, gateway = {0};
    frames = !host_sent;
    net_start();
    net_lock();
    IP4_ADDR(&ip, 10, 0, 0, 1);
    IP4_ADDR(&mask, 255, 0, 0, 0);
    device.gso4 = device.gso6 = gso;
    host_eth.device = &device;
    netif_add(&host_eth.netif, &ip, &mask, &gateway, NULL, init, frames ? ethernet_input : ip_input);
    net_interface_add(&host_eth);
    IP_ADDR6(&host_eth.netif.ip6_addr[0], PP_HTONL(0xfe800000), 0, 0, PP_HTONL(1));
    ip6_addr_assign_zone(ip_2_ip6(&host_eth.netif.ip6_addr[0]), IP6_UNICAST, &host_eth.netif);
    host_eth.netif.ip6_addr_state[0] = IP6_ADDR_PREFERRED;
    netif_ip6_addr_set_valid_life(&host_eth.netif, 0, IP6_ADDR_LIFE_STATIC);
    netif_set_up(&host_eth.netif);
    host_eth.netif.rs_count = 0; /* no routers */
    net_unlock();
}

void host_receive_frame(const void *frame, unsigned len, unsigned piece) {
    struct pbuf *all = NULL;
    const uint8_t *type = (const uint8_t *)frame + 12;
    if (frames && (len < 54 || piece < 54) && !(len >= 34 && type[0] == 8)) /* as interface.c */
        return;
    net_lock();
    for (unsigned at = 0; at < len || !all;) {
        unsigned n = MIN(piece, len - at);
        struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)n, PBUF_RAM);
        if (!p)
            break;
        __builtin_memcpy(p->payload, (const char *)frame + at, n);
        if (all)
            pbuf_cat(all, p);
        else
            all = p;
        at += n;
        if (!n)
            break;
    }
    if (all && host_eth.netif.input(all, &host_eth.netif) != ERR_OK)
        pbuf_free(all);
    net_unlock();
    deferred_run();
}
void host_receive(const void *packet, unsigned len, unsigned piece) { host_receive_frame(packet, len, piece); }

unsigned host_tcp(uint8_t *packet, uint32_t from, uint16_t from_port, uint16_t to_port, uint32_t seq, uint32_t ack, unsigned flags, unsigned window,
                  const void *data, unsigned len) {
    struct ip_hdr *h = (struct ip_hdr *)packet;
    struct tcp_hdr *t = (struct tcp_hdr *)(h + 1);
    static uint8_t sum[70000];
    unsigned total = IP_HLEN + TCP_HLEN + len;
    __builtin_memset(packet, 0, IP_HLEN + TCP_HLEN);
    IPH_VHL_SET(h, 4, 5);
    IPH_LEN_SET(h, lwip_htons((u16_t)total));
    IPH_TTL_SET(h, 64);
    IPH_PROTO_SET(h, IP_PROTO_TCP);
    h->src.addr = lwip_htonl(from);
    h->dest.addr = PP_HTONL(0x0a000001);
    IPH_CHKSUM_SET(h, inet_chksum(h, IP_HLEN));
    t->src = lwip_htons(from_port);
    t->dest = lwip_htons(to_port);
    t->seqno = lwip_htonl(seq);
    t->ackno = lwip_htonl(ack);
    TCPH_HDRLEN_FLAGS_SET(t, 5, flags);
    t->wnd = lwip_htons((u16_t)window);
    __builtin_memcpy(t + 1, data ? data : "", len);
    /* the pseudo header before it */
    __builtin_memcpy(sum, &h->src, 8);
    sum[8] = 0;
    sum[9] = IP_PROTO_TCP;
    sum[10] = (uint8_t)((TCP_HLEN + len) >> 8);
    sum[11] = (uint8_t)(TCP_HLEN + len);
    __builtin_memcpy(sum + 12, t, TCP_HLEN + len);
    t->chksum = inet_chksum(sum, (u16_t)(12 + TCP_HLEN + len));
    return total;
}
