// Who has which port. A table of ports in use; a port knows the sockets that were bound to it (they are found when something comes),
// the connections that stand at it, and those that are gone but in TIME-WAIT. The rules are those of Linux (inet_csk_bind_conflict,
// udp_lib_lport_inuse), see socket(7): SO_REUSEADDR lets sockets share a port unless one listens, SO_REUSEPORT lets listeners of one user share it.
// Locks: the table's, a spinlock below the core lock.
#include "kernel/memory/slab.h"
#include "kernel/random.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include "net/inet/inet.h"
#include "net/inet/sysctl.h"

#define FIRST_BITS 6
#define BITS_MOST 16
#define LINGERING_MOST 8192 // connections in TIME-WAIT that are remembered; the oldest make room

struct inet_port {
    struct inet_port *next; // in its bucket
    uint16_t number;
    uint8_t space;
    bool for_peers; // chosen by connect(2): to be shared with connections to other peers, but by nobody else
    struct list bound, shared, lingering;
};

struct lingering {
    struct list link, order; // of its port; of all, by `until`
    struct inet_port *port;
    ip_addr_t local, remote;
    uint16_t remote_port;
    bool reuse, reuse_port;
    uint32_t uid;
    nsec_t until;
};

static struct spinlock table_lock;
// By its first use; grows with the ports in use, so that a look takes one or two steps however many there are.
static struct inet_port **table;
static unsigned table_bits, port_count;
static struct list lingering_order = LIST_INIT(lingering_order);
static unsigned lingering_count;
static uint64_t key;

static struct slab_cache port_cache = SLAB_CACHE("inet_port", sizeof(struct inet_port), 8);
static struct slab_cache lingering_cache = SLAB_CACHE("inet_lingering", sizeof(struct lingering), 8);

#ifdef PORT_VISITS // a test counts the ports that are looked at
extern unsigned port_visits;
#define VISITED() (port_visits++)
#else
#define VISITED() ((void)0)
#endif

// --- The table. Locked ---
static struct inet_port **bucket_of(int space, uint16_t number) {
    return &table[(number * 2u + (unsigned)space) * 0x9e3779b1u >> (32 - table_bits)];
}

static struct inet_port *look_up(int space, uint16_t number) {
    struct inet_port *p = likely(table != NULL) ? *bucket_of(space, number) : NULL;
    VISITED();
    while (p && (p->number != number || p->space != space)) {
        p = p->next;
        VISITED();
    }
    return p;
}

static void grow(void) {
    struct inet_port **old = table, *p, *next;
    struct inet_port **new = table_bits + 2 <= BITS_MOST ? kzalloc(sizeof(*new) << (table_bits + 2)) : NULL;
    if (!new)
        return; // longer lists, then
    unsigned n = 1u << table_bits;
    table = new;
    table_bits += 2;
    for (struct inet_port **b = old; b < old + n; b++) {
        for (p = *b; p; p = next) {
            struct inet_port **to = bucket_of(p->space, p->number);
            next = p->next;
            p->next = *to;
            *to = p;
        }
    }
    kfree(old);
}

static struct inet_port *create(int space, uint16_t number) {
    struct inet_port *p = slab_zalloc(&port_cache);
    if (!p)
        return NULL;
    p->number = number;
    p->space = space;
    list_init(&p->bound);
    list_init(&p->shared);
    list_init(&p->lingering);
    if (unlikely(++port_count > 1u << table_bits))
        grow();
    struct inet_port **b = bucket_of(space, number);
    p->next = *b;
    *b = p;
    return p;
}

static void free_if_unused(struct inet_port *p) {
    if (!list_empty(&p->bound) || !list_empty(&p->shared) || !list_empty(&p->lingering))
        return;
    struct inet_port **link = bucket_of(p->space, p->number);
    while (*link != p)
        link = &(*link)->next;
    *link = p->next;
    port_count--;
    slab_free(&port_cache, p);
}

static void stop_lingering(struct lingering *l) {
    struct inet_port *p = l->port;
    list_remove(&l->link);
    list_remove(&l->order);
    lingering_count--;
    slab_free(&lingering_cache, l);
    free_if_unused(p);
}

static void expire(void) {
    nsec_t now = list_empty(&lingering_order) ? 0 : time_monotonic();
    while (!list_empty(&lingering_order)) {
        struct lingering *l = list_first(&lingering_order, struct lingering, order);
        if (l->until > now && lingering_count <= LINGERING_MOST)
            return;
        stop_lingering(l);
    }
}

