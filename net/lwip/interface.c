// Network devices as interfaces of lwIP. A received frame goes up where it lies: each page's struct net_buffer has room for lwIP's pbuf. Small
// ones are copied, so that a few bytes that nobody reads do not hold a page; the page goes back to the device.
//
// What lwIP sends goes down as a list of pieces. The packet keeps a reference to lwIP's pbufs until the device has sent them (lwIP does not
// touch a segment meanwhile), and one to each page that they only point to, since TCP gives up its data when it is acknowledged. Packets that
// find the device's queue full wait in one of their own, up to a limit.
//
// Checksums of TCP are the device's where it offers that, and frames longer than the MTU are cut by it. Of received frames those are
// checked that the device has not checked.
// Everything under the core lock.
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"
#include "netif/ethernet.h"
#include "net/lwip/stack.h"

#define QUEUE_MOST 1000 // packets that wait for the device, as Linux' txqueuelen
#define SMALL_FRAME 256 // bytes up to which a frame is copied
#define FEW_SEGMENTS 6  // of most packets
#define ALIGNED_FRAME 2 // such that the IP header is aligned

struct tx_packet {
    struct net_packet packet;
    struct ether_interface *interface;
    struct pbuf *pbuf;
    uint16_t page_count, most;
    struct net_segment segments[]; // 1 + most; then the pages
};
#define TX_SIZE(n) (sizeof(struct tx_packet) + ((n) + 1) * sizeof(struct net_segment) + (n) * sizeof(struct page *))

// Some objects that were used last, before the cache that they are from: under the core lock they need no other.
#define POOL_MOST 32
struct pool {
    struct slab_cache cache;
    void *first; // each begins with a pointer to the next
    unsigned count;
};

static void *pool_take(struct pool *pool) {
    void **p = pool->first;
    if (unlikely(!p))
        return slab_alloc(&pool->cache);
    pool->first = *p;
    pool->count--;
    return p;
}

static void pool_give(struct pool *pool, void *object) {
    if (unlikely(pool->count == POOL_MOST)) {
        slab_free(&pool->cache, object);
        return;
    }
    *(void **)object = pool->first;
    pool->first = object;
    pool->count++;
}

static struct pool few_pool = {.cache = SLAB_CACHE("net_packet", TX_SIZE(FEW_SEGMENTS), 16)};
static struct slab_cache many_cache = SLAB_CACHE("net_packet_large", TX_SIZE(NET_SEGMENTS_MAX), 16);

// In net_buffer.owner.
struct rx_pbuf {
    struct pbuf_custom custom;
    struct net_device *device;
};
_Static_assert(sizeof(struct rx_pbuf) <= sizeof(((struct net_buffer *)0)->owner), "a pbuf for each page");

struct small_pbuf {
    struct pbuf_custom custom;
    uint8_t data[ALIGN_UP(ALIGNED_FRAME + SMALL_FRAME, 8)];
};
static struct pool small_pool = {.cache = SLAB_CACHE("net_small", sizeof(struct small_pbuf), 8)};

struct ether_interface {
    struct net_interface net;
    struct list queue; // packets that the device had no room for
    unsigned queued;
    struct filter {
        uint8_t mac[6];
        uint16_t count; // groups that map to it
    } filters[32];
    bool all_multicast; // there were more
};

static struct ether_interface *ether_of(struct netif *n) { return container_of(n, struct ether_interface, net.netif); }

// --- Receiving ---

static void rx_free(struct pbuf *p) {
    struct net_buffer *b = container_of(p, struct net_buffer, owner);
    struct net_device *dev = container_of(p, struct rx_pbuf, custom.pbuf)->device;
    net_received_bytes -= PAGE_SIZE;
    net_buffer_recycle(dev, b);
}

static void small_free(struct pbuf *p) {
    net_received_bytes -= sizeof(struct small_pbuf);
    pool_give(&small_pool, container_of(p, struct small_pbuf, custom.pbuf));
}

