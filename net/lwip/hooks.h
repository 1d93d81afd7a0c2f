// Where lwIP asks Knarr on its way (LWIP_HOOK_FILENAME; the macros are in lwipopts.h).
#ifndef NET_LWIP_HOOKS_H
#define NET_LWIP_HOOKS_H

#include "lwip/err.h"
#include "lwip/ip_addr.h"

struct netif;
struct pbuf;
struct tcp_hdr;
struct tcp_pcb;

// net/lwip/core.c. RFC 6528: a clock of 4 us and a keyed hash of the connection.
u32_t net_tcp_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote, u16_t remote_port);

u16_t net_out_of_order_limit(void); // net/lwip/memory.c: TCP_OOSEQ_PBUFS_LIMIT

// net/inet/tcp_pcb_listen.c
err_t net_tcp_half_open(struct tcp_pcb *pcb, const struct tcp_hdr *h, const struct pbuf *p);

// net/lwip/tcp_count.c: a segment goes (`options` comes back), has come for this connection
u32_t *net_tcp_goes(const struct pbuf *p, const struct tcp_hdr *h, const struct tcp_pcb *pcb, u32_t *options);
void net_tcp_comes(const struct tcp_pcb *pcb, const struct tcp_hdr *h, const struct pbuf *p);

u16_t net_checksum(const void *data, int len); // net/lwip/checksum.c

// net/lwip/config.c
void dns_setserver(u8_t n, const ip_addr_t *address); // lwIP's own prototype is there in the files that call it
const ip_addr_t *dns_getserver(u8_t n);
void net_dhcp_option(struct netif *n, u8_t option, u8_t len, const struct pbuf *p, u16_t at);

// net/lwip/route.c. NULL: as lwIP finds it.
struct netif *net_route4(const ip4_addr_t *src, const ip4_addr_t *dest);
struct netif *net_route6(const ip6_addr_t *src, const ip6_addr_t *dest);
const ip4_addr_t *net_gateway4(struct netif *netif, const ip4_addr_t *dest);
const ip6_addr_t *net_gateway6(struct netif *netif, const ip6_addr_t *dest);

#endif
