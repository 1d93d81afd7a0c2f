// AF_INET and AF_INET6: what TCP, UDP and raw sockets share. Addresses and ports, options of IPPROTO_IP and IPPROTO_IPV6.
// Locks: an inet_socket's fields are under the core lock (net/lwip/core.h), which is also where lwIP's callbacks come; what is waited for
// (readable, writable) is woken under it. Ports: a lock of their own below the core lock (net/inet/ports.c).
#ifndef NET_INET_H
#define NET_INET_H

#include "kernel/list.h"
#include "kernel/memory/uio.h"
#include "net/lwip/core.h"
#include "net/socket.h"
#include <linux/in.h>
#include <linux/in6.h>

struct inet_port;

// A socket's claim on a port.
struct inet_bind {
    struct list link;       // in the port's list
    struct inet_port *port; // NULL: none
    bool shared;            // a connection: it is not found by inet_port_find
};

enum inet_receive { // bits of inet_options.receive: what recvmsg(2) tells beside a message, in the order in which it does
    INET_RECEIVE_PKTINFO, INET_RECEIVE_TTL, INET_RECEIVE_TOS, INET_RECEIVE_OPTS, INET_RECEIVE_RETOPTS, INET_RECEIVE_PASSSEC,
    INET_RECEIVE_ORIGDSTADDR, INET_RECEIVE_CHECKSUM, INET_RECEIVE_FRAGSIZE,
    INET_RECEIVE_PKTINFO6, INET_RECEIVE_PKTINFO6_OLD, INET_RECEIVE_HOPLIMIT, INET_RECEIVE_HOPLIMIT_OLD, INET_RECEIVE_TCLASS,
    INET_RECEIVE_FLOWINFO, INET_RECEIVE_HOPOPTS, INET_RECEIVE_HOPOPTS_OLD, INET_RECEIVE_DSTOPTS, INET_RECEIVE_DSTOPTS_OLD,
    INET_RECEIVE_RTHDR, INET_RECEIVE_RTHDR_OLD, INET_RECEIVE_PATHMTU, INET_RECEIVE_ORIGDSTADDR6, INET_RECEIVE_FRAGSIZE6,
};

struct inet_options { // of IPPROTO_IP and IPPROTO_IPV6
    int16_t ttl, hops, multicast_ttl, multicast_hops; // -1: the system's
    uint8_t tos, traffic_class, min_ttl, min_hops;
    bool v6only, freebind, transparent, recverr, recverr6, header_included, multicast_loop, multicast_loop6, multicast_all;
    bool recverr_rfc4884, recverr6_rfc4884, multicast_all6, dont_fragment6, auto_flowlabel, flow_send, no_port_yet, no_fragments, router_alert;
    uint8_t address_preferences;    // IPV6_ADDR_PREFERENCES
    uint16_t port_low, port_high;   // IP_LOCAL_PORT_RANGE; 0: the system's
    uint32_t receive;       // IP_PKTINFO, IP_RECVTTL, ... as 1 << INET_RECEIVE_*
    int unicast_if, unicast_if6;    // IP_UNICAST_IF
    int multicast_if, multicast_if6; // interface indices, 0: by route
    ip_addr_t multicast_address;     // IP_MULTICAST_IF by address
    int mtu_discover, mtu_discover6;
    struct inet_membership *memberships;
};

struct inet_socket {
    struct socket socket;
    ip_addr_t local, remote; // the type of `local` is IPADDR_TYPE_ANY for an AF_INET6 socket that serves both
    uint16_t local_port, remote_port; // host order; 0: none
    int interface;           // SO_BINDTODEVICE: its index, 0: any
    struct inet_bind bind;
    bool bound_address;      // bind(2) gave an address (SOCK_BINDADDR_LOCK), bound_port: and a port
    bool bound_port;
    uint32_t uid;            // who made it: SO_REUSEPORT is for sockets of one user
    struct inet_options options;
    struct list link;        // of all sockets of its protocol: /proc/net, netlink
};
static inline struct inet_socket *inet_of(struct socket *s) { return container_of(s, struct inet_socket, socket); }


// --- net/inet/family.c: socket(2) ---
void inet_init_socket(struct inet_socket *s, const struct socket_ops *ops, int family, int type, int protocol); // and net_start before
struct socket *tcp_create(int family);                              // ERR_PTR
struct socket *udp_create(int family, int protocol);                // IPPROTO_UDP
struct socket *raw_create(int family, int protocol);                // SOCK_RAW: CAP_NET_RAW
struct socket *ping_create(int family);                             // SOCK_DGRAM of IPPROTO_ICMP, IPPROTO_ICMPV6

