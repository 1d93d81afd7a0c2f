// AF_NETLINK: the parts of net/netlink/. socket.c has the sockets (their names, groups, options), queue.c what they send and receive,
// message.c how messages are built and read; route.c is NETLINK_ROUTE's table of requests, link.c, address.c, routes.c, neighbour.c and
// scheduler.c what they ask about; notify.c tells groups of changes; diag.c is NETLINK_SOCK_DIAG.
// Locks: core lock > netlink_lock (a spinlock: the table of sockets, their port ids and groups) > socket.lock, which protects a socket's queue. A dump is made whole, under the core lock, and then given out as it is read.
#ifndef NET_NETLINK_H
#define NET_NETLINK_H

#include "fs/seqbuf.h"
#include "kernel/list.h"
#include "kernel/memory/uio.h"
#include "net/lwip/core.h"
#include "net/scm.h"
#include "net/socket.h"
#include <linux/netlink.h>

#define SOL_NETLINK 270
#define NETLINK_GROUPS 64 // of a protocol; RTNLGRP_MAX is below

struct netlink_socket {
    struct socket socket;      // first
    struct list link;          // of all. From here to `options` under netlink_lock
    uint32_t port;             // 0: none yet
    bool bound, told;          // has a port id; bind(2) or connect(2) asked for groups or peers
    uint64_t groups;           // bit n - 1: group n
    uint32_t peer, peer_group; // connect(2)
    uint32_t options;          // NETLINK_* as bits
    // Under socket.lock:
    struct list queue;
    uint32_t charged; // bytes in the queue, as they count
    uint32_t drops;
    bool overrun;          // something was lost, the next recvmsg(2) says so
    uint32_t receive_most; // the largest buffer that recvmsg(2) has brought: dumps come in pieces of this size
    bool dumping;
    struct seqbuf dump; // messages that are still to be given out, from `dumped` on
    size_t dumped;
    struct nlmsghdr done; // of NLMSG_DONE, and what it says
    int done_error;
    const char *done_text; // NULL: nothing
};
static inline struct netlink_socket *netlink_of(struct socket *s) {
    return container_of(s, struct netlink_socket, socket);
}
static inline bool netlink_option(const struct netlink_socket *n, int option) {
    return READ_ONCE(n->options) >> option & 1;
}

// A request as its handler sees it.
struct netlink_request {
    struct netlink_socket *from;
    uint32_t port; // the sender's
    const struct nlmsghdr *header;
    const char *error;    // text for the answer (extended ack). NULL: none
    const void *error_at; // the attribute that is wrong. NULL: none
    struct seqbuf *out;   // the answer's messages
    bool multi;           // it is a dump: NLM_F_MULTI in each of them
    bool filtered;        // not of all that there is: NLM_F_DUMP_FILTERED
    bool dumps;           // and there is somebody who makes it: an error is told at its end
};

// --- socket.c ---
extern struct spinlock netlink_lock;
extern struct list netlink_sockets;
int netlink_autobind(struct netlink_socket *n);
bool netlink_allowed(const struct netlink_socket *n);             // may it send to others than the kernel?
struct netlink_socket *netlink_find(int protocol, uint32_t port); // referenced; NULL: none
int netlink_show(struct seqbuf *s);                               // /proc/net/netlink

// --- queue.c ---
int64_t netlink_send(struct socket *s, struct uio *u, struct socket_message *m, int flags);
int64_t netlink_receive(struct socket *s, struct uio *u, struct socket_message *m, int flags);
uint32_t netlink_poll(struct socket *s, struct file *f, struct poll_table *pt);
long netlink_ioctl(struct socket *s, unsigned cmd, uaddr_t arg);
void netlink_queue_free(struct netlink_socket *n);
// One datagram into a socket's queue. 0, -ENOBUFS (full: the socket is told), -ENOMEM.
int netlink_deliver(struct netlink_socket *n, const void *data, size_t len, uint32_t from, unsigned group);
void netlink_multicast(int protocol, unsigned group, const void *data, size_t len, uint32_t from,
                       const struct netlink_socket *except);
bool netlink_has_listeners(int protocol, unsigned group);

// --- message.c ---
// Begins a message with a fixed header of `len` bytes; what follows are attributes. Its place, or NULL: no memory (seqbuf.failed).
struct message {
    struct seqbuf *s;
    size_t at; // of the nlmsghdr
};
struct message message_begin(const struct netlink_request *r, int type, const void *header, size_t len);
void message_end(const struct message *m);
void message_put(const struct message *m, int type, const void *data, size_t len);
static inline void message_put_u8(const struct message *m, int type, uint8_t v) { message_put(m, type, &v, 1); }
static inline void message_put_u32(const struct message *m, int type, uint32_t v) { message_put(m, type, &v, 4); }
void message_put_text(const struct message *m, int type, const char *text);
void message_put_ip(const struct message *m, int type, const ip_addr_t *a); // 4 or 16 bytes
size_t message_nest(const struct message *m, int type);                     // begins; what it returns goes to
void message_nest_end(const struct message *m, size_t nest);

// The attributes behind a request's header of `header` bytes, into at[0..max]: the last of each type; NULL: absent. -EINVAL: too short,
// or `strict` (NETLINK_GET_STRICT_CHK) and trailing bytes or unknown types.
int request_attributes(struct netlink_request *r, size_t header, const struct nlattr **at, int max, bool strict);
const void *request_header(const struct netlink_request *r, size_t len); // NULL: too short
static inline const void *attribute_data(const struct nlattr *a) { return a + 1; }
static inline unsigned attribute_len(const struct nlattr *a) { return a->nla_len - sizeof(*a); }
int attribute_u32(const struct nlattr *a, uint32_t *v);              // 0 or -EINVAL, where it has not 4 bytes
int attribute_ip(const struct nlattr *a, int family, ip_addr_t *ip); // 0 or -EINVAL
int attribute_name(const struct nlattr *a, char name[16]);
int request_fail(struct netlink_request *r, int err, const struct nlattr *at, const char *text); // err
// The answer to a request: an acknowledgement (err 0) or an error.
int netlink_acknowledge(struct netlink_request *r, int err);

// --- The protocols. A request's bytes are in kernel memory. 0: done; an answer in r->out is sent ---
// A dump: the handler makes all of it; -EOPNOTSUPP: there is none.
int rtnetlink_request(struct netlink_request *r); // route.c
int diag_request(struct netlink_request *r);      // diag.c
bool netlink_is_dump(int protocol, const struct nlmsghdr *h);

// --- What NETLINK_ROUTE asks about. dump: all of it; get, change: one ---
int link_dump(struct netlink_request *r);
int link_get(struct netlink_request *r);
int link_change(struct netlink_request *r);
int link6_dump(struct netlink_request *r);
void link_message(const struct netlink_request *r, int type, struct net_interface *i, unsigned flags_changed);
int address_dump(struct netlink_request *r);
int address_get6(struct netlink_request *r);
int address_add(struct netlink_request *r);
int address_delete(struct netlink_request *r);
int route_dump(struct netlink_request *r);
int route_get(struct netlink_request *r);
int route_add(struct netlink_request *r);
int route_delete(struct netlink_request *r);
int neighbour_dump(struct netlink_request *r);
int neighbour_get(struct netlink_request *r);
int rule_dump(struct netlink_request *r);
int qdisc_dump(struct netlink_request *r);
int empty_dump(struct netlink_request *r);
unsigned link_flags(const struct net_interface *i); // IFF_*: also ioctl.c, /sys
unsigned link_operstate(const struct net_interface *i);

void netlink_notify_start(void); // notify.c: from the first socket on

#endif
