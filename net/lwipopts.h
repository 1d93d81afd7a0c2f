// lwIP's knobs, one line of reason each. What stands here neither is off or at lwIP's default (lwip/opt.h).
#ifndef NET_LWIPOPTS_H
#define NET_LWIPOPTS_H

// --- The system around it ---
#define NO_SYS 1                   // no threads of its own
#define SYS_LIGHTWEIGHT_PROT 0     // everything is under the core lock, also pbuf_free
#define LWIP_TIMERS 0              // Knarr calls the timers, and only while something needs them (net/lwip/timers.c)
#define LWIP_NETCONN 0             // the raw API alone
#define LWIP_SOCKET 0
#define LWIP_HOOK_FILENAME "net/lwip/hooks.h"
#define LWIP_HOOK_TCP_ISN(local, local_port, remote, remote_port) net_tcp_isn(local, local_port, remote, remote_port)
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, header, options, first, second, p) \
    ((pcb)->state == SYN_RCVD ? net_tcp_half_open(pcb, header, p) : (net_tcp_comes(pcb, header, p), ERR_OK))
#define LWIP_HOOK_TCP_OUT_ADD_TCPOPTS(p, header, pcb, options) net_tcp_goes(p, header, pcb, options)
#define LWIP_HOOK_IP4_ROUTE_SRC(src, dest) net_route4(src, dest)
#define LWIP_HOOK_IP6_ROUTE(src, dest) net_route6(src, dest)
#define LWIP_HOOK_ETHARP_GET_GW(netif, dest) net_gateway4(netif, dest)
#define LWIP_HOOK_DHCP_PARSE_OPTION(netif, dhcp, state, msg, type, option, len, p, offset) net_dhcp_option(netif, option, len, p, offset)
#define LWIP_HOOK_ND6_GET_GW(netif, dest) net_gateway6(netif, dest)
#ifdef KNARR_CHECKED
#define LWIP_ASSERT_CORE_LOCKED() net_assert_locked()
void net_assert_locked(void);
#endif
#define LWIP_PERF 0

// --- Memory: net/lwip/memory.c, caches of the slab allocator, with a limit for all together ---
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define MEM_ALIGNMENT 8
#define LWIP_PBUF_REF_T u16_t      // many segments may refer to one buffer
#define PBUF_POOL_BUFSIZE 1600     // lwIP's own packets; received frames are custom pbufs around the device's pages
#define PBUF_POOL_SIZE 1           // nobody counts them: MEMP_MEM_MALLOC
#define LWIP_PBUF_CUSTOM_DATA u16_t gso_size; // with NET_PBUF_GSO (net/lwip/core.h)
#define PBUF_LINK_ENCAPSULATION_HLEN 18 // NET_HEADROOM, such that the IP header is aligned
#define LWIP_SUPPORT_CUSTOM_PBUF 1 // received frames, socket pages

// --- Statistics: /proc/net/snmp ---
#define LWIP_STATS 1
#define MIB2_STATS 1
#define LINK_STATS 0               // the others would count the same things again
#define ETHARP_STATS 0
#define IP_STATS 0
#define IPFRAG_STATS 0
#define ICMP_STATS 0
#define IGMP_STATS 0
#define UDP_STATS 0
#define TCP_STATS 0
#define MEM_STATS 0
#define MEMP_STATS 0
#define SYS_STATS 0
#define IP6_STATS 0
#define ICMP6_STATS 0
#define IP6_FRAG_STATS 0
#define MLD6_STATS 0
#define ND6_STATS 0

// --- Interfaces ---
#define LWIP_NETIF_HOSTNAME 1            // DHCP tells the host's name
#define LWIP_NETIF_EXT_STATUS_CALLBACK 1 // addresses change: netlink, the configuration
#define LWIP_NETIF_TX_SINGLE_PBUF 0      // frames are lists of pieces
#define LWIP_NETIF_LOOPBACK 0            // net/lwip/loopback.c is the loopback interface
#define LWIP_HAVE_LOOPIF 0
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1   // the device may do them
#define LWIP_CHECKSUM_ON_COPY 0
#define LWIP_CHKSUM net_checksum         // 32 bits a step
unsigned short net_checksum(const void *data, int len);

