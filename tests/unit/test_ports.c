// Ports of TCP and UDP: conflicts, choosing, sharing between peers, TIME-WAIT, who gets what comes, no memory.
// link: $(LWIP)/.checksum net/inet/ports.c tests/unit/fake_host.c
// flags: -DPORT_VISITS -isystem $(LWIP)/src/include -idirafter net -idirafter net/lwip
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/memory/slab.h"
#include "net/inet/inet.h"
#include "net/inet/sysctl.h"

struct net_settings net_settings;
const ip_addr_t ip_addr_any_type = IPADDR_ANY_TYPE_INIT;
static nsec_t now = 1;
static int allocations_left = -1; // -1: as many as one likes
static int live;
static uint64_t noise = 88172645463325252ull;

nsec_t time_monotonic(void) { return now; }
uint64_t random_u64(void) {
    noise ^= noise << 13;
    noise ^= noise >> 7;
    return noise ^= noise << 17;
}
static void *allocate(size_t n) {
    if (!allocations_left)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    live++;
    return calloc(1, n);
}
void *slab_alloc(struct slab_cache *c) { return allocate(c->size); }
void *slab_zalloc(struct slab_cache *c) { return allocate(c->size); }
void slab_free(struct slab_cache *c, void *p) {
    live -= p != NULL;
    free(p);
}
void *kzalloc(size_t n) { return calloc(1, n); }
void kfree(void *p) { free(p); }
unsigned port_visits;
void spin_lock_slow(struct spinlock *l) { abort(); }
void socket_free(struct socket *s) { abort(); }

enum { REUSE = 1, PORT = 2, LISTENING = 4 };

static struct inet_socket *make(int what) {
    struct inet_socket *s = calloc(1, sizeof(*s));
    s->socket.refs = 1;
    s->socket.bits = (what & REUSE ? 1u << SOCKET_REUSEADDR : 0) | (what & PORT ? 1u << SOCKET_REUSEPORT : 0);
    s->socket.listening = what & LISTENING;
    return s;
}

static void drop(struct inet_socket *s) {
    inet_port_release(s);
    free(s);
}

static ip_addr_t v4(unsigned last) {
    ip_addr_t a;
    memset(&a, 0, sizeof(a));
    IP_ADDR4(&a, last ? 10 : 0, 0, 0, last);
    return a;
}

static ip_addr_t v6(unsigned last) {
    ip_addr_t a;
    memset(&a, 0, sizeof(a));
    IP_ADDR6_HOST(&a, last ? 0xfd000000u : 0, 0, 0, last);
    return a;
}

static ip_addr_t both(void) {
    ip_addr_t a = v6(0);
    IP_SET_TYPE_VAL(a, IPADDR_TYPE_ANY);
    return a;
}

static int second(int space, int first, ip_addr_t a, int other, ip_addr_t b) {
    struct inet_socket *s = make(first), *t = make(other);
    assert_int_equal(inet_port_claim(space, s, &a, 80), 0);
    int err = inet_port_claim(space, t, &b, 80);
    drop(s);
    drop(t);
    return err;
}