// Not pbuf_alloced_custom: nothing here needs to be checked.
static struct pbuf *pbuf_set(struct pbuf_custom *c, void *data, uint32_t len, uint32_t total,
                             void (*free)(struct pbuf *p)) {
    c->pbuf = (struct pbuf){
        .payload = data,
        .len = (u16_t)len,
        .tot_len = (u16_t)total,
        .type_internal = PBUF_REF,
        .flags = PBUF_FLAG_IS_CUSTOM,
        .ref = 1,
    };
    c->custom_free_function = free;
    return &c->pbuf;
}

static struct pbuf *copy_small(struct net_device *dev, struct net_buffer *b) {
    struct small_pbuf *s = pool_take(&small_pool);
    if (unlikely(!s))
        return NULL;
    uint32_t len = b->len - ETHERNET_HEADER;
    memcpy(s->data, b->data + ETHERNET_HEADER, len);
    net_buffer_recycle(dev, b);
    net_received_bytes += sizeof(*s);
    return pbuf_set(&s->custom, s->data, len, len, small_free);
}

// The frame without its Ethernet header.
static struct pbuf *wrap(struct net_device *dev, struct net_buffer *frame) {
    struct pbuf *first = NULL, **end = &first;
    uint32_t left = frame->total - ETHERNET_HEADER;
    frame->data += ETHERNET_HEADER;
    frame->len -= ETHERNET_HEADER;
    for (struct net_buffer *b = frame, *next; b; b = next) {
        struct rx_pbuf *r = (struct rx_pbuf *)b->owner;
        next = b->next;
        r->device = dev;
        net_received_bytes += PAGE_SIZE;
        *end = pbuf_set(&r->custom, b->data, b->len, left, rx_free);
        end = &(*end)->next;
        left -= b->len;
    }
    return first;
}

static void drop(struct net_device *dev, struct net_buffer *frame) {
    for (struct net_buffer *b = frame, *next; b; b = next) {
        next = b->next;
        net_buffer_recycle(dev, b);
    }
}

// A pure acknowledgement is gone when lwIP has seen it; everything else that is small may stay.
static bool stays(const struct net_buffer *b) {
    const struct ip_hdr *h = (const struct ip_hdr *)(b->data + ETHERNET_HEADER);
    if (b->len < ETHERNET_HEADER + IP_HLEN + TCP_HLEN || IPH_V(h) != 4 || IPH_PROTO(h) != IP_PROTO_TCP)
        return true;
    const struct tcp_hdr *t = (const struct tcp_hdr *)((const uint8_t *)h + IPH_HL_BYTES(h));
    if ((const uint8_t *)(t + 1) > b->data + b->len)
        return true;
    return lwip_ntohs(IPH_LEN(h)) != IPH_HL_BYTES(h) + TCPH_HDRLEN_BYTES(t);
}

// Which checksums lwIP is to verify. Pieces of a datagram are checked when it is whole, with the flags of the last one.
static uint16_t checks(const struct pbuf *p, u16_t type, bool good) {
    const uint16_t all = NETIF_CHECKSUM_CHECK_IP | NETIF_CHECKSUM_CHECK_UDP | NETIF_CHECKSUM_CHECK_TCP |
                         NETIF_CHECKSUM_CHECK_ICMP | NETIF_CHECKSUM_CHECK_ICMP6;
    if (!good)
        return all;
    if (type == PP_HTONS(ETHTYPE_IP)) {
        const struct ip_hdr *h = p->payload;
        if (IPH_OFFSET(h) & PP_HTONS(IP_OFFMASK | IP_MF))
            return all;
    } else if (IP6H_NEXTH((const struct ip6_hdr *)p->payload) == IP6_NEXTH_FRAGMENT) {
        return all;
    }
    return all & ~(uint16_t)(NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP);
}

static bool same_mac(const uint8_t *a, const uint8_t *b) {
    uint32_t a4, b4;
    uint16_t a2, b2;
    memcpy(&a4, a, 4);
    memcpy(&b4, b, 4);
    memcpy(&a2, a + 4, 2);
    memcpy(&b2, b + 4, 2);
    return a4 == b4 && a2 == b2;
}

