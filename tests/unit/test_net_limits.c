// What the network stack keeps within bounds, and finds quickly, on the host: data out of order, errors of ICMP, routes of IPv6.
// link: $(BUILD)/unit/lwip.a tests/unit/lwip_host.c net/lwip/checksum.c net/lwip/core.c net/lwip/memory.c net/lwip/route.c net/lwip/administer.c net/lwip/loopback.c net/lwip/timers.c net/lwip/icmp_limit.c net/lwip/tcp_buckets.c net/lwip/tcp_count.c net/lwip/tcp_write.c
// libs: $(BUILD)/unit/lwip.a
// flags: -isystem $(LWIP)/src/include -idirafter net -idirafter net/lwip
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/icmp.h"
#include "lwip/prot/tcp.h"
#include "net/lwip/hooks.h"
#include "tests/unit/lwip_host.h"

#define PORT 80
#define PEER 0x0a010000
#define MEMORY (65536UL * 4096) /* of lwip_host.c's machine */

static uint8_t packet[4096], data[1000];
static unsigned errors, last_ack, last_seq, last_flags;

static void sent(const uint8_t *p, unsigned len) {
    const struct ip_hdr *h = (const struct ip_hdr *)p;
    if (IPH_V(h) != 4)
        return;
    if (IPH_PROTO(h) == IP_PROTO_ICMP)
        errors += p[IP_HLEN] == ICMP_DUR;
    if (IPH_PROTO(h) != IP_PROTO_TCP)
        return;
    const struct tcp_hdr *t = (const struct tcp_hdr *)(h + 1);
    last_ack = lwip_ntohl(t->ackno);
    last_seq = lwip_ntohl(t->seqno);
    last_flags = TCPH_FLAGS(t);
}

static struct tcp_pcb *latest;
static unsigned received;
static err_t on_receive(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err) {
    if (p) {
        received += p->tot_len;
        tcp_recved(pcb, p->tot_len);
        pbuf_free(p);
    }
    return ERR_OK;
}
static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err) {
    latest = pcb;
    tcp_recv(pcb, on_receive);
    return ERR_OK;
}

static int setup(void **state) {
    host_sent = sent;
    host_start(false);
    net_lock();
    struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
    pcb->local_port = PORT;
    tcp_listeners_enter(PORT);
    tcp_accept(tcp_listen_with_backlog(pcb, 255), on_accept);
    tcp_listeners_leave();
    net_unlock();
    return 0;
}

static void come(uint32_t seq, uint32_t ack, unsigned flags, unsigned len) {
    host_receive(packet, host_tcp(packet, PEER, 4000, PORT, seq, ack, flags, 65535, data, len), 2000);
}

static unsigned waiting(void) {
    unsigned n = 0;
    for (const struct tcp_seg *s = latest->ooseq; s; s = s->next)
        n += pbuf_clen(s->p);
    return n;
}

/* Peers leave gaps: what waits behind them is less, then nothing, the more of the memory is full. */
static void out_of_order(void **state) {
    come(1000, 0, TCP_SYN, 0);
    uint32_t ack = last_seq + 1, seq = 1001;
    come(seq, ack, TCP_ACK, 0);
    assert_non_null(latest);
    for (unsigned i = 1; i <= 40; i++)
        come(seq + i * 1000, ack, TCP_ACK, 1000);
    assert_int_equal(waiting(), 40);
    net_received_bytes = MEMORY / 16 + 1;
    come(seq + 41 * 1000, ack, TCP_ACK, 1000);
    assert_int_equal(waiting(), 16);
    net_received_bytes = MEMORY / 8 + 1;
    come(seq + 42 * 1000, ack, TCP_ACK, 1000);
    assert_int_equal(waiting(), 0);
    /* In order everything still comes. */
    for (unsigned i = 0; i < 50; i++)
        come(seq + i * 1000, ack, TCP_ACK, 1000);
    assert_int_equal(received, 50000);
    net_received_bytes = 0;
    come(seq + 51 * 1000, ack, TCP_ACK, 1000);
    assert_int_equal(waiting(), 1);
    net_lock();
    tcp_bucket_enter_pcb(latest);
    tcp_abort(latest);
    tcp_bucket_leave();
    net_unlock();
}

