// TCP on the host: thousands of connections in buckets, timers that sleep, TIME-WAIT, large segments against a peer that loses, no memory.
// link: $(BUILD)/unit/lwip.a tests/unit/lwip_host.c net/lwip/checksum.c net/lwip/core.c net/lwip/memory.c net/lwip/route.c net/lwip/loopback.c net/lwip/timers.c net/lwip/icmp_limit.c net/lwip/tcp_buckets.c net/lwip/tcp_count.c net/lwip/tcp_write.c
// libs: $(BUILD)/unit/lwip.a
// flags: -isystem $(LWIP)/src/include -idirafter net -idirafter net/lwip
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/tcp.h"
#include "tests/unit/lwip_host.h"

#define PORT 80
#define FROM(i) (0x0a010000 + (i))
#define MANY 3000

static uint8_t packet[70000];

struct answer {
    uint32_t to, seq, ack;
    uint16_t to_port;
    unsigned flags, len;
    const uint8_t *data;
} last;
static unsigned answers, bytes_sent;
static void (*on_answer)(void);

static void sent(const uint8_t *p, unsigned len) {
    const struct ip_hdr *h = (const struct ip_hdr *)p;
    const struct tcp_hdr *t = (const struct tcp_hdr *)(h + 1);
    if (IPH_V(h) != 4 || IPH_PROTO(h) != IP_PROTO_TCP)
        return;
    last = (struct answer){lwip_ntohl(h->dest.addr), lwip_ntohl(t->seqno), lwip_ntohl(t->ackno), lwip_ntohs(t->dest), TCPH_FLAGS(t),
                           len - IP_HLEN - TCPH_HDRLEN_BYTES(t), p + IP_HLEN + TCPH_HDRLEN_BYTES(t)};
    answers++;
    bytes_sent += last.len;
    if (on_answer)
        on_answer();
}

static void come(uint32_t from, uint16_t port, uint32_t seq, uint32_t ack, unsigned flags, const void *data, unsigned len) {
    host_receive(packet, host_tcp(packet, from, port, PORT, seq, ack, flags, 65535, data, len), 2000);
}

/* --- The server: counts, and echoes nothing --- */
static unsigned accepted, received, ended, failed;
static struct tcp_pcb *listener, *latest, *victim;

static err_t on_receive(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err) {
    if (!p) {
        ended++;
        return ERR_OK;
    }
    received += p->tot_len;
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    if (victim && victim != pcb) { /* another connection, in another bucket or this one */
        struct tcp_pcb *v = victim;
        victim = NULL;
        tcp_bucket_enter_pcb(v);
        tcp_abort(v);
        tcp_bucket_leave();
    }
    return ERR_OK;
}
static void on_error(void *arg, err_t err) { failed++; }
static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err) {
    if (!pcb)
        return ERR_OK;
    accepted++;
    latest = pcb;
    tcp_recv(pcb, on_receive);
    tcp_err(pcb, on_error);
    return ERR_OK;
}

static bool count(void *ctx, struct tcp_pcb *pcb) {
    unsigned *counts = ctx;
    counts[pcb->state]++;
    return false;
}
static unsigned in_state(enum tcp_state s) {
    unsigned counts[TIME_WAIT + 1] = {0};
    net_lock();
    tcp_bucket_each(count, counts);
    net_unlock();
    return counts[s];
}

static bool abort_one(void *ctx, struct tcp_pcb *pcb) {
    *(struct tcp_pcb **)ctx = pcb;
    return true;
}
static void abort_all(void) {
    for (struct tcp_pcb *p = NULL;; p = NULL) {
        net_lock();
        tcp_bucket_each(abort_one, &p);
        if (p) {
            tcp_bucket_enter_pcb(p);
            tcp_abort(p);
            tcp_bucket_leave();
        }
        net_unlock();
        if (!p)
            return;
    }
}