static void input(struct net_device *dev, struct net_buffer *frame) {
    struct ether_interface *e = dev->stack;
    struct netif *n = &e->net.netif;
    const struct eth_hdr *h = (const struct eth_hdr *)frame->data;
    u16_t type = h->type;
    u8_t flags = 0;
    bool good = frame->checksum_good;
    if (unlikely(!same_mac(h->dest.addr, dev->mac))) {
        if (!(h->dest.addr[0] & 1)) { // the device was to keep it
            drop(dev, frame);
            return;
        }
        flags = eth_addr_cmp(&h->dest, &ethbroadcast) ? PBUF_FLAG_LLBCAST : PBUF_FLAG_LLMCAST;
    }
    // lwIP reads headers before it looks at the length.
    unsigned least = type == PP_HTONS(ETHTYPE_IP)     ? IP_HLEN
                     : type == PP_HTONS(ETHTYPE_IPV6) ? IP6_HLEN
                                                      : SIZEOF_ETHARP_HDR;
    if (unlikely(!netif_is_up(n) || frame->len < ETHERNET_HEADER + least ||
                 (type != PP_HTONS(ETHTYPE_IP) && type != PP_HTONS(ETHTYPE_IPV6) && type != PP_HTONS(ETHTYPE_ARP)))) {
        dev->statistics.rx_dropped++;
        drop(dev, frame);
        return;
    }
    bool copy = frame->total <= SMALL_FRAME && !frame->next && (type != PP_HTONS(ETHTYPE_IP) || stays(frame));
    struct pbuf *p = copy ? copy_small(dev, frame) : wrap(dev, frame);
    if (unlikely(!p)) {
        dev->statistics.rx_dropped++;
        drop(dev, frame);
        return;
    }
    p->flags |= flags;
    p->if_idx = netif_get_index(n);
    if (likely(type == PP_HTONS(ETHTYPE_IP))) {
        n->chksum_flags = (n->chksum_flags & 0xff) | checks(p, type, good);
        ip4_input(p, n);
    } else if (type == PP_HTONS(ETHTYPE_IPV6)) {
        n->chksum_flags = (n->chksum_flags & 0xff) | checks(p, type, good);
        ip6_input(p, n);
    } else {
        etharp_input(p, n);
    }
}

// --- Sending ---

static void packet_done(struct net_packet *packet) {
    struct tx_packet *t = container_of(packet, struct tx_packet, packet);
    struct page **pages = (struct page **)&t->segments[1 + t->most];
    for (unsigned i = 0; i < t->page_count; i++)
        page_unref(pages[i]);
    pbuf_free(t->pbuf);
    if (likely(t->most == FEW_SEGMENTS))
        pool_give(&few_pool, t);
    else
        slab_free(&many_cache, t);
}

// A page of its own, which a reference keeps. Others (of slabs, of larger blocks) are not known to outlive the packet.
static bool may_keep(const struct page *p) {
    return p->refs && p->order == 0 && !(p->flags & (PAGE_FREE | PAGE_SLAB | PAGE_LARGE | PAGE_TAIL));
}

// What the pbuf points to stays as long as the packet. False: that cannot be had.
static bool keep_pages(struct tx_packet *t, const struct pbuf *p) {
    struct page **pages = (struct page **)&t->segments[1 + t->most];
    uintptr_t at = (uintptr_t)p->payload & PAGE_MASK, end = (uintptr_t)p->payload + p->len;
    for (; at < end; at += PAGE_SIZE) {
        struct page *page = virt_to_page((void *)at);
        if (t->page_count == t->most || !may_keep(page))
            return false;
        page_ref(page);
        pages[t->page_count++] = page;
    }
    return true;
}

static bool add_pbufs(struct tx_packet *t, struct pbuf *p, unsigned most) {
    struct net_packet *packet = &t->packet;
    for (; p; p = p->next) {
        if (!p->len)
            continue;
        if (packet->count == most)
            return false;
        packet->segments[++packet->count] = (struct net_segment){p->payload, p->len};
        if (!(p->type_internal & PBUF_TYPE_FLAG_STRUCT_DATA_CONTIGUOUS) && !(p->flags & PBUF_FLAG_IS_CUSTOM) &&
            !keep_pages(t, p))
            return false;
    }
    return true;
}

