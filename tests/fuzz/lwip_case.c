/* See lwip_case.h. An input is a list of steps: a kind of frame to begin with, changes to it, the size of the pieces it comes in; or time
 * that passes; or something that the application does. */
#include "tests/fuzz/lwip_case.h"

#include "lwip/dhcp.h"
#include "lwip/igmp.h"
#include "lwip/ip.h"
#include "lwip/mld6.h"
#include "lwip/nd6.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/dhcp.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/tcp.h"
#include "tests/unit/lwip_host.h"

void abort(void) NORETURN;
int dprintf(int fd, const char *fmt, ...);

#define ME 0x0a, 0, 0, 1
#define PEER 0x0a, 0, 0, 9
#define ETHER(type) 0x52, 0x54, 0, 0x12, 0x34, 0x56, 2, 0, 0, 0, 0, 9, (type) >> 8, (type) & 0xff
#define IP4(len, frag, protocol) 0x45, 0, 0, len, 0, 7, (frag) >> 8, (frag) & 0xff, 64, protocol, 0, 0, PEER, ME
#define LINK(n) 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n
#define IP6(len, next) 0x60, 0, 0, 0, 0, len, next, 255, LINK(9), LINK(1)

static const struct {
    uint8_t len, data[150];
} frames[LWIP_FRAMES] = {
    {42, {ETHER(0x0806), 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, PEER, 0, 0, 0, 0, 0, 0, ME}},
    {42, {ETHER(0x0806), 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 9, PEER, 0, 0, 0, 0, 0, 0, ME}},
    {60, {ETHER(0x0800), IP4(46, 0, 1), 8, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4}},                            /* echo */
    {70, {ETHER(0x0800), IP4(56, 0, 1), 3, 4, 0, 0, 0, 0, 5, 0x78, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 6, 0, 0, ME, PEER}},
    {66, {ETHER(0x0800), IP4(52, 0x2000, 17), 1, 2, 3}},                                                 /* fragments */
    {66, {ETHER(0x0800), IP4(52, 0x0004, 17), 1, 2, 3}},
    {46, {ETHER(0x0800), IP4(32, 0, 2), 0x11, 10, 0, 0, 0, 0, 0, 0}},                                    /* IGMP's query */
    {58, {ETHER(0x0800), IP4(44, 0, 6), 4, 0, 0, 80, 0, 0, 3, 0xe8, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4}}, /* SYN */
    {64, {ETHER(0x0800), IP4(50, 0, 6), 4, 0, 0, 80, 0, 0, 3, 0xe9, 0, 0, 0, 0, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'}},
    {54, {ETHER(0x0800), IP4(40, 0, 6), 4, 0, 0, 80, 0, 0, 3, 0xe9, 0, 0, 0, 0, 0x50, 0x11, 0xff, 0xff, 0, 0, 0, 0}},              /* FIN */
    {86, {ETHER(0x86dd), IP6(32, 58), 135, 0, 0, 0, 0, 0, 0, 0, LINK(1), 1, 1, 2, 0, 0, 0, 0, 9}},       /* neighbours */
    {86, {ETHER(0x86dd), IP6(32, 58), 136, 0, 0, 0, 0x60, 0, 0, 0, LINK(9), 2, 1, 2, 0, 0, 0, 0, 9}},
    {150, {ETHER(0x86dd), IP6(96, 58), 134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 9, /* a router: prefix, MTU, DNS */
           3, 4, 64, 0xc0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
           5, 1, 0, 0, 0, 0, 5, 0x78, 25, 3, 0, 0, 0, 0, 1, 0, 0xfd, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5}},
    {86, {ETHER(0x86dd), IP6(32, 0), 58, 0, 5, 2, 0, 0, 1, 0, 130, 0, 0, 0, 0, 100, 0, 0}},              /* MLD's query */
    {122, {ETHER(0x86dd), IP6(68, 58), 2, 0, 0, 0, 0, 0, 5, 0, 0x60, 0, 0, 0, 0, 20, 6, 64, LINK(1), LINK(9)}}, /* too big */
    {90, {ETHER(0x86dd), IP6(36, 44), 17, 0, 0, 1, 0, 0, 0, 5, 1, 2, 3}},                                /* fragments */
    {90, {ETHER(0x86dd), IP6(36, 44), 17, 0, 0, 24, 0, 0, 0, 5, 1, 2, 3}},
    {74, {ETHER(0x86dd), IP6(20, 6), 4, 0, 0, 80, 0, 0, 3, 0xe8, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0}},
};

unsigned lwip_frame(unsigned kind, uint8_t *frame) {
    __builtin_memcpy(frame, frames[kind].data, frames[kind].len);
    return frames[kind].len;
}

static const uint8_t *at, *end;
static unsigned take(void) { return at < end ? *at++ : 0; }

/* --- The application --- */
static struct tcp_pcb *latest;
static uint8_t page[8192];

static err_t on_receive(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err) {
    if (!p)
        return ERR_OK;
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    return ERR_OK;
}
static void on_error(void *arg, err_t err) { latest = NULL; }
static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err) {
    if (!pcb)
        return ERR_OK;
    tcp_recv(pcb, on_receive);
    if (latest)
        tcp_err(latest, NULL);
    latest = pcb;
    tcp_err(pcb, on_error);
    return ERR_OK;
}
static void application(unsigned what) {
    net_lock();
    if (latest) {
        struct tcp_pcb *pcb = latest;
        tcp_bucket_enter_pcb(pcb);
        if (what % 4 == 0) {
            latest = NULL;
            tcp_err(pcb, NULL);
            tcp_close(pcb);
        } else {
            net_tcp_write(pcb, page, 1 + what * 31, 0);
            net_tcp_output(pcb);
        }
        tcp_bucket_leave();
    }
    net_unlock();
}

/* --- The interface --- */
static bool first(void *ctx, struct tcp_pcb *pcb) {
    *(struct tcp_pcb **)ctx = pcb;
    return true;
}

static void start(void) {
    static bool done;
    struct netif *n = &host_eth.netif;
    net_lock();
    if (done) {
        dhcp_start(n);
        net_unlock();
        return;
    }
    done = true;
    NETIF_SET_CHECKSUM_CTRL(n, NETIF_CHECKSUM_ENABLE_ALL & ~0xff00); /* whatever comes is right */
    struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
    pcb->local_port = 80;
    tcp_listeners_enter(80);
    tcp_accept(tcp_listen_with_backlog(pcb, 255), on_accept);
    tcp_listeners_leave();
    ip4_addr_t group;
    IP4_ADDR(&group, 224, 1, 2, 3);
    igmp_joingroup_netif(n, &group);
    ip6_addr_t group6;
    IP6_ADDR(&group6, PP_HTONL(0xff020000), 0, 0, PP_HTONL(0x1234));
    ip6_addr_assign_zone(&group6, IP6_MULTICAST, n);
    mld6_joingroup_netif(n, &group6);
    netif_set_ip6_autoconfig_enabled(n, 1);
    dhcp_start(n);
    net_unlock();
}

static void stop(void) {
    ip4_addr_t ip, mask, gateway = {0};
    latest = NULL;
    for (struct tcp_pcb *p = NULL;; p = NULL) {
        net_lock();
        tcp_bucket_each(first, &p);
        if (p) {
            tcp_bucket_enter_pcb(p);
            tcp_abort(p);
            tcp_bucket_leave();
        }
        net_unlock();
        if (!p)
            break;
    }
    net_lock();
    dhcp_stop(&host_eth.netif);
    IP4_ADDR(&ip, 10, 0, 0, 1);
    IP4_ADDR(&mask, 255, 0, 0, 0);
    netif_set_addr(&host_eth.netif, &ip, &mask, &gateway);
    host_eth.netif.mtu6 = 1500;
    net_unlock();
    host_run(70 * NSEC_PER_SEC); /* fragments, neighbours */
}

static void frame_step(unsigned kind) {
    static uint8_t frame[2048];
    unsigned len = lwip_frame(kind, frame), changes = take();
    /* TCP's: what the connection expects, so that one gets further than the window. */
    if ((kind == 8 || kind == 9) && latest) {
        struct tcp_hdr *t = (struct tcp_hdr *)(frame + 34);
        t->src = lwip_htons(latest->remote_port);
        t->seqno = lwip_htonl(latest->rcv_nxt);
        t->ackno = lwip_htonl(changes & 0x80 ? latest->snd_nxt : latest->lastack);
    }
    if (changes & 0x40) { /* longer */
        unsigned more = take() * 5u;
        for (unsigned i = 0; i < more; i++)
            frame[len + i] = (uint8_t)(i < 300 && at < end ? take() : i);
        len += more;
        if (kind < 10 && kind > 1) {
            frame[16] = (uint8_t)((len - 14) >> 8);
            frame[17] = (uint8_t)(len - 14);
        } else if (kind >= 10) {
            frame[18] = (uint8_t)((len - 54) >> 8);
            frame[19] = (uint8_t)(len - 54);
        }
    }
    for (unsigned i = changes & 7; i; i--) {
        unsigned where = take();
        frame[(12 + where) % len] = (uint8_t)take();
    }
    if (changes & 0x20)
        len -= len ? take() % len : 0;
    host_receive_frame(frame, len, changes & 0x10 ? 2048 : changes & 8 ? 60 : 300);
}

/* DHCP's answers are made of the input behind a sensible head. */
static void dhcp_step(void) {
    static uint8_t frame[700];
    struct dhcp *d = netif_dhcp_data(&host_eth.netif);
    if (!d)
        return;
    __builtin_memset(frame, 0, sizeof(frame));
    static const uint8_t head[] = {ETHER(0x0800), 0x45, 0, 0, 0, 0, 7, 0, 0, 64, 17, 0, 0, PEER, ME, 0, 67, 0, 68, 0, 0, 0, 0, 2, 1, 6, 0};
    __builtin_memcpy(frame, head, sizeof(head));
    unsigned len = 42 + 240 + take() % 200;
    frame[16] = (uint8_t)((len - 14) >> 8);
    frame[17] = (uint8_t)(len - 14);
    frame[38] = (uint8_t)((len - 34) >> 8);
    frame[39] = (uint8_t)(len - 34);
    u32_t xid = lwip_htonl(d->xid);
    __builtin_memcpy(frame + 46, &xid, 4);
    frame[58] = 10; /* yiaddr 10.0.0.x */
    frame[61] = (uint8_t)take();
    __builtin_memcpy(frame + 70, host_eth.netif.hwaddr, 6);
    static const uint8_t cookie[] = {0x63, 0x82, 0x53, 0x63, 53, 1};
    __builtin_memcpy(frame + 278, cookie, sizeof(cookie));
    unsigned i = 284;
    frame[i++] = (uint8_t)(take() % 8);
    static const uint8_t server[] = {54, 4, PEER, 51, 4, 0, 0, 0, 60};
    if (take() & 1) {
        __builtin_memcpy(frame + i, server, sizeof(server));
        i += sizeof(server);
    }
    for (; i < len; i++)
        frame[i] = (uint8_t)take();
    host_receive_frame(frame, len, take() & 1 ? 2048 : 200);
}

void lwip_case(const uint8_t *data, size_t size) {
    static long before;
    at = data;
    end = data + size;
    if (!before) {
        host_start(true);
        start();
        stop();
        before = host_objects;
    }
    start();
    host_fail_every = take() == 1 ? 9 : 0;
    while (at < end) {
        unsigned step = take();
        if (step < 200)
            frame_step(step % LWIP_FRAMES);
        else if (step < 220)
            dhcp_step();
        else if (step < 240)
            application(take());
        else
            host_run(take() * 20 * NSEC_PER_MSEC);
    }
    host_fail_every = 0;
    stop();
    if (host_objects > before + 60 || host_assertions) { /* groups of the addresses that came stay */
        dprintf(2, "%ld objects, %ld before; %u assertions\n", host_objects, before, host_assertions);
        abort();
    }
}
