// The network's configuration, from the records of the initrd (docs/network.md) and from DHCP and router advertisements.
#ifndef NET_LWIP_CONFIG_H
#define NET_LWIP_CONFIG_H

#include "kernel/types.h"
#include "lwip/ip_addr.h"

// --- For kernel/init.c, in this order ---
// A record: net=, dns=, search=, hosts=. False: it is none of these. The strings stay until net_config_wait is over.
bool net_config_record(const char *name, char *value);
void net_config_start(void); // starts the interfaces, if there is a device; what fails is logged
void net_config_wait(void);  // until those with DHCP have an address, ten seconds at most

// --- For /etc/resolv.conf and /etc/hosts, between the two ends of net_config_wait and the program's start; no lock ---
bool net_config_dns(unsigned n, ip_addr_t *address); // the n-th name server; false: no more
void net_config_dns_wait(void);                      // sleeps until there is a name server
const char *net_config_search(unsigned n);           // NULL: no more
const char *net_config_hosts(unsigned n);            // a line; NULL: no more
bool net_config_any(void);                           // there is an interface besides the loopback

#endif