static struct tx_packet *packet_make(struct ether_interface *e, struct pbuf *p) {
    unsigned limit = e->net.device->segments_max, pieces = 0;
    bool contiguous = p->type_internal & PBUF_TYPE_FLAG_STRUCT_DATA_CONTIGUOUS;
    for (const struct pbuf *q = p; q; q = q->next)
        pieces +=
            q->type_internal & PBUF_TYPE_FLAG_STRUCT_DATA_CONTIGUOUS ? 1 : 1 + q->len / PAGE_SIZE + 1; // pages, too
    bool few = pieces <= FEW_SEGMENTS;
    struct tx_packet *t = few ? pool_take(&few_pool) : slab_alloc(&many_cache);
    if (unlikely(!t))
        return NULL;
    t->interface = e;
    t->most = few ? FEW_SEGMENTS : NET_SEGMENTS_MAX;
    t->page_count = 0;
    t->packet.segments = t->segments; // one by one: clearing all of it first would cost as much again
    t->packet.len = p->tot_len;
    t->packet.done = packet_done;
    t->packet.count = t->packet.checksum_start = 0;
    t->packet.gso = NET_GSO_NONE;
    t->packet.headroom = contiguous && (uint8_t *)p->payload - NET_HEADROOM >= (uint8_t *)(p + 1);
    t->pbuf = p;
    pbuf_ref(p);
    if (likely(add_pbufs(t, p, MIN(limit, t->most))))
        return t;
    packet_done(&t->packet); // too many pieces, or not to be kept: in one piece then
    if (contiguous && !p->next)
        return NULL;
    struct pbuf *copy = pbuf_clone(PBUF_RAW, PBUF_RAM, p);
    if (!copy && limit > UINT16_MAX / PBUF_POOL_BUFSIZE + 1) // no memory in one piece
        copy = pbuf_clone(PBUF_RAW, PBUF_POOL, p);
    if (!copy)
        return NULL;
    copy->flags |= p->flags & (NET_PBUF_CHECKSUM | NET_PBUF_GSO);
    copy->gso_size = p->gso_size;
    t = packet_make(e, copy);
    pbuf_free(copy);
    return t;
}

// The sum of a pseudo header, to which the device adds the rest; not complemented.
static u16_t fold(uint64_t sum) {
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (u16_t)((sum & 0xffff) + (sum >> 16));
}

static uint64_t sum_words(const void *from, unsigned words) {
    uint64_t sum = 0;
    const uint8_t *at = from;
    for (unsigned i = 0; i < words; i++, at += 4) {
        uint32_t word;
        memcpy(&word, at, 4);
        sum += word;
    }
    return sum;
}

