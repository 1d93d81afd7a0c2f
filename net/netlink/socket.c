// Netlink sockets: port ids, groups, options; see netlink(7) and net/netlink/netlink.h.
#include "fs/vfs.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"
#include "kernel/random.h"
#include "kernel/string.h"
#include "net/netlink/netlink.h"
#include <linux/capability.h>

static struct slab_cache netlink_cache = SLAB_CACHE("netlink_socket", sizeof(struct netlink_socket), 64);
static const struct socket_ops netlink_ops;
struct spinlock netlink_lock;
struct list netlink_sockets = LIST_INIT(netlink_sockets);

// --- Life ---

static struct socket *netlink_create(int type, int protocol) {
    if (type != SOCK_RAW && type != SOCK_DGRAM)
        return ERR_PTR(-ESOCKTNOSUPPORT);
    if (protocol != NETLINK_ROUTE && protocol != NETLINK_SOCK_DIAG) {
        if (protocol >= 0 && protocol < MAX_LINKS)
            log_once(
                LOG_INFO,
                "socket(2): of AF_NETLINK only NETLINK_ROUTE and NETLINK_SOCK_DIAG are there, not %d (EPROTONOSUPPORT)",
                protocol);
        return ERR_PTR(-EPROTONOSUPPORT);
    }
    int err = net_start();
    struct netlink_socket *n = err < 0 ? NULL : slab_zalloc(&netlink_cache);
    if (!n)
        return ERR_PTR(err < 0 ? err : -ENOMEM);
    socket_init(&n->socket, &netlink_ops, AF_NETLINK, type, protocol);
    list_init(&n->queue);
    netlink_notify_start();
    spin_lock(&netlink_lock);
    list_push_back(&netlink_sockets, &n->link);
    spin_unlock(&netlink_lock);
    return &n->socket;
}

const struct socket_family netlink_family = {.family = AF_NETLINK, .create = netlink_create};

static void netlink_release(struct socket *s) {
    struct netlink_socket *n = netlink_of(s);
    spin_lock(&netlink_lock);
    list_remove(&n->link);
    list_init(&n->link);
    n->port = 0;
    n->groups = 0;
    spin_unlock(&netlink_lock);
    socket_wake_state(s);
}

static void netlink_free(struct socket *s) {
    struct netlink_socket *n = netlink_of(s);
    netlink_queue_free(n);
    seq_free(&n->dump);
    slab_free(&netlink_cache, n);
}

// --- Port ids ---

static struct netlink_socket *find(int protocol, uint32_t port) { // netlink_lock held
    struct netlink_socket *n;
    list_for_each (n, &netlink_sockets, link) {
        if (n->bound && n->port == port && n->socket.protocol == protocol)
            return n;
    }
    return NULL;
}

struct netlink_socket *netlink_find(int protocol, uint32_t port) {
    spin_lock(&netlink_lock);
    struct netlink_socket *n = find(protocol, port);
    if (n)
        socket_ref(&n->socket);
    spin_unlock(&netlink_lock);
    return n;
}

// Takes the port id. 0, -EADDRINUSE, -EBUSY: it has another one.
static int insert(struct netlink_socket *n, uint32_t port) {
    int err = 0;
    spin_lock(&netlink_lock);
    if (n->bound) {
        err = n->port == port ? 0 : -EBUSY;
    } else if (find(n->socket.protocol, port)) {
        err = -EADDRINUSE;
    } else {
        n->port = port;
        n->bound = true;
    }
    spin_unlock(&netlink_lock);
    return err;
}

// The process's number, or when that is taken, some negative one.
int netlink_autobind(struct netlink_socket *n) {
    if (READ_ONCE(n->bound))
        return 0;
    uint32_t port = process_current()->pid;
    int err = insert(n, port);
    while (err == -EADDRINUSE) {
        port = -4097 - (int32_t)(random_u64() & 0x3fffffff);
        err = insert(n, port);
    }
    return err == -EBUSY ? 0 : err; // somebody else has just bound it
}

bool netlink_allowed(const struct netlink_socket *n) { return capable(CAP_NET_ADMIN); }

// --- Names ---

static int address_of(const struct socket_address *a, struct sockaddr_nl *nl) {
    if (a->len < sizeof(*nl))
        return -EINVAL;
    memcpy(nl, a->data, sizeof(*nl));
    return nl->nl_family == AF_NETLINK ? 0 : -EINVAL;
}

static int netlink_bind(struct socket *s, const struct socket_address *a) {
    struct netlink_socket *n = netlink_of(s);
    struct sockaddr_nl nl;
    int err = address_of(a, &nl);
    if (err < 0)
        return err;
    if (nl.nl_groups && s->protocol != NETLINK_ROUTE && !capable(CAP_NET_ADMIN))
        return -EPERM;
    if (READ_ONCE(n->bound)) {
        if (nl.nl_pid != n->port)
            return -EINVAL;
    } else {
        err = nl.nl_pid ? insert(n, nl.nl_pid) : netlink_autobind(n);
        if (err < 0)
            return err;
    }
    spin_lock(&netlink_lock);
    n->groups = (n->groups & ~0xffffffffull) | nl.nl_groups;
    spin_unlock(&netlink_lock);
    return 0;
}

static unsigned lowest_group(uint32_t groups) { return groups ? (unsigned)__builtin_ctz(groups) + 1 : 0; }
static uint32_t group_mask(unsigned group) { return group >= 1 && group <= 32 ? 1u << (group - 1) : 0; }