static void conflicts(void **state) {
    ip_addr_t any = v4(0), one = v4(1), two = v4(2), any6 = v6(0), one6 = v6(1), dual = both();
    assert_int_equal(second(PORTS_TCP, 0, any, 0, any), -EADDRINUSE);
    assert_int_equal(second(PORTS_TCP, 0, one, 0, two), 0);
    assert_int_equal(second(PORTS_TCP, 0, one, 0, any), -EADDRINUSE);
    assert_int_equal(second(PORTS_TCP, 0, any, 0, one), -EADDRINUSE);
    assert_int_equal(second(PORTS_TCP, 0, any, 0, any6), 0);
    assert_int_equal(second(PORTS_TCP, 0, any, 0, dual), -EADDRINUSE);
    assert_int_equal(second(PORTS_TCP, 0, one, 0, dual), -EADDRINUSE);
    assert_int_equal(second(PORTS_TCP, 0, one6, 0, dual), -EADDRINUSE);
    assert_int_equal(second(PORTS_TCP, 0, one6, 0, one), 0);
    assert_int_equal(second(PORTS_TCP, REUSE, any, REUSE, any), 0);
    assert_int_equal(second(PORTS_TCP, REUSE | LISTENING, any, REUSE, any), -EADDRINUSE);
    assert_int_equal(second(PORTS_TCP, REUSE | LISTENING, one, REUSE, any), -EADDRINUSE);
    assert_int_equal(second(PORTS_UDP, REUSE | LISTENING, any, REUSE, any), 0);
    assert_int_equal(second(PORTS_TCP, REUSE, any, 0, any), -EADDRINUSE);
    assert_int_equal(second(PORTS_TCP, PORT | LISTENING, any, PORT | LISTENING, any), 0);
    assert_int_equal(second(PORTS_TCP, PORT, any, REUSE, any), -EADDRINUSE);
    struct inet_socket *s = make(PORT), *t = make(PORT), *u = make(0);
    t->uid = 1000;
    u->interface = 3;
    s->interface = 2;
    assert_int_equal(inet_port_claim(PORTS_TCP, s, &any, 80), 0);
    assert_int_equal(inet_port_claim(PORTS_TCP, t, &any, 80), -EADDRINUSE); // somebody else's
    assert_int_equal(inet_port_claim(PORTS_TCP, u, &any, 80), 0);           // on another interface
    assert_int_equal(inet_port_recheck(PORTS_TCP, s), 0);
    drop(s);
    drop(t);
    drop(u);
    assert_int_equal(live, 0);
}

static void listen_again(void **state) {
    ip_addr_t any = v4(0);
    struct inet_socket *s = make(REUSE), *t = make(REUSE);
    assert_int_equal(inet_port_claim(PORTS_TCP, s, &any, 80), 0);
    assert_int_equal(inet_port_claim(PORTS_TCP, t, &any, 80), 0);
    s->socket.listening = true;
    assert_int_equal(inet_port_recheck(PORTS_TCP, s), 0);
    t->socket.listening = true;
    assert_int_equal(inet_port_recheck(PORTS_TCP, t), -EADDRINUSE);
    drop(s);
    drop(t);
}

static void chosen(void **state) {
    enum { FIRST = 40000, COUNT = 50 };
    ip_addr_t any = v4(0);
    struct inet_socket *s[COUNT + 1];
    bool seen[COUNT] = {false};
    net_settings.port_first = FIRST;
    net_settings.port_last = FIRST + COUNT - 1;
    for (int i = 0; i < COUNT; i++) {
        s[i] = make(REUSE); // even so nobody shares
        assert_int_equal(inet_port_claim(PORTS_TCP, s[i], &any, 0), 0);
        int k = s[i]->local_port - FIRST;
        assert_in_range(k, 0, COUNT - 1);
        assert_false(seen[k]);
        seen[k] = true;
    }
    s[COUNT] = make(REUSE);
    assert_int_equal(inet_port_claim(PORTS_TCP, s[COUNT], &any, 0), -EADDRINUSE);
    assert_int_equal(inet_port_claim(PORTS_UDP, s[COUNT], &any, 0), 0);
    for (int i = 0; i <= COUNT; i++)
        drop(s[i]);
    assert_int_equal(live, 0);
}

static void peers(void **state) {
    enum { FIRST = 50000, COUNT = 20, PEERS = 5 };
    struct inet_socket *s[PEERS][COUNT], *more = make(0), *bound = make(0);
    ip_addr_t local = v4(1);
    net_settings.port_first = FIRST;
    net_settings.port_last = FIRST + COUNT - 1;
    for (int p = 0; p < PEERS; p++) {
        ip_addr_t remote = v4(100 + p);
        for (int i = 0; i < COUNT; i++) {
            s[p][i] = make(0);
            assert_int_equal(inet_port_claim_for_peer(s[p][i], &local, &remote, 443), 0);
            for (int k = 0; k < i; k++)
                assert_int_not_equal(s[p][i]->local_port, s[p][k]->local_port);
        }
        assert_int_equal(inet_port_claim_for_peer(more, &local, &remote, 443), -EADDRNOTAVAIL);
    }
    ip_addr_t remote = v4(100), any = v4(0);
    assert_int_equal(inet_port_claim(PORTS_TCP, bound, &any, FIRST), -EADDRINUSE);
    assert_int_equal(inet_port_claim(PORTS_TCP, bound, &any, 0), -EADDRINUSE); // all are for peers
    assert_int_equal(inet_port_claim_for_peer(more, &local, &remote, 80), 0);  // another port of the peer
    drop(s[0][3]);
    s[0][3] = make(0);
    assert_int_equal(inet_port_claim_for_peer(s[0][3], &local, &remote, 443), 0); // the one that is free
    // The same connection from a port that was bound.
    assert_int_equal(inet_port_claim(PORTS_TCP, bound, &any, 7), 0);
    assert_int_equal(inet_port_connect(bound, &local, &remote, 443), 0);
    struct inet_socket *twin = make(REUSE);
    bound->socket.bits = 1u << SOCKET_REUSEADDR;
    assert_int_equal(inet_port_claim(PORTS_TCP, twin, &any, 7), 0);
    assert_int_equal(inet_port_connect(twin, &local, &remote, 443), -EADDRNOTAVAIL);
    assert_int_equal(inet_port_connect(twin, &local, &remote, 444), 0);
    drop(twin);
    drop(bound);
    drop(more);
    for (int p = 0; p < PEERS; p++)
        for (int i = 0; i < COUNT; i++)
            drop(s[p][i]);
    assert_int_equal(live, 0);
}

