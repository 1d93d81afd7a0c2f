// Sockets of messages: UDP, raw and ping sockets share their queue of datagrams, the errors of ICMP, control messages and the way
// out. A datagram's bytes are copied once, from the sender into the datagram; it goes into the receiver's queue as it is, or
// refers to them while lwIP and the device send it. What a device received stays in lwIP's pbuf.
// Locks: the core lock protects what inet_socket says and the rest of the socket but the queues, which are under socket.lock.
#ifndef NET_DATAGRAM_H
#define NET_DATAGRAM_H

#include "lwip/pbuf.h"
#include "net/inet/inet.h"

#define DATAGRAM_HEADROOM 80 // for the headers of link, IP and transport

struct datagram {
    struct list link;
    uint32_t refs;              // MSG_PEEK, pbufs on their way to a device
    uint32_t len, charge;       // bytes; what it counts against a socket's buffer
    uint16_t from_port, to_port; // host order
    ip_addr_t from, to;
    nsec_t stamp;               // when it came, of CLOCK_REALTIME; 0: nobody asked
    uint16_t interface;
    uint8_t ttl, tos;
    uint8_t source_error;       // of the error queue: SO_EE_ORIGIN_*; 0: a message
    uint8_t error_type, error_code;
    uint16_t error;             // errno
    uint32_t error_info, flow, dropped; // dropped: datagrams that were, before this one (SO_RXQ_OVFL)
    ip_addr_t offender;
    struct datagram_socket *sender; // on its way out: charged, referenced
    struct pbuf *pbuf;          // received: the bytes from `offset` on
    uint16_t offset;
    bool paged;                 // the bytes lie in pages, whose addresses lie in `data`
    struct pbuf_custom out;     // what lwIP sees of it
    char headroom[DATAGRAM_HEADROOM]; // right behind `out`
    char data[] __attribute__((aligned(8)));
};

struct datagram_socket {
    struct inet_socket inet; // first
    // Under socket.lock:
    struct list queue, errors;
    uint32_t charged, drops;
    // Under the core lock:
    bool connected;
    uint8_t shutdown;        // SHUTDOWN_*
    uint32_t sending;        // bytes on their way out, as they are charged; atomic
    union {
        struct { // UDP
            bool corked, gro, no_check6_send, no_check6_receive;
            uint16_t segment;
            struct udp_pending *pending; // MSG_MORE, UDP_CORK
        };
        struct { // raw
            uint32_t icmp_filter, icmp6_filter[8]; // bits of types that do not pass
            int checksum_offset;                   // IPV6_CHECKSUM; -1: none
        };
    };
};
static inline struct datagram_socket *datagram_of(struct socket *s) { return container_of(s, struct datagram_socket, inet.socket); }

// How one message is to be sent: the socket's options and the message's own (control messages).
struct inet_send {
    ip_addr_t to, source;    // source: any, chosen by the route
    uint16_t to_port;
    int interface;           // 0: by route
    int ttl, tos;            // -1: the socket's
    int dont_fragment;       // -1: the socket's
    uint16_t segment;        // UDP_SEGMENT; 0: none
    int protocol;            // raw: IP_PROTOCOL's
};

// --- datagram.c ---
struct datagram_socket *datagram_socket_create(const struct socket_ops *ops, int family, int type, int protocol); // NULL: no memory
// Raw and ping sockets: of AF_INET6 they serve IPv6 only. Into the list of all of them, and out of it when the file is gone.
void datagram_socket_enter(struct datagram_socket *s, struct list *sockets);
void datagram_socket_release(struct socket *so);
void datagram_socket_free(struct socket *so);
void datagram_socket_close(struct datagram_socket *s); // empties the queues; under no lock
struct datagram *datagram_create(size_t len);          // refs 1, without contents. NULL: no memory
int datagram_fill(struct datagram *d, struct uio *u);  // d->len bytes of the uio. 0 or -EFAULT
struct datagram *datagram_read(struct uio *u, size_t len); // both. ERR_PTR(-ENOBUFS, -EFAULT)
size_t datagram_copy(const struct datagram *d, struct uio *u, size_t offset, size_t n); // to the uio; fewer than n on a fault
void datagram_copy_flat(const struct datagram *d, void *to, size_t offset, size_t n);   // offset + n <= len
char *datagram_bytes(struct datagram *d, size_t offset, size_t *n); // of one that datagram_create made: where they are, and how many in one piece
struct datagram *datagram_clone(const struct datagram *d); // with all it says; shares pages and pbufs. Under the core lock. NULL: no memory
void datagram_put(struct datagram *d);                 // drops a reference. Not under the core lock when it may hold a pbuf
void datagram_put_locked(struct datagram *d);          // under the core lock
// A pbuf chain that shows the datagram's bytes, with room for headers in front; it holds a reference of its own. NULL: no memory.
// Under the core lock; once for a datagram.
struct pbuf *datagram_pbuf(struct datagram *d);
// A datagram with the bytes of a pbuf from `offset` on. NULL: no memory.
struct datagram *datagram_copy_pbuf(const struct pbuf *p, unsigned offset);
// The same, which may share the pbuf: for one that nobody else moves headers in any more.
struct datagram *datagram_from_pbuf(struct pbuf *p, unsigned offset);
// Into the socket's queue, which takes it over, also when it drops it. Under the core lock.
bool datagram_enqueue(struct datagram_socket *s, struct datagram *d);
void datagram_enqueue_error(struct datagram_socket *s, struct datagram *d); // the error queue
int64_t datagram_receive(struct socket *s, struct uio *u, struct socket_message *m, int flags);
uint32_t datagram_poll(struct socket *s, struct file *f, struct poll_table *pt);
long datagram_ioctl(struct socket *s, unsigned cmd, uaddr_t arg);
int datagram_shutdown(struct socket *s, int bits);
// Waits for room to send. 0, or -errno with the socket's pending error, -EPIPE, -EAGAIN. No lock.
int datagram_wait_to_send(struct datagram_socket *s, int flags);

