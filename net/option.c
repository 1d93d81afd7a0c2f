// Options of sockets: those of SOL_SOCKET, see socket(7); others are the family's.
#include "fs/vfs.h"
#include "kernel/log.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include "net/inet/sysctl.h"
#include "net/socket.h"
#include <asm/socket.h>
#include <linux/capability.h>

#define SEND_BUFFER_MIN 4608
#define RECEIVE_BUFFER_MIN 2304
#define ENOTSUPP 524 // what Linux answers to SO_ZEROCOPY here

struct timeval_option { // struct timeval
    int64_t sec, usec;
};
struct linger {
    int on, seconds;
};

// Those that are nothing but a bit.
static int bit_of(int name) {
    switch (name) {
    case SO_DEBUG: return SOCKET_DEBUG;
    case SO_REUSEADDR: return SOCKET_REUSEADDR;
    case SO_REUSEPORT: return SOCKET_REUSEPORT;
    case SO_DONTROUTE: return SOCKET_DONTROUTE;
    case SO_BROADCAST: return SOCKET_BROADCAST;
    case SO_KEEPALIVE: return SOCKET_KEEPALIVE;
    case SO_OOBINLINE: return SOCKET_OOBINLINE;
    case SO_NO_CHECK: return SOCKET_NO_CHECK;
    case SO_PASSCRED: return SOCKET_PASSCRED;
    case SO_PASSSEC: return SOCKET_PASSSEC;
    case SO_RXQ_OVFL: return SOCKET_RXQ_OVFL;
    case SO_NOFCS: return SOCKET_NOFCS;
    case SO_SELECT_ERR_QUEUE: return SOCKET_SELECT_ERR_QUEUE;
    }
    return -1;
}

static void set_bit(struct socket *s, int bit, bool on) {
    if (on)
        atomic_or(&s->bits, 1u << bit);
    else
        atomic_and(&s->bits, ~(1u << bit));
}

// --- Setting ---

static int set_timeout(nsec_t *timeout, const void *value, unsigned len) {
    struct timeval_option tv;
    if (len < sizeof(tv))
        return -EINVAL;
    memcpy(&tv, value, sizeof(tv));
    if (tv.usec < 0 || tv.usec >= 1000000)
        return -EDOM;
    if (tv.sec < 0)
        *timeout = 0;
    else if ((tv.sec == 0 && tv.usec == 0) || tv.sec >= NSEC_MAX / NSEC_PER_SEC)
        *timeout = NSEC_MAX;
    else
        *timeout = tv.sec * NSEC_PER_SEC + tv.usec * NSEC_PER_USEC;
    return 0;
}

static int set_linger(struct socket *s, const void *value, unsigned len) {
    struct linger l;
    if (len < sizeof(l))
        return -EINVAL;
    memcpy(&l, value, sizeof(l));
    s->linger = l.seconds;
    set_bit(s, SOCKET_LINGER, l.on);
    return 0;
}

// Linux doubles what it is asked for, for its own bookkeeping.
static void set_send_buffer(struct socket *s, int value) {
    s->send_buffer = MAX((unsigned)MIN(value, INT32_MAX / 2) * 2, (unsigned)SEND_BUFFER_MIN);
    set_bit(s, SOCKET_SNDBUF_LOCKED, true);
    socket_wake_writable(s, POLLOUT | POLLWRNORM);
}

static void set_receive_buffer(struct socket *s, int value) {
    s->receive_buffer = MAX((unsigned)MIN(value, INT32_MAX / 2) * 2, (unsigned)RECEIVE_BUFFER_MIN);
    set_bit(s, SOCKET_RCVBUF_LOCKED, true);
}

// In the order of Linux: what is above the limit is cut, a negative number is a huge one.
static int limited(int value, uint32_t most) { return (int)MIN((uint32_t)value, most); }

// --- When a message came ---