static void unknown_protocol(uint32_t from) {
    host_tcp(packet, from, 1, 1, 0, 0, 0, 0, data, 8);
    struct ip_hdr *h = (struct ip_hdr *)packet;
    IPH_PROTO_SET(h, 200);
    IPH_CHKSUM_SET(h, 0);
    IPH_CHKSUM_SET(h, inet_chksum(h, IP_HLEN));
    host_receive(packet, IP_HLEN + TCP_HLEN + 8, 2000);
}

static void icmp_errors_are_limited(void **state) {
    host_run(10 * NSEC_PER_SEC);
    errors = 0;
    for (unsigned i = 0; i < 100; i++)
        unknown_protocol(PEER);
    assert_int_equal(errors, 6);
    host_run(NSEC_PER_SEC);
    for (unsigned i = 0; i < 100; i++)
        unknown_protocol(PEER);
    assert_int_equal(errors, 7);
    unknown_protocol(PEER + 1); /* others have theirs, */
    assert_int_equal(errors, 8);
    host_run(NSEC_PER_SEC);
    errors = 0;
    for (unsigned i = 0; i < 1000; i++) /* but all together not more than so many */
        unknown_protocol(PEER + 100 + i);
    assert_int_equal(errors, 50);
    host_run(NSEC_PER_SEC / 100);
    for (unsigned i = 0; i < 1000; i++)
        unknown_protocol(PEER + 5000 + i);
    assert_in_range(errors, 58, 62);
}

static struct netif *route6(const ip_addr_t *to) {
    net_lock();
    struct netif *n = net_route6(NULL, ip_2_ip6(to));
    assert_ptr_equal(net_route6(NULL, ip_2_ip6(to)), n); /* from the answers kept */
    net_unlock();
    return n;
}

/* An answer is kept until anything changes. */
static void routes_of_ipv6(void **state) {
    ip_addr_t own = IPADDR6_INIT_HOST(0x20010db8, 0, 0, 1), near = IPADDR6_INIT_HOST(0x20010db8, 0, 0, 2),
              far = IPADDR6_INIT_HOST(0x20010db8, 1, 0, 2), gateway = near;
    assert_null(route6(&near));
    net_lock();
    assert_int_equal(net_address_add(&host_eth, &own, 64), 0);
    net_unlock();
    host_run(3 * NSEC_PER_SEC); /* nobody else has it */
    assert_ptr_equal(route6(&near), &host_eth.netif);
    assert_ptr_equal(route6(&own), &net_loopback.netif);
    assert_null(route6(&far));
    struct net_route r = {.gateway = gateway, .source = *IP6_ADDR_ANY, .destination = *IP6_ADDR_ANY, .interface = &host_eth};
    net_lock();
    assert_int_equal(net_route_add(&r), 0);
    net_unlock();
    assert_ptr_equal(route6(&far), &host_eth.netif);
    net_lock();
    assert_int_equal(net_route_remove(&r), 0);
    net_unlock();
    assert_null(route6(&far));
    assert_ptr_equal(route6(&near), &host_eth.netif);
    net_lock();
    netif_set_link_down(&host_eth.netif);
    net_unlock();
    assert_null(route6(&near));
    net_lock();
    netif_set_link_up(&host_eth.netif);
    net_unlock();
    assert_ptr_equal(route6(&near), &host_eth.netif);
    net_lock();
    assert_int_equal(net_address_remove(&host_eth, &own, 64), 0);
    net_unlock();
    assert_null(route6(&near));
    assert_null(route6(&own));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(out_of_order),
        cmocka_unit_test(icmp_errors_are_limited),
        cmocka_unit_test(routes_of_ipv6),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