static int netlink_connect(struct socket *s, const struct socket_address *a, bool nonblock) {
    struct netlink_socket *n = netlink_of(s);
    struct sockaddr_nl nl = {0};
    if (a->len < sizeof(a->family))
        return -EINVAL;
    if (a->family != AF_UNSPEC) {
        int err = address_of(a, &nl);
        if (err < 0)
            return err;
        if ((nl.nl_groups || nl.nl_pid) && !netlink_allowed(n))
            return -EPERM;
        err = netlink_autobind(n);
        if (err < 0)
            return err;
    }
    spin_lock(&netlink_lock);
    n->peer = nl.nl_pid;
    n->peer_group = lowest_group(nl.nl_groups);
    spin_unlock(&netlink_lock);
    return 0;
}

static int netlink_name(struct socket *s, struct socket_address *a, bool peer) {
    struct netlink_socket *n = netlink_of(s);
    struct sockaddr_nl nl = {.nl_family = AF_NETLINK};
    spin_lock(&netlink_lock);
    nl.nl_pid = peer ? n->peer : n->port;
    nl.nl_groups = peer ? group_mask(n->peer_group) : (uint32_t)n->groups;
    spin_unlock(&netlink_lock);
    a->len = sizeof(nl);
    memcpy(a->data, &nl, sizeof(nl));
    return 0;
}

// --- Options ---

static unsigned groups_of(const struct socket *s) { return s->protocol == NETLINK_ROUTE ? 36 : 32; }

static int change_membership(struct netlink_socket *n, unsigned group, bool join) {
    if (n->socket.protocol != NETLINK_ROUTE && !capable(CAP_NET_ADMIN))
        return -EPERM;
    if (!group || group > groups_of(&n->socket))
        return -EINVAL;
    spin_lock(&netlink_lock);
    n->groups = (n->groups & ~(1ull << (group - 1))) | (uint64_t)join << (group - 1);
    spin_unlock(&netlink_lock);
    return 0;
}

// Those that are on or off.
static bool is_switch(int name) {
    return name == NETLINK_PKTINFO || name == NETLINK_BROADCAST_ERROR || name == NETLINK_NO_ENOBUFS ||
           name == NETLINK_CAP_ACK || name == NETLINK_EXT_ACK || name == NETLINK_GET_STRICT_CHK;
}

static int netlink_set_option(struct socket *s, int level, int name, const void *value, unsigned len) {
    struct netlink_socket *n = netlink_of(s);
    uint32_t number = 0;
    if (level != SOL_NETLINK)
        return -ENOPROTOOPT;
    if (len >= sizeof(number))
        memcpy(&number, value, sizeof(number));
    if (name == NETLINK_ADD_MEMBERSHIP || name == NETLINK_DROP_MEMBERSHIP)
        return change_membership(n, number, name == NETLINK_ADD_MEMBERSHIP);
    if (name == NETLINK_LISTEN_ALL_NSID) // there is one network only
        return capable(CAP_NET_BROADCAST) ? 0 : -EPERM;
    if (!is_switch(name))
        return -ENOPROTOOPT;
    if (number)
        atomic_or(&n->options, 1u << name);
    else
        atomic_and(&n->options, ~(1u << name));
    if (name == NETLINK_NO_ENOBUFS && number) {
        spin_lock(&s->lock);
        n->overrun = false;
        spin_unlock(&s->lock);
    }
    return 0;
}

static int netlink_get_option(struct socket *s, int level, int name, void *value, unsigned *len) {
    struct netlink_socket *n = netlink_of(s);
    if (level != SOL_NETLINK)
        return -ENOPROTOOPT;
    if (name == NETLINK_LIST_MEMBERSHIPS) {
        uint64_t groups = READ_ONCE(n->groups);
        unsigned size = s->protocol == NETLINK_ROUTE ? 8 : 4;
        memcpy(value, &groups, MIN(*len / 4 * 4, size));
        *len = size;
        return 0;
    }
    if (!is_switch(name) && name != NETLINK_LISTEN_ALL_NSID)
        return -ENOPROTOOPT;
    if (*len < sizeof(int))
        return -EINVAL;
    int on = netlink_option(n, name);
    memcpy(value, &on, sizeof(on));
    *len = sizeof(on);
    return 0;
}

static const struct socket_ops netlink_ops = {
    .release = netlink_release,
    .free = netlink_free,
    .bind = netlink_bind,
    .connect = netlink_connect,
    .name = netlink_name,
    .send = netlink_send,
    .receive = netlink_receive,
    .poll = netlink_poll,
    .ioctl = netlink_ioctl,
    .set_option = netlink_set_option,
    .get_option = netlink_get_option,
    .passes_control = true,
};

// --- /proc/net/netlink ---

int netlink_show(struct seqbuf *s) {
    struct netlink_socket *n;
    seq_puts(s, "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n");
    for (int kernel = 0; kernel <= NETLINK_SOCK_DIAG; kernel += NETLINK_SOCK_DIAG) // the kernel's own ends
        seq_printf(s, "%016x %-3d %-10u %08x %-8d %-8d %-5d %-8d %-8u %-8d\n", 0, kernel, 0, 0, 0, 0, 0, 2, 0, 0);
    spin_lock(&netlink_lock);
    list_for_each (n, &netlink_sockets, link) {
        spin_lock(&n->socket.lock);
        unsigned long inode = n->socket.file ? (unsigned long)n->socket.file->inode->ino : 0;
        spin_unlock(&n->socket.lock);
        seq_printf(s, "%016x %-3d %-10u %08x %-8u %-8d %-5d %-8u %-8u %-8lu\n", 0, n->socket.protocol, n->port,
                   (uint32_t)n->groups, READ_ONCE(n->charged), 0, READ_ONCE(n->dumping), READ_ONCE(n->socket.refs) + 1,
                   READ_ONCE(n->drops), inode);
    }
    spin_unlock(&netlink_lock);
    return 0;
}