static int set_timestamp(struct socket *s, int name, int value) {
    bool ns = name == SO_TIMESTAMPNS_OLD || name == SO_TIMESTAMPNS_NEW;
    set_bit(s, SOCKET_TIMESTAMP, value && !ns);
    set_bit(s, SOCKET_TIMESTAMPNS, value && ns);
    set_bit(s, SOCKET_TIMESTAMP_NEW, value && (name == SO_TIMESTAMP_NEW || name == SO_TIMESTAMPNS_NEW));
    return 0;
}

static bool get_timestamp(const struct socket *s, int name) {
    bool ns = name == SO_TIMESTAMPNS_OLD || name == SO_TIMESTAMPNS_NEW,
         new = name == SO_TIMESTAMP_NEW || name == SO_TIMESTAMPNS_NEW;
    return socket_bit(s, ns ? SOCKET_TIMESTAMPNS : SOCKET_TIMESTAMP) && socket_bit(s, SOCKET_TIMESTAMP_NEW) == new;
}

void socket_put_timestamp(const struct socket *s, struct socket_message *m, nsec_t stamp) {
    bool ns = socket_bit(s, SOCKET_TIMESTAMPNS), new = socket_bit(s, SOCKET_TIMESTAMP_NEW);
    if (!m || (!ns && !socket_bit(s, SOCKET_TIMESTAMP)))
        return;
    if (!stamp)
        stamp = time_realtime();
    int64_t value[2] = {stamp / NSEC_PER_SEC, stamp % NSEC_PER_SEC};
    if (!ns)
        value[1] /= 1000;
    int type = ns ? (new ? SO_TIMESTAMPNS_NEW : SO_TIMESTAMPNS_OLD) : new ? SO_TIMESTAMP_NEW : SO_TIMESTAMP_OLD;
    message_put_control(m, SOL_SOCKET, type, value, sizeof(value));
}

static int set_int(struct socket *s, int name, int value) {
    switch (name) {
    case SO_SNDBUF: set_send_buffer(s, limited(value, READ_ONCE(net_settings.wmem_max))); return 0;
    case SO_RCVBUF: set_receive_buffer(s, limited(value, READ_ONCE(net_settings.rmem_max))); return 0;
    case SO_SNDBUFFORCE:
    case SO_RCVBUFFORCE:
        if (!capable(CAP_NET_ADMIN))
            return -EPERM;
        (name == SO_SNDBUFFORCE ? set_send_buffer : set_receive_buffer)(s, MAX(value, 0));
        return 0;
    case SO_PRIORITY:
        if ((value < 0 || value > 6) && !capable(CAP_NET_ADMIN) && !capable(CAP_NET_RAW))
            return -EPERM;
        s->priority = value;
        return 0;
    case SO_MARK:
        if (!capable(CAP_NET_ADMIN) && !capable(CAP_NET_RAW))
            return -EPERM;
        s->mark = value;
        return 0;
    case SO_RCVLOWAT: s->low_water = value < 0 ? INT32_MAX : value ? value : 1; return 0;
    case SO_BSDCOMPAT: return 0;
    case SO_PEEK_OFF:
        if (!s->ops->peeks_at_offset)
            return -EOPNOTSUPP;
        if (value < -1)
            return -EINVAL;
        s->peek_offset = value;
        return 0;
    case SO_BUF_LOCK:
        if (value & ~(SOCK_SNDBUF_LOCK | SOCK_RCVBUF_LOCK))
            return -EINVAL;
        set_bit(s, SOCKET_SNDBUF_LOCKED, value & SOCK_SNDBUF_LOCK);
        set_bit(s, SOCKET_RCVBUF_LOCKED, value & SOCK_RCVBUF_LOCK);
        return 0;
    case SO_TIMESTAMP_OLD:
    case SO_TIMESTAMP_NEW:
    case SO_TIMESTAMPNS_OLD:
    case SO_TIMESTAMPNS_NEW: return set_timestamp(s, name, value);
    case SO_BINDTOIFINDEX: return socket_set_interface(s, value);
    case SO_LOCK_FILTER:
        if (socket_bit(s, SOCKET_LOCK_FILTER) && !value)
            return -EPERM;
        set_bit(s, SOCKET_LOCK_FILTER, value);
        return 0;
    case SO_DETACH_FILTER: return socket_bit(s, SOCKET_LOCK_FILTER) ? -EPERM : -ENOENT;
    case SO_ATTACH_FILTER:
        log_once(LOG_WARN, "setsockopt(2): SO_ATTACH_FILTER is not supported (ENOPROTOOPT)");
        return -ENOPROTOOPT;
    case SO_ZEROCOPY: return -ENOTSUPP;
    }
    int bit = bit_of(name);
    if (bit < 0)
        return -ENOPROTOOPT;
    if (name == SO_DEBUG && value && !capable(CAP_NET_ADMIN))
        return -EACCES;
    if ((name == SO_PASSCRED || name == SO_PASSSEC) && !s->ops->passes_control)
        return -EOPNOTSUPP;
    set_bit(s, bit, value);
    return 0;
}