// --- net/inet/address.c ---
// What bind, connect and sendto are given: family, length, scope. An IPv4-mapped IPv6 address becomes IPv4. 0, -EINVAL, -EAFNOSUPPORT,
// -ENETUNREACH (v4-mapped on a socket that is IPv6 only). *scope: the interface of a link-local address, or 0.
int inet_address_in(struct inet_socket *s, const struct socket_address *a, ip_addr_t *ip, uint16_t *port, int *scope);
// As the socket's family shows it (IPv4 as ::ffff:a.b.c.d in AF_INET6).
void inet_address_out(const struct inet_socket *s, const ip_addr_t *ip, uint16_t port, struct socket_address *a);
int inet_name(struct socket *s, struct socket_address *a, bool peer); // getsockname, getpeername of all
// bind(2)'s checks of the address: -EADDRNOTAVAIL, -EACCES (ports below 1024 without CAP_NET_BIND_SERVICE). Under the core lock.
int inet_bind_allowed(struct inet_socket *s, const ip_addr_t *ip, uint16_t port);
// What bind(2) is given, before inet_bind_allowed: as inet_address_in, with bind's errors. The address of :: is IPADDR_TYPE_ANY where the socket
// serves both.
int inet_bind_address(struct inet_socket *s, const struct socket_address *a, ip_addr_t *ip, uint16_t *port);

// --- net/inet/ports.c: who has which port, with Linux's rules of SO_REUSEADDR and SO_REUSEPORT ---
enum inet_port_space { PORTS_TCP, PORTS_UDP };
// Claims `port` (0: a free one of ip_local_port_range) at `local` for the socket and sets local, local_port. 0, -EADDRINUSE, -ENOMEM.
int inet_port_claim(enum inet_port_space space, struct inet_socket *s, const ip_addr_t *local, uint16_t port);
// For connect without bind: a local port that no connection to this peer uses; ports may be shared with those to other peers.
// Both set local, remote and remote_port. -EADDRNOTAVAIL: none is left, or the bound port has such a connection.
int inet_port_connect(struct inet_socket *s, const ip_addr_t *local, const ip_addr_t *remote, uint16_t remote_port); // bound before
int inet_port_claim_for_peer(struct inet_socket *s, const ip_addr_t *local, const ip_addr_t *remote, uint16_t remote_port);
void inet_port_share(struct inet_socket *listener, struct inet_socket *accepted); // the accepted socket stands at the same port
void inet_port_release(struct inet_socket *s);
// listen(2): whether the rules still hold when the socket (socket.listening set) is a listener. 0 or -EADDRINUSE.
int inet_port_recheck(enum inet_port_space space, struct inet_socket *s);
// The port stays taken for those without SO_REUSEADDR until `until`, as by a connection in TIME-WAIT that has no socket any more.
void inet_port_linger(const struct inet_socket *s, nsec_t until);
// The best listener (TCP), or receiver (UDP), for what comes to local:local_port from remote:remote_port: most specific address first,
// then by hash among those with SO_REUSEPORT. Referenced, or NULL. Under the core lock.
struct inet_socket *inet_port_find(enum inet_port_space space, const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote,
                                   uint16_t remote_port, int interface);
// Calls fn for each socket of the space that has the port (multicast, broadcast). Under the core lock.
void inet_port_each(enum inet_port_space space, uint16_t port, void (*fn)(void *ctx, struct inet_socket *s), void *ctx);

// --- net/inet/option.c, multicast.c ---
int inet_set_option(struct socket *s, int level, int name, const void *value, unsigned len); // IPPROTO_IP, IPPROTO_IPV6
int inet_get_option(struct socket *s, int level, int name, void *value, unsigned *len);
void inet_options_free(struct inet_socket *s); // leaves all groups

// --- For /proc/net and netlink: all sockets of a protocol. Under the core lock ---
enum inet_table { TABLE_TCP, TABLE_UDP, TABLE_RAW, TABLE_PING };
struct inet_row { // what a line of /proc/net/tcp shows
    const struct inet_socket *socket; // NULL: in TIME-WAIT, or closed and not done yet
    ip_addr_t local, remote;
    uint16_t local_port, remote_port;
    uint8_t state;                    // as Linux counts: TCP_ESTABLISHED 1, ...
    uint32_t send_queue, receive_queue, retransmits;
    nsec_t timer;                     // until the retransmission; 0: none
    uint64_t inode;
    uint32_t uid;
    uint32_t drops;                   // datagrams that found the queue full
};
void inet_each(enum inet_table table, bool (*fn)(void *ctx, const struct inet_row *row), void *ctx);

#endif