static int setup(void **state) {
    if (!listener) {
        host_sent = sent;
        host_start(true);
        net_lock();
        struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
        pcb->local_port = PORT;
        tcp_listeners_enter(PORT);
        listener = tcp_listen_with_backlog(pcb, 255);
        tcp_listeners_leave();
        tcp_accept(listener, on_accept);
        net_unlock();
    }
    host_run(NSEC_PER_SEC);
    accepted = received = ended = failed = answers = bytes_sent = 0;
    latest = victim = NULL;
    on_answer = NULL;
    host_fail_every = 0;
    return 0;
}
static int teardown(void **state) {
    on_answer = NULL;
    host_fail_every = 0;
    abort_all();
    host_run(2 * NSEC_PER_SEC);
    assert_int_equal(host_assertions, 0);
    return 0;
}

static uint32_t connect_from(uint32_t from, uint16_t port) { /* the server's next sequence number */
    come(from, port, 1000, 0, TCP_SYN, NULL, 0);
    assert_int_equal(last.flags, TCP_SYN | TCP_ACK);
    assert_int_equal(last.to, from);
    assert_int_equal(last.to_port, port);
    uint32_t seq = last.seq + 1;
    come(from, port, 1001, seq, TCP_ACK, NULL, 0);
    return seq;
}

static void test_many(void **state) {
    static uint32_t seq[MANY];
    for (unsigned i = 0; i < MANY; i++)
        seq[i] = connect_from(FROM(i / 3), (uint16_t)(2000 + i));
    assert_int_equal(accepted, MANY);
    assert_int_equal(in_state(ESTABLISHED), MANY);
    assert_null(tcp_active_pcbs); /* outside of all buckets */
    host_run(NSEC_PER_SEC);
    assert_false(host_timer_armed); /* nothing is to be timed */
    for (unsigned i = 0; i < MANY; i++)
        come(FROM(i / 3), (uint16_t)(2000 + i), 1001, seq[i], TCP_ACK | TCP_PSH, "hello", 5);
    assert_int_equal(received, 5 * MANY);
    answers = 0;
    host_run(NSEC_PER_SEC); /* delayed acknowledgements */
    assert_int_equal(answers, MANY);
    assert_false(host_timer_armed);
    /* A callback aborts another connection. */
    victim = latest;
    come(FROM(0), 2000, 1006, seq[0], TCP_ACK, "x", 1);
    assert_int_equal(in_state(ESTABLISHED), MANY - 1);
    assert_int_equal(failed, 1);
    /* The wrong port: a RST. */
    come(FROM(0), 1999, 1006, seq[0], TCP_ACK, "x", 1);
    assert_true(last.flags & TCP_RST);
    /* All at once reset. */
    for (unsigned i = 0; i < MANY - 1; i++)
        come(FROM(i / 3), (uint16_t)(2000 + i), i ? 1006 : 1007, seq[i], TCP_RST, NULL, 0);
    assert_int_equal(in_state(ESTABLISHED), 0);
    assert_int_equal(failed, MANY);
}

static void test_keepalive(void **state) {
    connect_from(FROM(1), 1000);
    net_lock();
    ip_set_option(latest, SOF_KEEPALIVE);
    latest->keep_idle = 10000;
    latest->keep_intvl = 2000;
    latest->keep_cnt = 3;
    tcp_bucket_enter_pcb(latest);
    tcp_bucket_leave();
    net_unlock();
    host_run(NSEC_PER_SEC);
    assert_true(host_timer_armed && host_timer_at > host_now + 7 * NSEC_PER_SEC); /* it sleeps until then */
    answers = 0;
    host_run(8 * NSEC_PER_SEC);
    assert_int_equal(answers, 0);
    host_run(7 * NSEC_PER_SEC);
    assert_in_range(answers, 3, 4); /* probes */
    host_run(10 * NSEC_PER_SEC);
    assert_int_equal(failed, 1);
    assert_int_equal(in_state(ESTABLISHED), 0);
}