static void lingering(void **state) {
    ip_addr_t any = v4(0), local = v4(1), remote = v4(2);
    struct inet_socket *l = make(LISTENING), *c = make(0), *again = make(0), *reuse = make(REUSE);
    assert_int_equal(inet_port_claim(PORTS_TCP, l, &any, 80), 0);
    for (int round = 0; round < 20000; round++) { // more than are remembered
        c->local = local;
        c->remote = remote;
        c->remote_port = 1 + round;
        inet_port_share(l, c);
        inet_port_linger(c, now + 100);
        inet_port_release(c);
    }
    assert_in_range(live, 2, 8300);
    drop(l);
    assert_int_equal(inet_port_claim(PORTS_TCP, again, &any, 80), -EADDRINUSE);
    assert_int_equal(inet_port_claim(PORTS_TCP, reuse, &any, 80), -EADDRINUSE); // the first had not said so
    ip_addr_t other = v4(9);
    assert_int_equal(inet_port_claim(PORTS_TCP, again, &other, 80), 0);
    inet_port_release(again);
    now += 101;
    assert_int_equal(inet_port_claim(PORTS_TCP, again, &any, 80), 0);
    drop(again);
    drop(reuse);
    drop(c);
    assert_int_equal(live, 0);
}

static struct inet_socket *found(int space, ip_addr_t local, ip_addr_t remote, uint16_t port, int interface) {
    struct inet_socket *s = inet_port_find(space, &local, 80, &remote, port, interface);
    if (s)
        s->socket.refs--;
    return s;
}

static void finding(void **state) {
    ip_addr_t any = v4(0), one = v4(1), dual = both(), peer = v4(7);
    struct inet_socket *wild = make(LISTENING), *exact = make(LISTENING), *card = make(LISTENING), *quiet = make(0);
    assert_null(found(PORTS_TCP, one, peer, 1, 1));
    card->interface = 5;
    assert_int_equal(inet_port_claim(PORTS_TCP, card, &dual, 80), 0);
    assert_ptr_equal(found(PORTS_TCP, v6(1), v6(2), 1, 5), card);
    assert_ptr_equal(found(PORTS_TCP, one, peer, 1, 5), card);
    assert_null(found(PORTS_TCP, one, peer, 1, 4));
    wild->interface = 4;
    assert_int_equal(inet_port_claim(PORTS_TCP, wild, &any, 80), 0);
    assert_ptr_equal(found(PORTS_TCP, one, peer, 1, 4), wild);
    assert_null(found(PORTS_TCP, v6(1), v6(2), 1, 4));
    exact->interface = 3;
    assert_int_equal(inet_port_claim(PORTS_TCP, exact, &one, 80), 0);
    wild->interface = 0;
    assert_ptr_equal(found(PORTS_TCP, one, peer, 1, 3), exact);
    assert_ptr_equal(found(PORTS_TCP, v4(2), peer, 1, 3), wild);
    exact->socket.listening = false;
    assert_ptr_equal(found(PORTS_TCP, one, peer, 1, 3), wild);
    // A datagram socket that is connected gets its peer's alone, and before the others.
    struct inet_socket *u = make(REUSE), *connected = make(REUSE);
    assert_int_equal(inet_port_claim(PORTS_UDP, u, &any, 80), 0);
    assert_int_equal(inet_port_claim(PORTS_UDP, connected, &one, 80), 0);
    connected->remote = peer;
    connected->remote_port = 9;
    assert_ptr_equal(found(PORTS_UDP, one, peer, 9, 1), connected);
    assert_ptr_equal(found(PORTS_UDP, one, peer, 10, 1), u);
    drop(u);
    drop(connected);
    drop(wild);
    drop(exact);
    drop(card);
    drop(quiet);
    assert_int_equal(live, 0);
}