int socket_set_option(struct socket *s, int level, int name, const void *value, unsigned len) {
    if (level != SOL_SOCKET)
        return s->ops->set_option ? s->ops->set_option(s, level, name, value, len) : -EOPNOTSUPP;
    int number, err;
    if (name == SO_BINDTODEVICE)
        return socket_set_interface_name(s, value, len);
    if (len < sizeof(number))
        return -EINVAL;
    memcpy(&number, value, sizeof(number));
    switch (name) {
    case SO_RCVTIMEO_OLD:
    case SO_RCVTIMEO_NEW: err = set_timeout(&s->receive_timeout, value, len); break;
    case SO_SNDTIMEO_OLD:
    case SO_SNDTIMEO_NEW: err = set_timeout(&s->send_timeout, value, len); break;
    case SO_LINGER: err = set_linger(s, value, len); break;
    default: err = set_int(s, name, number); break;
    }
    if (err == 0 && s->ops->option_changed)
        s->ops->option_changed(s, name);
    return err;
}

// --- Getting ---

static int put(void *to, unsigned *len, const void *from, unsigned size) {
    *len = MIN(*len, size);
    memcpy(to, from, *len);
    return 0;
}

static int get_timeout(nsec_t timeout, void *value, unsigned *len) {
    struct timeval_option tv = {0, 0};
    if (timeout != NSEC_MAX)
        tv = (struct timeval_option){timeout / NSEC_PER_SEC, timeout % NSEC_PER_SEC / NSEC_PER_USEC};
    return put(value, len, &tv, sizeof(tv));
}

static struct peer_credentials *peer_get(struct socket *s) {
    spin_lock(&s->lock);
    struct peer_credentials *c = s->peer;
    if (c)
        atomic_add(&c->refs, 1);
    spin_unlock(&s->lock);
    return c;
}

static int get_peer_credentials(struct socket *s, void *value, unsigned *len) {
    struct peer_credentials *c = peer_get(s);
    struct {
        int pid;
        uint32_t uid, gid;
    } ucred = {0, ~0u, ~0u};
    if (c) {
        ucred.pid = c->pid;
        ucred.uid = c->uid;
        ucred.gid = c->gid;
        peer_credentials_unref(c);
    }
    return put(value, len, &ucred, sizeof(ucred));
}

static int get_peer_groups(struct socket *s, void *value, unsigned *len) {
    struct peer_credentials *c = peer_get(s);
    if (!c)
        return -ENODATA;
    unsigned size = c->groups ? c->groups->count * sizeof(c->groups->gid[0]) : 0;
    int err = *len < size ? -ERANGE : 0;
    *len = size; // told in either case
    if (!err && size)
        memcpy(value, c->groups->gid, size);
    peer_credentials_unref(c);
    return err;
}

static int get_peer_name(struct socket *s, void *value, unsigned *len) {
    struct socket_address a;
    int err = s->ops->name ? s->ops->name(s, &a, true) : -EOPNOTSUPP;
    if (err < 0)
        return -ENOTCONN;
    return a.len < *len ? -EINVAL : put(value, len, a.data, a.len);
}