static void test_time_wait(void **state) {
    const unsigned n = 200;
    for (unsigned i = 0; i < n; i++) {
        uint32_t seq = connect_from(FROM(i), 3000);
        net_lock();
        tcp_bucket_enter_pcb(latest);
        tcp_close(latest);
        tcp_bucket_leave();
        net_unlock();
        assert_true(last.flags & TCP_FIN);
        come(FROM(i), 3000, 1001, seq + 1, TCP_ACK | TCP_FIN, NULL, 0);
    }
    assert_int_equal(in_state(TIME_WAIT), n);
    host_run(30 * NSEC_PER_SEC);
    assert_int_equal(in_state(TIME_WAIT), n);
    net_lock();
    bool freed = tcp_bucket_reclaim();
    net_unlock();
    assert_true(freed);
    assert_int_equal(in_state(TIME_WAIT), n - 1);
    host_run(32 * NSEC_PER_SEC);
    assert_int_equal(in_state(TIME_WAIT), 0);
    assert_false(host_timer_armed);
}

static void test_syn_sent(void **state) { /* retransmissions at 1, 2, 4, ... seconds, then the end */
    ip_addr_t to = IPADDR4_INIT_BYTES(10, 9, 9, 9);
    net_lock();
    struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_V4);
    ip_addr_copy_from_ip4(pcb->local_ip, *netif_ip4_addr(&host_eth.netif));
    pcb->local_port = 5555;
    tcp_err(pcb, on_error);
    tcp_bucket_enter(&pcb->local_ip, 5555, &to, 99);
    err_t err = tcp_connect(pcb, &to, 99, NULL);
    tcp_bucket_leave();
    net_unlock();
    assert_int_equal(err, ERR_OK);
    assert_int_equal(answers, 1);
    static const uint16_t at[] = {1, 3, 7, 15, 31, 63, 127, 255, 383, 511, 639, 767}; /* who has less patience ends it before */
    for (unsigned i = 0, now = 0; i < ARRAY_SIZE(at); i++) {
        host_run((at[i] - now) * NSEC_PER_SEC - 300 * NSEC_PER_MSEC);
        assert_int_equal(answers, i + 1);
        host_run(700 * NSEC_PER_MSEC);
        assert_int_equal(answers, i + 2);
        host_run(-400 * NSEC_PER_MSEC);
        now = at[i];
    }
    host_run(2 * NSEC_PER_SEC);
    assert_int_equal(failed, 1);
}

/* --- A peer that receives, and loses --- */
#define TOTAL 3000000
static uint8_t data[TOTAL];
static struct peer {
    uint32_t first, next; /* sequence numbers: of the first byte, expected */
    unsigned loss;        /* of 100 packets */
    unsigned largest;
    bool owes;
    struct piece {
        uint32_t seq, len;
    } pieces[400];
    unsigned count;
} peer;

static void peer_take(uint32_t seq, const uint8_t *bytes, unsigned len) {
    uint32_t at = seq - peer.first;
    assert_true(at + len <= TOTAL);
    assert_memory_equal(bytes, data + at, len);
    if (peer.count < ARRAY_SIZE(peer.pieces))
        peer.pieces[peer.count++] = (struct piece){seq, len};
    for (bool more = true; more;) {
        more = false;
        for (unsigned i = 0; i < peer.count; i++) {
            struct piece *p = &peer.pieces[i];
            if ((int32_t)(p->seq - peer.next) <= 0) {
                if ((int32_t)(p->seq + p->len - peer.next) > 0)
                    peer.next = p->seq + p->len;
                *p = peer.pieces[--peer.count];
                more = true;
                break;
            }
        }
    }
}

static unsigned owed; /* acknowledgements */
static void peer_answer(void) {
    if (!last.len)
        return;
    peer.largest = MAX(peer.largest, last.len);
    /* As the device cuts it: each packet may be lost. */
    for (unsigned at = 0; at < last.len; at += 1460)
        if ((unsigned)rand() % 100 >= peer.loss) {
            peer_take(last.seq + at, last.data + at, MIN(1460u, last.len - at));
            owed++;
        }
}