// --- Neighbours ---
#define LWIP_ARP 1
#define ARP_TABLE_SIZE 64                // searched from the front, one entry a neighbour
#define ARP_QUEUEING 1                   // packets wait for the neighbour's answer
#define ARP_QUEUE_LEN 16                 // so many each
#define ETHARP_SUPPORT_STATIC_ENTRIES 1  // arp -s
#define LWIP_ND6_NUM_NEIGHBORS 64
#define LWIP_ND6_NUM_DESTINATIONS 32
#define LWIP_ND6_NUM_PREFIXES 8
#define LWIP_ND6_NUM_ROUTERS 4
#define MEMP_NUM_ND6_QUEUE 256
#define LWIP_ND6_RDNSS_MAX_DNS_SERVERS 3 // name servers in router advertisements
#define DNS_MAX_SERVERS 3                // of DHCP; the resolver is the application's

// --- IPv4 ---
#define LWIP_IPV4 1
#define IP_FORWARD 0
#define IP_REASSEMBLY 1
#define IP_FRAG 1
#define IP_REASS_MAXAGE 30               // seconds, as ipfrag_time
#define IP_REASS_MAX_PBUFS 256           // all fragments that wait
#define IP_DEFAULT_TTL 64                // as Linux
#define IP_SOF_BROADCAST 0               // SO_BROADCAST is checked by the sockets
#define LWIP_ICMP 1
#define LWIP_BROADCAST_PING 0            // icmp_echo_ignore_broadcasts
#define LWIP_MULTICAST_PING 0
#define LWIP_RAW 1
#define LWIP_IGMP 1
#define LWIP_MULTICAST_TX_OPTIONS 1
#define LWIP_DHCP 1
#define DHCP_DOES_ARP_CHECK 0            // would cost a second at each start
#define LWIP_DHCP_GET_NTP_SRV 0
#define LWIP_DHCP_MAX_DNS_SERVERS 3

// --- IPv6 ---
#define LWIP_IPV6 1
#define LWIP_IPV6_NUM_ADDRESSES 6        // link-local, and those of some prefixes
#define LWIP_IPV6_AUTOCONFIG 1
#define LWIP_IPV6_FORWARD 0
#define LWIP_IPV6_FRAG 1
#define LWIP_IPV6_REASS 1
#define IPV6_FRAG_COPYHEADER 1           // a pointer does not fit where lwIP would put it
#define LWIP_IPV6_DHCP6 0
#define LWIP_IPV6_MLD 1
#define LWIP_ICMP6 1
#define LWIP_ICMP6_HL 64                 // of echo replies and errors, as Linux
#define LWIP_ND6_TCP_REACHABILITY_HINTS 1

// --- UDP ---
#define LWIP_UDP 1
#define LWIP_UDPLITE 0

// --- TCP ---
#define LWIP_TCP 1
#define TCP_MSS 1460                     // at most, and at an MTU of 1500
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 7                  // as Linux with its usual limits
#define TCP_WND 6291456                  // at most (tcp_rmem); sockets begin with less and let it grow
#define TCP_SND_BUF 16777216             // the sockets count what they queue
#define TCP_SND_QUEUELEN 0xffff
#define TCP_SNDLOWAT 32768               // unused by the raw API; must be small enough for a check
#define TCP_OVERSIZE 0                   // segments refer to the sockets' pages
#define LWIP_TCP_TIMESTAMPS 1
#define TCP_QUEUE_OOSEQ 1
#define LWIP_TCP_SACK_OUT 1
#define LWIP_TCP_MAX_SACK_NUM 4
#define TCP_OOSEQ_MAX_BYTES 0            // the window is the limit for bytes,
#define TCP_OOSEQ_MAX_PBUFS 1            // this for small segments, and for all connections together
#define TCP_OOSEQ_PBUFS_LIMIT(pcb) net_out_of_order_limit()
#define TCP_LISTEN_BACKLOG 1
#define LWIP_TCP_PCB_NUM_EXT_ARGS 3      // the socket; NET_TCP_TIME, NET_TCP_COUNTS of net/lwip/core.h
#define LWIP_TCP_KEEPALIVE 1             // TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT
#define TCP_TMR_INTERVAL 50              // ms: delayed ACKs; retransmissions count in twice that, the least timeout is three of these
#define TCP_MSL 30000UL                  // TIME-WAIT is twice that
#define TCP_MAXRTX 12                    // about tcp_retries2
#define TCP_SYNMAXRTX 12                 // at most; TCP_SYNCNT and tcp_syn_retries end it before (net/inet/tcp_pcb.c)
#define SO_REUSE 1                       // net/inet/ports.c decides who may bind; lwIP lets all
#define LWIP_CALLBACK_API 1
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1 // they compare sizes of pools

#endif