// Leaves checksum and cutting to the device. The headers of what lwIP sends lie in the first pbuf. False: the frame is too long.
static bool offload(struct ether_interface *e, struct net_packet *packet, struct pbuf *p) {
    struct net_device *dev = e->net.device;
    uint8_t *start = (uint8_t *)p->payload + SIZEOF_ETH_HDR;
    u16_t type = ((const struct eth_hdr *)p->payload)->type;
    bool too_long = p->tot_len > e->net.mtu + SIZEOF_ETH_HDR;
    unsigned header;
    uint64_t sum;
    uint8_t protocol;
    if (type == PP_HTONS(ETHTYPE_IP) && p->len >= SIZEOF_ETH_HDR + IP_HLEN) {
        const struct ip_hdr *h = (const struct ip_hdr *)start;
        protocol = IPH_OFFSET(h) & PP_HTONS(IP_OFFMASK | IP_MF) ? 0 : IPH_PROTO(h);
        header = SIZEOF_ETH_HDR + IPH_HL_BYTES(h);
        sum = sum_words(&h->src, 2);
    } else if (type == PP_HTONS(ETHTYPE_IPV6) && p->len >= SIZEOF_ETH_HDR + IP6_HLEN) {
        const struct ip6_hdr *h = (const struct ip6_hdr *)start;
        protocol = IP6H_NEXTH(h);
        header = SIZEOF_ETH_HDR + IP6_HLEN;
        sum = sum_words(&h->src, 8);
    } else {
        return !too_long;
    }
    uint8_t *transport = (uint8_t *)p->payload + header;
    uint32_t rest = p->tot_len - header;
    sum += lwip_htons((u16_t)rest) + ((uint64_t)protocol << 8);
    if (protocol == IP_PROTO_TCP && p->len >= header + TCP_HLEN) {
        struct tcp_hdr *t = (struct tcp_hdr *)transport;
        if (t->chksum) // a raw socket's, complete
            return !too_long;
        t->chksum = fold(sum);
        packet->checksum_offset = offsetof(struct tcp_hdr, chksum);
        unsigned headers = header + TCPH_HDRLEN_BYTES(t), room = e->net.mtu + SIZEOF_ETH_HDR - headers;
        if (unlikely(p->flags & NET_PBUF_GSO)) // the peer may want less than the MTU allows
            room = MIN(room, p->gso_size);
        if (unlikely(p->tot_len > headers + room)) {
            packet->gso = type == PP_HTONS(ETHTYPE_IP) ? NET_GSO_TCP4 : NET_GSO_TCP6;
            packet->header_len = (uint16_t)headers;
            packet->gso_size = (uint16_t)room;
            too_long = room == 0 || room > UINT16_MAX || !(packet->gso == NET_GSO_TCP4 ? dev->gso4 : dev->gso6);
        }
    } else if (protocol == IP_PROTO_UDP && p->flags & NET_PBUF_CHECKSUM && p->len >= header + 8) {
        u16_t word = fold(sum);
        memcpy(transport + 6, &word, 2);
        packet->checksum_offset = 6;
    } else {
        return !too_long;
    }
    packet->checksum_start = (uint16_t)header;
    return !too_long;
}

// True: it is gone, or lost for good.
static bool hand_over(struct ether_interface *e, struct net_packet *packet) {
    struct net_device *dev = e->net.device;
    int err = dev->ops->send(dev, packet);
    if (likely(err == 0)) {
        e->net.kick_wanted = net_kick_wanted = true;
        return true;
    }
    if (err == -ENOSPC) {
        e->net.kick_wanted = net_kick_wanted = true;
        return false;
    }
    dev->statistics.tx_dropped++;
    packet->done(packet);
    return true;
}

static err_t link_output(struct netif *n, struct pbuf *p) {
    struct ether_interface *e = ether_of(n);
    struct net_device *dev = e->net.device;
    struct tx_packet *t = e->queued < QUEUE_MOST ? packet_make(e, p) : NULL;
    if (unlikely(!t)) {
        dev->statistics.tx_dropped++;
        return ERR_MEM;
    }
    // Of a copy its own headers.
    if (dev->checksum ? unlikely(!offload(e, &t->packet, t->pbuf))
                      : unlikely(p->tot_len > e->net.mtu + SIZEOF_ETH_HDR)) {
        dev->statistics.tx_errors++;
        packet_done(&t->packet);
        return ERR_IF;
    }
    if (unlikely(e->queued) || unlikely(!hand_over(e, &t->packet))) {
        list_push_back(&e->queue, &t->packet.link);
        e->queued++;
    }
    return ERR_OK;
}

static void drain(struct ether_interface *e) {
    while (e->queued) {
        struct net_packet *packet = list_first(&e->queue, struct net_packet, link);
        list_remove(&packet->link); // before it is the driver's
        if (!hand_over(e, packet)) {
            list_push_front(&e->queue, &packet->link);
            return;
        }
        e->queued--;
    }
}

unsigned net_interface_poll(struct net_interface *i, unsigned budget) {
    unsigned n = i->device->ops->poll(i->device, budget);
    struct ether_interface *e = container_of(i, struct ether_interface, net);
    if (unlikely(e->queued))
        drain(e);
    i->kick_wanted = net_kick_wanted = true; // for the buffers that it was given
    return n;
}

