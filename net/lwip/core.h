// lwIP's port: one lock around the stack, its clock, its memory, and the way from and to the devices.
//
// Every call into lwIP, and every field of an lwIP structure, is under the core lock, and so are lwIP's callbacks. It is a spinlock that
// no interrupt handler takes: what holds it never sleeps, never copies from or to the application, and is short (one packet, one
// system call's worth of segments). Frames come in by deferred work (kernel/threads/deferred.h).
//
// Lock order: core lock > socket.lock > wait queues. Nobody takes the core lock while he holds a socket.lock.
#ifndef NET_LWIP_CORE_H
#define NET_LWIP_CORE_H

#include "kernel/netdev.h"
#include "kernel/types.h"
#include "lwip/ip_addr.h"
#include "lwip/netif.h"

struct tcp_pcb;

// Starts lwIP with the loopback interface when it has not been: the first socket of AF_INET or a device does. Any thread. 0 or -ENOMEM.
int net_start(void);
void net_lock(void);
void net_unlock(void); // also tells the devices of what was queued for them
// For waits: looks whether a device has something, at the price of a few instructions when none has. No lock held.
void net_poll(void);
// Before a wait for pbufs that the devices have: they come back soon, without it perhaps only with the next packet. No lock held.
void net_sent_wanted(void);

int net_errno(err_t err); // ERR_OK: 0, else -errno

// --- Interfaces: lo is 1, eth0 is 2, ... ---
struct net_interface {
    struct netif netif;        // lwIP's: addresses, flags
    struct net_device *device; // NULL: loopback
    char name[16];
    int index;
    uint32_t mtu;              // lwIP's own may differ while it sends large segments
    bool up;                   // as the administrator wants it (IFF_UP)
    ip6_addr_t gateway6;       // configured; any: routers tell
    uint8_t prefix6[LWIP_IPV6_NUM_ADDRESSES]; // of netif.ip6_addr; 0: 64, for which lwIP takes all
    enum { NET_STATIC, NET_DHCP } how;
    struct net_statistics statistics; // loopback's own
    bool kick_wanted;          // packets or buffers were queued: net_unlock tells the device (set net_kick_wanted, too)
    struct net_interface *next; // by index
};
// pbuf.flags of a UDP packet that is not longer than the MTU: the checksum is to be filled in on the way out, by the device or here. Other
// packets of UDP carry theirs.
#define NET_PBUF_CHECKSUM 0x40u
// pbuf.flags of a long TCP segment's first pbuf: the device is to cut it into frames of gso_size bytes of payload. Without it by the MTU.
#define NET_PBUF_GSO 0x80u
// Under the core lock. NULL starts; NULL: no more.
struct net_interface *net_interface_next(struct net_interface *i);
struct net_interface *net_interface_find(int index);           // NULL: none
struct net_interface *net_interface_find_name(const char *name);
const struct net_statistics *net_interface_statistics(const struct net_interface *i);
static inline struct net_interface *netif_interface(struct netif *n) { return container_of(n, struct net_interface, netif); }

// Bits of an IPv4 mask in network order.
static inline unsigned net_mask_bits(uint32_t mask) {
    return mask ? 32 - (unsigned)__builtin_ctz(__builtin_bswap32(mask)) : 0;
}

// The machine's routes, as the tables of lwIP imply them (addresses of interfaces, default gateways) and as they were added.
struct net_route {
    ip_addr_t destination; // all zero: default
    unsigned prefix;       // bits
    ip_addr_t gateway;     // any: none, it is a link route
    struct net_interface *interface;
    ip_addr_t source;      // preferred; any: none
    unsigned metric;
};
// Calls fn for each; true ends it. Under the core lock.
void net_route_each(bool (*fn)(void *ctx, const struct net_route *r), void *ctx);
bool net_address_is_local(const ip_addr_t *a); // of some interface, or loopback (127/8, ::1). Under the core lock
// The interface and source address that a packet to `to` would use; false: no route. bound: interface index or 0. Under the core lock.
bool net_route_find(const ip_addr_t *to, int bound, struct net_interface **interface, ip_addr_t *source);