static unsigned acked;
static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t n) {
    acked += n;
    net_tcp_output(pcb); /* as sockets do when they have more; also from within tcp_output */
    return ERR_OK;
}

static unsigned transfer(unsigned loss, unsigned window, unsigned fail_every) { /* milliseconds */
    uint32_t seq = connect_from(FROM(7), 7777);
    struct tcp_pcb *pcb = latest;
    peer = (struct peer){.first = seq, .next = seq, .loss = loss};
    acked = owed = 0;
    on_answer = peer_answer;
    for (unsigned i = 0; i < TOTAL; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    net_lock();
    tcp_sent(pcb, on_sent);
    pcb->snd_wnd = pcb->snd_wnd_max = window;
    net_unlock();
    host_fail_every = fail_every;
    unsigned written = 0, ms = 0;
    while (acked < TOTAL && ms < 2000000 && !failed) {
        net_lock();
        tcp_bucket_enter_pcb(pcb);
        while (written < TOTAL && written - acked < 400000) {
            unsigned n = MIN(TOTAL - written, 4096u - written % 4096);
            if (net_tcp_write(pcb, data + written, n, TCP_WRITE_FLAG_MORE) != ERR_OK)
                break;
            written += n;
        }
        net_tcp_output(pcb);
        tcp_bucket_leave();
        net_unlock();
        for (unsigned n = owed; n; n = n > 2 ? n - 2 : 0) {
            owed = 0;
            if ((unsigned)rand() % 100 >= loss)
                host_receive(packet, host_tcp(packet, FROM(7), 7777, PORT, 1001, peer.next, TCP_ACK, window, NULL, 0), 2000);
        }
        host_run(NSEC_PER_MSEC);
        ms++;
        if (!failed && peer.next == seq + TOTAL && !owed && acked < TOTAL && loss)
            owed = 1;
    }
    host_fail_every = 0;
    assert_int_equal(failed, 0);
    assert_int_equal(acked, TOTAL);
    assert_int_equal(peer.next, seq + TOTAL);
    return ms;
}

static void test_large(void **state) {
    unsigned ms = transfer(0, 65535, 0);
    assert_true(peer.largest > 10000); /* segments for the device to cut */
    assert_true(ms < 1000);
    assert_int_equal(bytes_sent, TOTAL); /* nothing twice */
}
static void test_small_window(void **state) {
    transfer(0, 3000, 0);
    assert_true(peer.largest <= 3000);
}
static void test_trimmed(void **state) { /* a segment is sent again without what the peer has, and nothing is behind it */
    uint32_t seq = connect_from(FROM(7), 7777);
    struct tcp_pcb *pcb = latest;
    acked = 0;
    net_lock();
    tcp_sent(pcb, on_sent);
    tcp_bucket_enter_pcb(pcb);
    assert_int_equal(net_tcp_write(pcb, data, 1000, 0), ERR_OK);
    net_tcp_output(pcb);
    tcp_bucket_leave();
    net_unlock();
    assert_int_equal(last.len, 1000);
    host_receive(packet, host_tcp(packet, FROM(7), 7777, PORT, 1001, seq + 600, TCP_ACK, 65535, NULL, 0), 2000);
    assert_int_equal(acked, 0); /* pages stay as long as a segment refers to them */
    host_run(5 * NSEC_PER_SEC);
    assert_int_equal(acked, 600);
    assert_int_equal(last.seq, seq + 600);
    assert_int_equal(last.len, 400);
}
static void test_loss(void **state) { transfer(2, 65535, 0); }
static void test_much_loss(void **state) { transfer(20, 30000, 0); }
static void test_no_memory(void **state) { transfer(1, 65535, 13); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),         cmocka_unit_test_setup_teardown(test_keepalive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_wait, setup, teardown),    cmocka_unit_test_setup_teardown(test_syn_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large, setup, teardown),        cmocka_unit_test_setup_teardown(test_small_window, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loss, setup, teardown),         cmocka_unit_test_setup_teardown(test_much_loss, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),    cmocka_unit_test_setup_teardown(test_trimmed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