static int lock(void) {
    spin_lock(&table_lock);
    if (unlikely(!table)) {
        table = kzalloc(sizeof(struct inet_port *) << FIRST_BITS);
        table_bits = FIRST_BITS;
        key = random_u64() | 1;
        if (!table) {
            spin_unlock(&table_lock);
            return -ENOMEM;
        }
    }
    return 0;
}

static void unlock(void) { spin_unlock(&table_lock); }

static void stand_at(struct inet_port *p, struct inet_socket *s, const ip_addr_t *local, bool shared) {
    s->bind.port = p;
    s->bind.shared = shared;
    list_push_front(shared ? &p->shared : &p->bound, &s->bind.link);
    s->local = *local;
    s->local_port = p->number;
}

// --- Conflicts ---
static bool addresses_overlap(const ip_addr_t *a, const ip_addr_t *b) {
    if (IP_IS_ANY_TYPE_VAL(*a) || IP_IS_ANY_TYPE_VAL(*b))
        return true; // a wildcard of both families
    if (IP_GET_TYPE(a) != IP_GET_TYPE(b))
        return false;
    return ip_addr_isany(a) || ip_addr_isany(b) || ip_addr_cmp(a, b);
}

static bool same_interface(const struct inet_socket *a, const struct inet_socket *b) {
    return !a->interface || !b->interface || a->interface == b->interface;
}

static bool bit(const struct inet_socket *s, enum socket_bit b) { return socket_bit(&s->socket, b); }

// `chosen`: by bind(2) itself, for port 0, which never takes one that another has.
static bool sockets_conflict(int space, const struct inet_socket *s, const ip_addr_t *local,
                             const struct inet_socket *other, bool chosen) {
    if (s == other || !same_interface(s, other) || !addresses_overlap(local, &other->local))
        return false;
    if (chosen)
        return true;
    bool reuse = bit(s, SOCKET_REUSEADDR) && bit(other, SOCKET_REUSEADDR);
    if (reuse && (space == PORTS_UDP || !READ_ONCE(other->socket.listening)))
        return false;
    return !bit(s, SOCKET_REUSEPORT) || !bit(other, SOCKET_REUSEPORT) || s->uid != other->uid;
}

static bool lingering_conflicts(const struct inet_socket *s, const ip_addr_t *local, const struct lingering *l,
                                bool chosen) {
    if (!addresses_overlap(local, &l->local))
        return false;
    return chosen || !((bit(s, SOCKET_REUSEADDR) && l->reuse) || (bit(s, SOCKET_REUSEPORT) && l->reuse_port));
}

static bool port_conflicts(const struct inet_port *p, const struct inet_socket *s, const ip_addr_t *local,
                           bool chosen) {
    struct inet_socket *other;
    struct lingering *l;
    list_for_each (other, &p->bound, bind.link)
        if (sockets_conflict(p->space, s, local, other, chosen))
            return true;
    list_for_each (other, &p->shared, bind.link)
        if (sockets_conflict(p->space, s, local, other, chosen))
            return true;
    list_for_each (l, &p->lingering, link)
        if (lingering_conflicts(s, local, l, chosen))
            return true;
    return false;
}

// --- Choosing a port ---
// Walks the range of ports from a random one on, in steps of a random size: ports in use form no rows then that all would have to pass.
struct choice {
    uint16_t first, next;
    unsigned count, left, step;
};

// Primes above 65536, and so without a common divisor with any number of ports: each comes to all of them.
static const uint32_t steps[16] = {65537, 70537, 76157, 82387, 89227, 96697, 104761, 113453,
                                   122743, 132647, 143177, 154313, 166063, 178439, 191413, 205019};

static struct choice choice_begin(const struct inet_socket *s) {
    unsigned first = net_settings.port_first, last = net_settings.port_last;
    if (s->options.port_low && s->options.port_low > first)
        first = s->options.port_low;
    if (s->options.port_high && s->options.port_high < last)
        last = s->options.port_high;
    struct choice c = {.first = first, .count = last >= first ? last - first + 1 : 0};
    uint64_t random = random_u64();
    c.left = c.count;
    c.next = c.count ? (uint32_t)random % c.count : 0;
    c.step = steps[random >> 60];
    return c;
}