static int get_cookie(struct socket *s, void *value, unsigned *len) {
    static uint64_t last;
    if (*len < sizeof(s->cookie))
        return -EINVAL;
    spin_lock(&s->lock);
    if (!s->cookie)
        s->cookie = atomic_add(&last, 1) + 1;
    spin_unlock(&s->lock);
    return put(value, len, &s->cookie, sizeof(s->cookie));
}

static int get_namespace(void *value, unsigned *len) { // there is one
    uint64_t cookie = 1;
    return *len != sizeof(cookie) ? -EINVAL : put(value, len, &cookie, sizeof(cookie));
}

static int get_int(struct socket *s, int name, int *value) {
    switch (name) {
    case SO_TYPE: *value = s->type; return 0;
    case SO_DOMAIN: *value = s->family; return 0;
    case SO_PROTOCOL: *value = s->protocol; return 0;
    case SO_ERROR: *value = -socket_error(s); return 0;
    case SO_SNDBUF: *value = s->send_buffer; return 0;
    case SO_RCVBUF: *value = s->receive_buffer; return 0;
    case SO_RCVLOWAT: *value = s->low_water; return 0;
    case SO_SNDLOWAT: *value = 1; return 0;
    case SO_PRIORITY: *value = s->priority; return 0;
    case SO_MARK: *value = s->mark; return 0;
    case SO_BSDCOMPAT: *value = 0; return 0;
    case SO_ACCEPTCONN: *value = s->listening; return 0;
    case SO_PEEK_OFF:
        if (!s->ops->peeks_at_offset)
            return -EOPNOTSUPP;
        *value = s->peek_offset;
        return 0;
    case SO_TIMESTAMP_OLD:
    case SO_TIMESTAMP_NEW:
    case SO_TIMESTAMPNS_OLD:
    case SO_TIMESTAMPNS_NEW: *value = get_timestamp(s, name); return 0;
    case SO_BINDTOIFINDEX:
        *value = socket_get_interface(s);
        return *value < 0 ? *value : 0;
    case SO_LOCK_FILTER: *value = socket_bit(s, SOCKET_LOCK_FILTER); return 0;
    case SO_INCOMING_NAPI_ID:
    case SO_ZEROCOPY: *value = 0; return 0;
    case SO_INCOMING_CPU: *value = -1; return 0;
    case SO_BUF_LOCK:
        *value = (socket_bit(s, SOCKET_SNDBUF_LOCKED) ? SOCK_SNDBUF_LOCK : 0) |
                 (socket_bit(s, SOCKET_RCVBUF_LOCKED) ? SOCK_RCVBUF_LOCK : 0);
        return 0;
    }
    int bit = bit_of(name);
    if (bit < 0)
        return -ENOPROTOOPT;
    *value = socket_bit(s, bit);
    return 0;
}

int socket_get_option(struct socket *s, int level, int name, void *value, unsigned *len) {
    if (level != SOL_SOCKET)
        return s->ops->get_option ? s->ops->get_option(s, level, name, value, len) : -EOPNOTSUPP;
    switch (name) {
    case SO_RCVTIMEO_OLD:
    case SO_RCVTIMEO_NEW: return get_timeout(s->receive_timeout, value, len);
    case SO_SNDTIMEO_OLD:
    case SO_SNDTIMEO_NEW: return get_timeout(s->send_timeout, value, len);
    case SO_LINGER: {
        struct linger l = {socket_bit(s, SOCKET_LINGER), s->linger};
        return put(value, len, &l, sizeof(l));
    }
    case SO_PEERCRED: return get_peer_credentials(s, value, len);
    case SO_PEERGROUPS: return get_peer_groups(s, value, len);
    case SO_PEERNAME: return get_peer_name(s, value, len);
    case SO_COOKIE: return get_cookie(s, value, len);
    case SO_NETNS_COOKIE: return get_namespace(value, len);
    case SO_BINDTODEVICE: return socket_get_interface_name(s, value, len);
    }
    int number, err = get_int(s, name, &number);
    return err < 0 ? err : put(value, len, &number, sizeof(number));
}
