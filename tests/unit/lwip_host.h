/* The network stack on the host: lwIP and its port with a clock, memory and an interface of the test. */
#ifndef TESTS_UNIT_LWIP_HOST_H
#define TESTS_UNIT_LWIP_HOST_H

#include "net/lwip/stack.h"

extern nsec_t host_now;
extern bool host_timer_armed;   /* the kernel's one timer of the stack */
extern nsec_t host_timer_at;
extern long host_objects;       /* allocated */
extern unsigned host_fail_every; /* each so many allocations one fails; 0: none */
extern unsigned host_assertions; /* of lwIP that failed: reported */

/* An interface eth0 with 10.0.0.1/24 and fe80::1, whose frames go to `sent` (without Ethernet header, in one piece; `gso`: more than the MTU
 * of 1500 are let through). */
extern void (*host_sent)(const uint8_t *packet, unsigned len);
void host_start(bool gso);
extern struct net_interface host_eth;
/* A packet, or a frame with its header, comes; it is copied into pieces of at most `piece` bytes. Takes the core lock. */
void host_receive(const void *packet, unsigned len, unsigned piece);
void host_receive_frame(const void *frame, unsigned len, unsigned piece);
void host_run(nsec_t ns); /* timers, for so long */

/* Packets of IPv4. The checksums are filled in. */
unsigned host_tcp(uint8_t *packet, uint32_t from, uint16_t from_port, uint16_t to_port, uint32_t seq, uint32_t ack, unsigned flags, unsigned window,
                  const void *data, unsigned len); /* to 10.0.0.1; addresses and ports in the host's order. The packet's length */

#endif