static uint16_t choice_next(struct choice *c) {
    if (!c->left)
        return 0;
    c->left--;
    uint16_t port = c->first + c->next;
    c->next = (c->next + c->step) % c->count;
    return port;
}

static int claim_any(int space, struct inet_socket *s, const ip_addr_t *local) {
    struct choice c = choice_begin(s);
    for (uint16_t number; (number = choice_next(&c));) {
        struct inet_port *p = look_up(space, number);
        if (p && (p->for_peers || port_conflicts(p, s, local, true)))
            continue;
        if (!p && !(p = create(space, number)))
            return -ENOMEM;
        stand_at(p, s, local, false);
        return 0;
    }
    return -EADDRINUSE;
}

int inet_port_claim(enum inet_port_space space, struct inet_socket *s, const ip_addr_t *local, uint16_t port) {
    int err = lock();
    if (err < 0)
        return err;
    expire();
    if (!port) {
        err = claim_any(space, s, local);
    } else {
        struct inet_port *p = look_up(space, port);
        if (p && port_conflicts(p, s, local, false)) {
            err = -EADDRINUSE;
        } else if (!p && !(p = create(space, port))) {
            err = -ENOMEM;
        } else {
            p->for_peers = false;
            stand_at(p, s, local, false);
        }
    }
    unlock();
    return err;
}

static bool is_connection(const struct inet_socket *s, const ip_addr_t *local, const ip_addr_t *remote,
                          uint16_t remote_port) {
    return s->remote_port == remote_port && ip_addr_cmp(&s->remote, remote) && ip_addr_cmp(&s->local, local);
}

// Does a connection of another socket from this port to the peer exist?
static bool peer_taken(const struct inet_port *p, const struct inet_socket *self, const ip_addr_t *local,
                       const ip_addr_t *remote, uint16_t remote_port) {
    struct inet_socket *s;
    list_for_each (s, &p->shared, bind.link)
        if (s != self && is_connection(s, local, remote, remote_port))
            return true;
    list_for_each (s, &p->bound, bind.link)
        if (s != self && is_connection(s, local, remote, remote_port))
            return true;
    return false;
}

// Has there just been one?
static bool peer_lingers(const struct inet_port *p, const ip_addr_t *local, const ip_addr_t *remote,
                         uint16_t remote_port) {
    struct lingering *l;
    list_for_each (l, &p->lingering, link)
        if (l->remote_port == remote_port && ip_addr_cmp(&l->remote, remote) && ip_addr_cmp(&l->local, local))
            return true;
    return false;
}

static void set_peer(struct inet_socket *s, const ip_addr_t *remote, uint16_t remote_port) {
    s->remote = *remote;
    s->remote_port = remote_port;
}

int inet_port_claim_for_peer(struct inet_socket *s, const ip_addr_t *local, const ip_addr_t *remote,
                             uint16_t remote_port) {
    int err = lock();
    if (err < 0)
        return err;
    expire();
    err = -EADDRNOTAVAIL;
    struct choice c = choice_begin(s);
    for (uint16_t number; (number = choice_next(&c));) {
        struct inet_port *p = look_up(PORTS_TCP, number);
        if (p && (!p->for_peers || peer_taken(p, s, local, remote, remote_port) ||
                  peer_lingers(p, local, remote, remote_port)))
            continue;
        err = 0;
        if (!p && (p = create(PORTS_TCP, number)))
            p->for_peers = true;
        if (!p) {
            err = -ENOMEM;
        } else {
            stand_at(p, s, local, true);
            set_peer(s, remote, remote_port);
        }
        break;
    }
    unlock();
    return err;
}

int inet_port_connect(struct inet_socket *s, const ip_addr_t *local, const ip_addr_t *remote, uint16_t remote_port) {
    spin_lock(&table_lock);
    bool taken = s->bind.port && peer_taken(s->bind.port, s, local, remote, remote_port);
    if (!taken) {
        s->local = *local;
        set_peer(s, remote, remote_port);
    }
    unlock();
    return taken ? -EADDRNOTAVAIL : 0;
}

void inet_port_share(struct inet_socket *listener, struct inet_socket *accepted) {
    spin_lock(&table_lock);
    if (listener->bind.port)
        stand_at(listener->bind.port, accepted, &accepted->local, true);
    unlock();
}

int inet_port_recheck(enum inet_port_space space, struct inet_socket *s) {
    spin_lock(&table_lock);
    expire();
    bool conflict = s->bind.port && port_conflicts(s->bind.port, s, &s->local, false);
    unlock();
    return conflict ? -EADDRINUSE : 0;
}

