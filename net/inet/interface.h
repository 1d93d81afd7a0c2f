// What <linux/if.h> and <linux/if_arp.h> have, which cannot be included without a C library: flags of interfaces, struct ifreq.
#ifndef NET_INET_INTERFACE_H
#define NET_INET_INTERFACE_H

#include "kernel/types.h"

#define IFNAMSIZ 16
#define IFF_UP 0x1
#define IFF_BROADCAST 0x2
#define IFF_LOOPBACK 0x8
#define IFF_RUNNING 0x40
#define IFF_PROMISC 0x100
#define IFF_ALLMULTI 0x200
#define IFF_MULTICAST 0x1000
#define IFF_LOWER_UP 0x10000
#define IFF_SETTABLE (IFF_UP | IFF_PROMISC | IFF_ALLMULTI)

enum { IF_OPER_UNKNOWN, IF_OPER_DOWN = 2, IF_OPER_UP = 6 };

#define ARPHRD_ETHER 1
#define ARPHRD_LOOPBACK 772

#define INTERFACE_MTU_MIN 68u // of Ethernet
#define INTERFACE_MTU_MAX 65535u

struct ifreq {
    char name[IFNAMSIZ];
    union {
        struct {
            uint16_t family;
            char data[14];
        } address;
        struct {
            uint16_t family, port;
            uint32_t ip;
            char zero[8];
        } inet;
        int16_t flags;
        int32_t value; // index, metric, mtu, queue length
        struct {
            uint64_t mem_start, mem_end;
            uint16_t base;
            uint8_t irq, dma, port, spare[3];
        } map;
        char new_name[IFNAMSIZ];
        uint64_t data; // a user address
    };
};
_Static_assert(sizeof(struct ifreq) == 40, "ABI");

#endif
