// What the files of net/lwip/ share. Everything under the core lock, but where it says otherwise.
#ifndef NET_LWIP_STACK_H
#define NET_LWIP_STACK_H

#include "kernel/log.h"
#include "net/lwip/core.h"

struct tcp_pcb;

// --- core.c ---
void net_interface_add(struct net_interface *i); // into the list of all, after netif_add; gives it its index
extern bool net_kick_wanted; // an interface has queued something and set its kick_wanted: net_unlock tells the device
void net_input_wanted(void);                     // the loopback has queued something: run net_loopback_poll soon

// --- interface.c: a network device as an interface of lwIP ---
// Starts the device and adds its interface, down and without addresses. -ENOMEM.
int net_interface_create(struct net_device *dev);
// net_device_ops.poll, and what has waited for room in the device. A budget of 0: only looks at what has been sent, which lwIP does not send
// again before it has come back.
unsigned net_interface_poll(struct net_interface *i, unsigned budget);

// --- loopback.c ---
int net_loopback_create(void);     // with 127.0.0.1/8 and ::1. -ENOMEM
extern struct net_interface net_loopback;
bool net_loopback_poll(unsigned budget); // input of what was sent; true: there is more

// --- route.c ---
unsigned net_prefix4(const struct net_interface *i);
bool net_prefix_match(const ip_addr_t *a, const ip_addr_t *b, unsigned bits);
void net_routes_forget(const struct net_interface *i); // those that were added: the interface goes down
void net_routes_changed(void); // IPv6's routers, prefixes or gateways may have; addresses and interfaces tell it themselves

// --- timers.c: lwIP's timers, each only while it has something to do ---
void net_timers_init(void);
extern bool net_timers_wanted; // something has happened for which a timer may be needed: net_unlock looks
void net_timers_check(void);
void net_timers_tcp(nsec_t at); // tcp_bucket_timer is wanted at that time. Any earlier wish stays
nsec_t net_now(void);        // the time, read once between net_lock and net_unlock
void net_now_forget(void);

// --- tcp_buckets.c ---
int tcp_bucket_init(void); // -ENOMEM
bool tcp_bucket_reclaim(void); // frees the oldest connection in TIME-WAIT; false: none

// --- tcp_write.c ---
extern bool net_paths_known; // a router has told the MTU of a path

// --- timers.c ---
// An ICMPv6 message at offset `at` that tells an MTU that no path may have (RFC 8201, 4), or one larger than `most`.
bool net_path_mtu_harmful(const struct pbuf *p, unsigned at, uint32_t most);

// --- memory.c ---
extern uint64_t net_received_bytes; // memory of received frames that sockets have not read, or that wait for what is missing before them
unsigned net_memory_count(int type); // objects of a memp_t

#endif