void inet_port_release(struct inet_socket *s) {
    spin_lock(&table_lock);
    struct inet_port *p = s->bind.port;
    if (p) {
        s->bind.port = NULL;
        list_remove(&s->bind.link);
        free_if_unused(p);
    }
    unlock();
}

void inet_port_linger(const struct inet_socket *s, nsec_t until) {
    struct lingering *l = slab_alloc(&lingering_cache);
    spin_lock(&table_lock);
    struct inet_port *p = s->bind.port;
    if (l && p) {
        *l = (struct lingering){.port = p,
                                .local = s->local,
                                .remote = s->remote,
                                .remote_port = s->remote_port,
                                .reuse = bit(s, SOCKET_REUSEADDR),
                                .reuse_port = bit(s, SOCKET_REUSEPORT),
                                .uid = s->uid,
                                .until = until};
        list_push_back(&p->lingering, &l->link);
        list_push_back(&lingering_order, &l->order);
        lingering_count++;
        l = NULL;
        expire();
    }
    unlock();
    slab_free(&lingering_cache, l);
}

// --- Finding ---
// How well a socket fits what came; 0: not at all.
static unsigned score_of(const struct inet_socket *s, const ip_addr_t *local, const ip_addr_t *remote,
                         uint16_t remote_port, int interface) {
    unsigned score = 1;
    if (!IP_IS_ANY_TYPE_VAL(s->local)) {
        if (IP_GET_TYPE(&s->local) != IP_GET_TYPE(local))
            return 0;
        score++; // a socket of that family alone
        if (!ip_addr_isany(&s->local)) {
            if (!ip_addr_cmp_zoneless(&s->local, local))
                return 0;
            score += 8;
        }
    }
    if (s->remote_port) {
        if (s->remote_port != remote_port || !ip_addr_cmp_zoneless(&s->remote, remote))
            return 0;
        score += 16;
    }
    if (s->interface) {
        if (s->interface != interface)
            return 0;
        score += 4;
    }
    return score;
}

static uint64_t hash_of(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote, uint16_t remote_port) {
    const uint32_t *a = ip_2_ip6(local)->addr, *b = ip_2_ip6(remote)->addr;
    uint64_t h = key ^ ((uint64_t)local_port << 16 | remote_port);
    for (unsigned i = 0; i < (IP_IS_V6(local) ? 4 : 1); i++) {
        h = (h ^ ((uint64_t)a[i] << 32 | b[i])) * 0x9e3779b97f4a7c15;
        h ^= h >> 32;
    }
    return h * key >> 32;
}

struct inet_socket *inet_port_find(enum inet_port_space space, const ip_addr_t *local, uint16_t local_port,
                                   const ip_addr_t *remote, uint16_t remote_port, int interface) {
    struct inet_socket *s, *best = NULL;
    unsigned most = 0, same = 0; // of those with SO_REUSEPORT, how many are as good
    spin_lock(&table_lock);
    struct inet_port *p = look_up(space, local_port);
    if (p) {
        list_for_each (s, &p->bound, bind.link) {
            if (space == PORTS_TCP && !READ_ONCE(s->socket.listening))
                continue;
            unsigned score = score_of(s, local, remote, remote_port, interface);
            if (score > most) {
                most = score;
                best = s;
                same = 0;
            }
            if (score == most && best && bit(s, SOCKET_REUSEPORT))
                same++;
        }
        if (same > 1 && bit(best, SOCKET_REUSEPORT)) {
            unsigned skip = hash_of(local, local_port, remote, remote_port) % same;
            list_for_each (s, &p->bound, bind.link) {
                if ((space == PORTS_TCP && !READ_ONCE(s->socket.listening)) || !bit(s, SOCKET_REUSEPORT) ||
                    score_of(s, local, remote, remote_port, interface) != most)
                    continue;
                best = s;
                if (!skip--)
                    break;
            }
        }
        if (best)
            socket_ref(&best->socket);
    }
    unlock();
    return best;
}

void inet_port_each(enum inet_port_space space, uint16_t port, void (*fn)(void *ctx, struct inet_socket *s),
                    void *ctx) {
    struct inet_socket *s;
    spin_lock(&table_lock);
    struct inet_port *p = look_up(space, port);
    if (p)
        list_for_each (s, &p->bound, bind.link)
            fn(ctx, s);
    unlock();
}
