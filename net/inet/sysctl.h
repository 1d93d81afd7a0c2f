// The network's settings: /proc/sys/net/. Plain words, read without a lock at each decision (READ_ONCE); fs/procfs_sysctl_net.c writes them.
// Who decides reads; what nobody here decides has no variable, and its file says a fixed value, read-only.
#ifndef NET_INET_SYSCTL_H
#define NET_INET_SYSCTL_H

#include "kernel/types.h"

struct net_settings {
    // net.core
    uint32_t somaxconn;                  // the longest backlog that listen(2) gives
    uint32_t rmem_default, rmem_max;     // SO_RCVBUF: of a new socket; the most that one may ask for. Bytes, as Linux counts (undoubled)
    uint32_t wmem_default, wmem_max;     // SO_SNDBUF
    uint32_t optmem_max;                 // control messages of a sendmsg(2)
    // net.ipv4
    uint32_t port_first, port_last;      // ip_local_port_range
    uint32_t unprivileged_port_start;    // ports below ask for CAP_NET_BIND_SERVICE. 0, as in Docker's containers
    uint32_t ping_group_first, ping_group_last; // groups that may have SOCK_DGRAM of IPPROTO_ICMP: all, as in Docker's containers
    uint32_t default_ttl;                // ip_default_ttl, 1 to 255
    uint32_t hop_limit;                  // net.ipv6.conf.all.hop_limit
    uint32_t nonlocal_bind, nonlocal_bind6; // bind(2) to addresses that are not this machine's
    uint32_t bindv6only;                 // IPV6_V6ONLY of new sockets
    uint32_t tcp_fin_timeout;            // seconds in FIN-WAIT-2 without a socket
    uint32_t tcp_rmem[3], tcp_wmem[3];   // least, first, most of a connection's buffers, bytes: as tcp.c has them
    uint32_t tcp_keepalive_time, tcp_keepalive_intvl; // seconds
    uint32_t tcp_keepalive_probes;
    uint32_t tcp_max_syn_backlog;        // connections of one listener that are not complete
    uint32_t tcp_abort_on_overflow;      // a full backlog: RST
    uint32_t tcp_syn_retries;            // of a SYN that nobody answers; at most 11
    uint32_t igmp_max_memberships;       // groups of one socket
};
extern struct net_settings net_settings; // net/inet/sysctl.c

#endif