void net_sent_wanted(void) {
    net_lock();
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i))
        if (i->device)
            i->device->ops->want_sent(i->device);
    net_unlock();
}

// --- Multicast ---

static void filter_tell(struct ether_interface *e) {
    struct net_device *dev = e->net.device;
    uint8_t addresses[ARRAY_SIZE(e->filters)][6];
    unsigned count = 0;
    if (!dev->ops->multicast)
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(e->filters); i++)
        if (e->filters[i].count)
            memcpy(addresses[count++], e->filters[i].mac, 6);
    dev->ops->multicast(dev, addresses, count, e->all_multicast);
}

static err_t filter_change(struct ether_interface *e, const uint8_t mac[6], bool add) {
    struct filter *f = NULL, *unused = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(e->filters) && !f; i++) {
        if (!e->filters[i].count)
            unused = &e->filters[i];
        else if (memcmp(e->filters[i].mac, mac, 6) == 0)
            f = &e->filters[i];
    }
    if (f) {
        f->count += add ? 1 : -1;
        if (f->count != !add)
            return ERR_OK;
    } else if (add && unused) {
        memcpy(unused->mac, mac, 6);
        unused->count = 1;
    } else if (add) {
        e->all_multicast = true;
    }
    filter_tell(e);
    return ERR_OK;
}

static err_t igmp_filter(struct netif *n, const ip4_addr_t *group, enum netif_mac_filter_action action) {
    const uint8_t *a = (const uint8_t *)&group->addr;
    const uint8_t mac[6] = {
        LL_IP4_MULTICAST_ADDR_0, LL_IP4_MULTICAST_ADDR_1, LL_IP4_MULTICAST_ADDR_2, a[1] & 0x7f, a[2], a[3]};
    return filter_change(ether_of(n), mac, action == NETIF_ADD_MAC_FILTER);
}

static err_t mld_filter(struct netif *n, const ip6_addr_t *group, enum netif_mac_filter_action action) {
    const uint8_t *a = (const uint8_t *)&group->addr[3];
    const uint8_t mac[6] = {LL_IP6_MULTICAST_ADDR_0, LL_IP6_MULTICAST_ADDR_1, a[0], a[1], a[2], a[3]};
    return filter_change(ether_of(n), mac, action == NETIF_ADD_MAC_FILTER);
}

// --- The beginning ---

static void link_changed(struct net_device *dev) {
    struct ether_interface *e = dev->stack;
    if (dev->link)
        netif_set_link_up(&e->net.netif);
    else
        netif_set_link_down(&e->net.netif);
}

static err_t init(struct netif *n) {
    struct net_device *dev = ether_of(n)->net.device;
    n->name[0] = 'e';
    n->name[1] = 'n';
    n->output = etharp_output;
    n->output_ip6 = ethip6_output;
    n->linkoutput = link_output;
    n->igmp_mac_filter = igmp_filter;
    n->mld_mac_filter = mld_filter;
    n->mtu = dev->mtu;
    n->hwaddr_len = 6;
    memcpy(n->hwaddr, dev->mac, 6);
    n->flags |= NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_IGMP | NETIF_FLAG_MLD6;
    if (dev->checksum)
        n->chksum_flags &= ~NETIF_CHECKSUM_GEN_TCP;
    return ERR_OK;
}

int net_interface_create(struct net_device *dev) {
    struct ether_interface *e = kzalloc(sizeof(*e));
    if (!e)
        return -ENOMEM;
    list_init(&e->queue);
    e->net.device = dev;
    e->net.mtu = dev->mtu;
    memcpy(e->net.name, dev->name, sizeof(e->net.name));
    dev->stack = e;
    dev->input = input;
    dev->link_changed = link_changed;
    if (!netif_add_noaddr(&e->net.netif, NULL, init, NULL)) {
        kfree(e);
        return -ENOMEM;
    }
    int err = dev->ops->start(dev);
    if (err < 0) {
        log_err("%s: cannot be started (error %d)", dev->name, -err);
        netif_remove(&e->net.netif);
        kfree(e);
        return err;
    }
    net_interface_add(&e->net);
    link_changed(dev);
    return 0;
}