// --- datagram_connect.c: bind and connect of UDP, raw and ping sockets ---
int datagram_connect(struct socket *s, const struct socket_address *a, bool nonblock); // the address is not AF_UNSPEC
void datagram_disconnect(struct datagram_socket *s, void (*unbind)(struct datagram_socket *s)); // unbind: under the core lock
void datagram_row(struct datagram_socket *s, struct inet_row *row); // what all show in /proc/net

// --- control.c: control messages ---
int inet_control_in(struct datagram_socket *s, const struct socket_message *m, bool v6, struct inet_send *how); // sendmsg
void inet_control_out(struct datagram_socket *s, const struct datagram *d, struct socket_message *m);           // recvmsg
void inet_control_error(struct datagram_socket *s, const struct datagram *d, struct socket_message *m);         // MSG_ERRQUEUE

// --- output.c: from a socket to lwIP ---
// Fills in what is left open of `how`: the interface and the source address. Under the core lock. 0, -ENETUNREACH, -EACCES
// (broadcast without SO_BROADCAST), -EINVAL. *local: it is an address of this machine.
int inet_route(struct datagram_socket *s, struct inet_send *how, struct net_interface **interface, bool *local);
// Hands a transport's message to IP: `p` begins with the transport's header. Under the core lock; p is not taken over.
int inet_output(struct datagram_socket *s, struct pbuf *p, const struct inet_send *how, struct net_interface *interface, int protocol);
int inet_ttl(const struct inet_socket *s, const struct inet_send *how);
int inet_tos(const struct inet_socket *s, const struct inet_send *how);
int inet_mtu(struct net_interface *i, const ip_addr_t *to); // of the path, as far as it is known

// --- icmp.c: errors ---
// An error for the datagram that from:from_port sent to to:to_port. `quoted`: the message, as far as it is known. Under the core lock.
struct icmp_error {
    bool v6;
    uint8_t type, code;
    uint32_t info;
    ip_addr_t offender;
};
int icmp_errno(const struct icmp_error *e, bool *hard); // positive
void datagram_error(struct datagram_socket *s, const struct icmp_error *e, const struct datagram *quoted);
void icmp_error_input(struct pbuf *p, unsigned offset, bool v6, struct net_interface *in); // an ICMP message has come; `offset` of its header

// --- udp*.c ---
// To the sockets, which take d over; false: nobody wants it, it is still the caller's. Under the core lock.
bool udp_deliver(struct datagram *d, struct net_interface *in, int interface);
bool udp_error(const struct datagram *quoted, const struct icmp_error *e);

// --- raw.c, ping.c. Under the core lock but for message_destination ---
int message_destination(struct datagram_socket *s, const struct socket_address *name, struct inet_send *how); // of raw and ping sockets
void raw_error(const struct datagram *quoted, int protocol, const struct icmp_error *e);
void ping_input(struct pbuf *p, unsigned offset, bool v6, struct net_interface *in); // an ICMP message has come
void ping_error(const struct datagram *quoted, uint16_t id, const struct icmp_error *e);

// --- Their rows of inet_each ---
void udp_each(bool (*fn)(void *ctx, const struct inet_row *row), void *ctx);
void raw_each(bool (*fn)(void *ctx, const struct inet_row *row), void *ctx);
void ping_each(bool (*fn)(void *ctx, const struct inet_row *row), void *ctx);

// --- multicast.c ---
int multicast_set_option(struct inet_socket *s, int level, int name, const void *value, unsigned len); // -ENOPROTOOPT: none of them
bool multicast_wanted(const struct inet_socket *s, const ip_addr_t *group, const ip_addr_t *source, int interface);
bool multicast_member(const ip_addr_t *group, int interface); // is any socket of this machine?

#endif
