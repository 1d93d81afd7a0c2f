// Network devices: what a driver (virtio-net) offers to the stack above (net/lwip/). The stack declares, the driver fills in.
//
// Received frames lie in pages of their own, `struct net_buffer` at the page's head, and go up without a copy: the stack gives each
// buffer back with net_buffer_free, in any order, from any context. What is sent goes down as pieces of memory that the stack keeps
// until `done`. Interrupts only say that there is something to do: then the stack polls, and turns interrupts on again when it finds
// nothing more (Linux calls this NAPI).
//
// Locks: the stack calls every function of net_device_ops but `notify` under its core lock (net/lwip/core.h), in thread context with
// interrupts on; none of them may sleep. The driver's interrupt handler calls net_device_interrupt and nothing else of the stack.
#ifndef KERNEL_NETDEV_H
#define KERNEL_NETDEV_H

#include "kernel/list.h"
#include "kernel/memory/page.h"
#include "kernel/types.h"

#define ETHERNET_HEADER 14
#define NET_FRAME_MAX (ETHERNET_HEADER + 65535u)

struct net_device;

// A page of a received frame. `data` points into the same page. Longer frames are a chain.
struct net_buffer {
    struct net_buffer *next; // of the same frame; NULL: the last
    uint8_t *data;
    uint32_t len;
    uint32_t total;          // first buffer: bytes of the whole frame, with its Ethernet header
    bool checksum_good;      // first buffer: the device has checked the transport's checksum, or the frame never left this host
    uint64_t owner[10];      // the stack's, from input to net_buffer_free
};
#define NET_BUFFER_ROOM (PAGE_SIZE - sizeof(struct net_buffer)) // bytes that may follow it in its page

static inline void net_buffer_free(struct net_buffer *b) { page_unref(virt_to_page(b)); }

struct net_segment {
    const void *data; // in the direct map, physically contiguous
    uint32_t len;
};

enum net_gso { NET_GSO_NONE, NET_GSO_TCP4, NET_GSO_TCP6 };

#define NET_SEGMENTS_MAX 48
#define NET_HEADROOM 12 // of the driver's own header

// A frame to be sent. It and its segments lie in the direct map. All is the driver's from `send` to `done`; the frame's memory, which
// it only reads, stays the stack's but must not change.
struct net_packet {
    struct net_segment *segments; // [1] to [count] are the frame; [0] is room for the driver, which may write to all of them
    uint32_t len;             // of the frame
    uint16_t count;           // 1 to net_device.segments_max
    uint16_t checksum_start;  // 0: complete as it is. Otherwise the device sums from here to the end and stores the sum
    uint16_t checksum_offset; // at so many bytes behind checksum_start (the field holds the pseudo header's sum)
    uint8_t gso;              // enum net_gso: the device cuts it into frames with
    uint16_t gso_size;        // so many bytes of payload each,
    uint16_t header_len;      // behind headers of this length altogether
    bool headroom;            // the NET_HEADROOM bytes in front of segments[1] are free for the driver
    uint8_t header[NET_HEADROOM] ALIGNED(4); // the driver's otherwise
    void (*done)(struct net_packet *p); // sent, or given up: in `poll` or `send`, under the core lock
    struct list link;         // the stack's
};

struct net_device_ops {
    // Queues a frame; the device may not look before `kick`. 0, -ENOSPC: the queue is full (`done` is not called; poll will make
    // room), -EIO: the device is broken.
    int (*send)(struct net_device *dev, struct net_packet *p);
    // What the device is to be told of, in the driver's terms: `notify` is called with it. 0: it looks by itself, or there is nothing new.
    unsigned (*kick)(struct net_device *dev);
    // Without the core lock, since it takes a virtual machine long; by any number of CPUs.
    void (*notify)(struct net_device *dev, unsigned what);
    // Calls done for what was sent, dev->input for at most `budget` received frames; refills the receive queue, of which `kick` tells
    // the device. Returns frames received, damaged ones among them; `budget`, too, when it ended early for net_device.wanted. A broken
    // device gives everything up.
    unsigned (*poll)(struct net_device *dev, unsigned budget);
    // Asks for an interrupt at the next frame (and when a full queue has room again). False: there are some already, poll again.
    bool (*interrupts_on)(struct net_device *dev);
    // Somebody waits for packets to be sent: there is to be a poll when they are. (Otherwise `done` may be called much later.)
    void (*want_sent)(struct net_device *dev);
    // The set of multicast addresses that is wanted has changed; all: every frame that is multicast. NULL: the device passes all.
    void (*multicast)(struct net_device *dev, const uint8_t (*addresses)[6], unsigned count, bool all);
    // Begins: queues and receive buffers are allocated only now. 0 or -errno. Once, before anything else.
    int (*start)(struct net_device *dev);
};

struct net_statistics { // as /proc/net/dev has them
    uint64_t rx_packets, rx_bytes, rx_errors, rx_dropped, tx_packets, tx_bytes, tx_errors, tx_dropped, multicast;
};

struct net_device {
    const struct net_device_ops *ops;
    char name[16];          // "eth0"
    uint8_t mac[6];
    uint16_t mtu;           // 68 to 65535
    bool checksum;          // net_packet.checksum_start is understood
    bool gso4, gso6;        // and gso
    bool link;              // carrier; the driver changes it in poll
    uint16_t segments_max;
    struct net_statistics statistics; // the driver counts what passes; under the core lock
    void *driver;
    // The stack's.
    void (*input)(struct net_device *dev, struct net_buffer *frame); // takes the frame over
    void (*link_changed)(struct net_device *dev);
    void *stack;
    const uint32_t *wanted; // where it is not 0 another CPU waits for the core lock
    struct net_buffer *spare; // linked by `next`: pages for the driver's next buffers (net_buffer_recycle)
    unsigned spare_count;
    bool polling;           // the stack knows that there is something to do: no interrupt is needed
    struct list link_all;   // of all devices
};

// As net_buffer_free, for the device's next buffer. Under the core lock.
#define NET_SPARE_MOST 64
static inline void net_buffer_recycle(struct net_device *dev, struct net_buffer *b) {
    if (unlikely(dev->spare_count == NET_SPARE_MOST)) {
        net_buffer_free(b);
        return;
    }
    b->next = dev->spare;
    dev->spare = b;
    dev->spare_count++;
}

// In thread context, by a driver's probe: named eth0, eth1, ... in order. The stack starts it later (net_init). 0 or -ENOSPC.
int net_device_register(struct net_device *dev);
struct net_device *net_device_next(struct net_device *dev); // NULL starts; NULL: no more. Devices stay for ever
// Any context: the stack is to poll the device soon. The driver has turned its interrupts off before.
void net_device_interrupt(struct net_device *dev);
// What net_device_interrupt calls; set by the stack when it starts.
extern void (*net_device_wake)(struct net_device *dev);

#endif