static void balancing(void **state) {
    enum { COUNT = 4, CALLS = 4000 };
    ip_addr_t any = v4(0), one = v4(1), peer = v4(7);
    struct inet_socket *s[COUNT];
    unsigned got[COUNT] = {0};
    for (int i = 0; i < COUNT; i++) {
        s[i] = make(PORT | LISTENING);
        assert_int_equal(inet_port_claim(PORTS_TCP, s[i], &any, 80), 0);
    }
    for (int c = 0; c < CALLS; c++) {
        struct inet_socket *f = found(PORTS_TCP, one, peer, 1024 + c, 1);
        assert_ptr_equal(f, found(PORTS_TCP, one, peer, 1024 + c, 1)); // the same again
        for (int i = 0; i < COUNT; i++)
            got[i] += f == s[i];
    }
    for (int i = 0; i < COUNT; i++) {
        assert_in_range(got[i], CALLS / COUNT / 2, CALLS / COUNT * 2);
        drop(s[i]);
    }
}

// However many ports are in use, few are looked at.
static void many(void **state) {
    enum { COUNT = 20000, LAST = 1000 };
    ip_addr_t any = v4(0), one = v4(1), two = v4(2);
    static struct inet_socket *listening[COUNT], *connected[COUNT];
    unsigned first = 0;
    net_settings.port_first = 32768;
    net_settings.port_last = 60999;
    for (int i = 0; i < COUNT; i++) {
        listening[i] = make(LISTENING);
        assert_int_equal(inet_port_claim(PORTS_TCP, listening[i], &any, (uint16_t)(1024 + i)), 0);
    }
    for (int i = 0; i < COUNT; i++) {
        connected[i] = make(0);
        if (i == LAST)
            first = port_visits;
        if (i == COUNT - LAST)
            port_visits = 0;
        assert_int_equal(inet_port_claim_for_peer(connected[i], &one, &two, 80), 0);
    }
    assert_in_range(first, 1, 4 * LAST * 12); // with the listeners' claims
    assert_in_range(port_visits, LAST, 12 * LAST); // where two of three ports are in use
    port_visits = 0;
    for (int i = 0; i < COUNT; i++) {
        struct inet_socket *f = inet_port_find(PORTS_TCP, &one, (uint16_t)(1024 + i), &two, 9, 1);
        assert_ptr_equal(f, listening[i]);
        f->socket.refs--;
    }
    assert_in_range(port_visits, COUNT, 2 * COUNT);
    port_visits = 0;
    for (int i = 0; i < COUNT; i++) {
        drop(listening[i]);
        drop(connected[i]);
    }
    assert_int_equal(live, 0);
}

static void no_memory(void **state) {
    ip_addr_t any = v4(0), one = v4(1);
    struct inet_socket *s = make(0);
    allocations_left = 0;
    assert_int_equal(inet_port_claim(PORTS_TCP, s, &any, 80), -ENOMEM);
    assert_int_equal(inet_port_claim(PORTS_TCP, s, &any, 0), -ENOMEM);
    assert_int_equal(inet_port_claim_for_peer(s, &one, &one, 80), -ENOMEM);
    assert_null(s->bind.port);
    allocations_left = 1;
    assert_int_equal(inet_port_claim(PORTS_TCP, s, &any, 80), 0);
    inet_port_linger(s, now + 5); // is forgotten
    allocations_left = -1;
    drop(s);
    assert_int_equal(live, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conflicts), cmocka_unit_test(listen_again), cmocka_unit_test(chosen),
        cmocka_unit_test(peers),     cmocka_unit_test(lingering),    cmocka_unit_test(finding),
        cmocka_unit_test(balancing), cmocka_unit_test(many), cmocka_unit_test(no_memory),
    };
    net_settings.port_first = 32768;
    net_settings.port_last = 60999;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