// --- Changes that an administrator makes (netlink, ioctl). Under the core lock. 0 or -errno ---
int net_route_add(const struct net_route *r);          // route.c: -EEXIST, -ENETUNREACH (the gateway), -ENOBUFS, -EOPNOTSUPP
int net_route_remove(const struct net_route *r);       // prefix, metric, and where they are not NULL or any gateway and interface. -ESRCH
int net_interface_set_up(struct net_interface *i, bool up);        // administer.c, these and the following
int net_interface_set_mtu(struct net_interface *i, uint32_t mtu);  // -EINVAL
// An interface has one address of IPv4 and a few of IPv6. -EEXIST, -ENOBUFS: no place; -EADDRNOTAVAIL: it has not that address.
int net_address_add(struct net_interface *i, const ip_addr_t *a, unsigned prefix);
int net_address_remove(struct net_interface *i, const ip_addr_t *a, unsigned prefix);
unsigned net_address_prefix(const struct net_interface *i, const ip_addr_t *a); // of an address that it has

// --- TCP's connections in buckets ---
// lwIP keeps its connections in one list that it searches from the front. Here the list that lwIP sees is one of many, chosen by the
// connection's addresses and ports before lwIP is called (net/lwip/tcp_buckets.c). Every call into lwIP's TCP with a connection that has a
// peer is between these two; so is tcp_connect, after the local port is chosen (bound) and with the addresses of the new connection.
void tcp_bucket_enter(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote, uint16_t remote_port);
void tcp_bucket_enter_pcb(const struct tcp_pcb *pcb);
void tcp_bucket_leave(void);
// Visits every connection (not listening ones): fn returns true to end. Under the core lock, for /proc/net/tcp and netlink.
void tcp_bucket_each(bool (*fn)(void *ctx, struct tcp_pcb *pcb), void *ctx);
// A connection whose socket is gone: so long it stays in FIN-WAIT-2. 0: it is reset as soon as it comes there. In the bucket.
void tcp_bucket_fin_wait(struct tcp_pcb *pcb, unsigned seconds);
// A connection in SYN-RCVD: the next SYN-ACK is sent after that time, and until then it does not grow old. In the bucket.
void tcp_bucket_defer(struct tcp_pcb *pcb, unsigned seconds);
// The connection with these addresses, with or without a socket, or NULL. In its bucket.
struct tcp_pcb *tcp_bucket_find(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote, uint16_t remote_port);
// lwIP's listeners are in a table by their port: calls that make, look for or end one at that port are between these two.
void tcp_listeners_enter(uint16_t port);
void tcp_listeners_leave(void);
void tcp_bucket_timer(void); // lwIP's tcp_tmr for all of them

// A pcb's ext-args besides the socket's: tcp_buckets.c, tcp_count.c.
#define NET_TCP_TIME 1
#define NET_TCP_COUNTS 2
struct net_tcp_counts { // of a connection that has a socket; retransmissions are in all counts
    uint32_t segments_out, segments_in, data_out, data_in, resent;
    uint32_t rtt, rtt_variation, least_rtt; // microseconds; 0: not known yet
    uint32_t rtt_in;   // ms, the least that the peer's echoes of our clock told; NET_RTT_UNKNOWN
    uint64_t bytes_resent;
    nsec_t last_sent, last_received, last_ack; // data, data, any
    nsec_t timed_since;
    uint32_t timed; // when this is acknowledged the round trip that began then is over
    bool timing;
};
#define NET_RTT_UNKNOWN UINT32_MAX
void net_tcp_count_into(struct tcp_pcb *pcb, struct net_tcp_counts *c); // or nowhere any more (NULL)

// tcp_write of n bytes at `data`, in pages whose contents stay until they are acknowledged: by reference, in segments larger than the
// MSS where the device cuts them itself. In the bucket. err_t of tcp_write.
err_t net_tcp_write(struct tcp_pcb *pcb, const void *data, size_t n, uint8_t flags);
void net_tcp_path_mtu(struct tcp_pcb *pcb, unsigned mtu); // no larger packet goes through: segments become smaller. In the bucket
unsigned net_tcp_largest(const struct tcp_pcb *pcb); // bytes in a segment, before the device cuts it
err_t net_tcp_output(struct tcp_pcb *pcb); // tcp_output for such segments

#endif
