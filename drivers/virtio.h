// Virtio 1.x: devices, their transports (mmio, PCI), and split virtqueues. Section numbers are those of the OASIS
// specification, version 1.2.
//
// A driver is a struct virtio_driver; drivers.c matches it with the devices that the transports find. Its probe function
// runs with the device reset and acknowledged: it calls virtio_negotiate, virtq_create for each queue, and virtio_start.
//
// The device is not trusted: what it writes is checked against private copies of what was asked for. A device that lies is
// reported once, reset and disabled (dev->broken): its queues take nothing any more and deliver nothing.
//
// Locks: none here. The driver serialises the calls on one queue (its own spinlock, interrupt-safe when a callback uses it).
#ifndef DRIVERS_VIRTIO_H
#define DRIVERS_VIRTIO_H

#include "kernel/types.h"

enum virtio_id { VIRTIO_ID_NET = 1, VIRTIO_ID_BLOCK = 2, VIRTIO_ID_CONSOLE = 3, VIRTIO_ID_RNG = 4, VIRTIO_ID_9P = 9 };

#define VIRTIO_RING_F_INDIRECT_DESC (1UL << 28)
#define VIRTIO_RING_F_EVENT_IDX (1UL << 29)
#define VIRTIO_F_VERSION_1 (1UL << 32)
#define VIRTIO_F_ACCESS_PLATFORM (1UL << 33)

#define VIRTQ_MAX_SIZE 64   // entries of most queues; small, so that the smallest machine can afford them
#define VIRTQ_LIMIT 1024    // of any queue
#define VIRTIO_MAX_QUEUES 8 // of one device, as many as a driver here uses

struct virtio_device;
struct virtqueue;

// What a transport can do; filled in by virtio_mmio.c and virtio_pci.c. Section 2.1 to 2.4, 4.1, 4.2.
struct virtio_transport {
    const char *name;
    uint8_t (*get_status)(struct virtio_device *dev);
    void (*set_status)(struct virtio_device *dev, uint8_t status);
    uint64_t (*get_features)(struct virtio_device *dev);
    void (*set_features)(struct virtio_device *dev, uint64_t features);
    uint16_t (*queue_max)(struct virtio_device *dev, unsigned index); // entries; 0: there is no such queue
    // Tells the device where the queue is and enables it; sets queue->notify_address and its interrupt. 0 or -errno.
    int (*queue_enable)(struct virtio_device *dev, struct virtqueue *q);
    void (*notify)(struct virtqueue *q);
    void (*read_config)(struct virtio_device *dev, unsigned offset, void *buf,
                        unsigned size); // may tear: see virtio_config
    uint32_t (*config_generation)(struct virtio_device *dev);
    // Asks for interrupts when the configuration changes. 0 or -errno. NULL: they come without being asked for.
    int (*watch_config)(struct virtio_device *dev);
};

struct virtio_device {
    const struct virtio_transport *transport;
    void *transport_data;
    enum virtio_id id;
    const char *bus; // for messages, with
    uint64_t place;  // the address, or on PCI bus, slot and function as the configuration space counts them
    uint64_t features;
    bool started, broken;
    struct virtqueue *queues[VIRTIO_MAX_QUEUES];
    unsigned queue_end; // behind the last one
    void (*config_changed)(struct virtio_device *dev); // NULL: nobody cares
    void *driver_data;
};

struct virtio_driver {
    enum virtio_id id;
    const char *name;
    bool several;                            // serves any number of devices; otherwise the first one
    int (*probe)(struct virtio_device *dev); // 0, or -errno: the device is reset and left alone
};

// --- For drivers ---
// Section 3.1.1, steps 4 to 6. `wanted`: features that the driver can use; VERSION_1 is added and must be offered.
int virtio_negotiate(struct virtio_device *dev, uint64_t wanted);
// Step 7. The callback is called in interrupt context when the device has used buffers. NULL on failure, which is logged.
struct virtqueue *virtq_create(struct virtio_device *dev, unsigned index, unsigned size, void (*callback)(void *),
                               void *arg);
void virtio_start(struct virtio_device *dev);                                             // step 8
void virtio_config(struct virtio_device *dev, unsigned offset, void *buf, unsigned size); // consistent, section 2.5.1
// Before virtio_start: fn is called in interrupt context when the configuration has changed, or the device wants to be reset
// (virtio_needs_reset). 0 or -errno: it never will be.
int virtio_watch_config(struct virtio_device *dev, void (*fn)(struct virtio_device *dev));
bool virtio_needs_reset(struct virtio_device *dev);
void virtio_break(struct virtio_device *dev, const char *why) __attribute__((cold));      // the device lies: disable it

struct virtq_buffer {
    void *data; // in the direct map or the kernel image, physically contiguous
    uint32_t len;
};
// Offers a chain of buffers: the first `out` are read by the device, the `in` after them written. `cookie` is not NULL.
// 0, -ENOSPC, or -EIO (broken). The device may not look before virtq_kick.
int virtq_add(struct virtqueue *q, const struct virtq_buffer *buffers, unsigned out, unsigned in, void *cookie);
int virtq_add_in(struct virtqueue *q, void *data, uint32_t len, void *cookie); // the same for one buffer, to be written
// The same with one descriptor of the queue, whatever the number of buffers (at most the queue's size): needs
// VIRTIO_RING_F_INDIRECT_DESC. table[0] to [out + in - 1].buffer are turned into what the device reads; the table is the
// device's until the chain is taken.
union virtq_entry;
int virtq_add_indirect(struct virtqueue *q, union virtq_entry *table, unsigned out, unsigned in, void *cookie);
void virtq_kick(struct virtqueue *q); // notifies the device, unless it asked not to be
// The same in two steps: the look, with the queue's lock, and the telling, which takes a virtual machine long and needs none.
bool virtq_kick_wanted(struct virtqueue *q); // true: virtq_notify is to be called soon
void virtq_notify(struct virtqueue *q);
// The next chain that the device is done with: its cookie, and how many bytes were written to it (never more than `in`
// had room for). NULL: none.
void *virtq_take(struct virtqueue *q, uint32_t *written);
// Of a queue whose device is broken: a cookie that has not come back; each once. NULL: there are no more.
void *virtq_abandon(struct virtqueue *q);
void virtq_interrupts_off(struct virtqueue *q); // a hint: late interrupts still come
// Asks for an interrupt at the next used buffer. False: there are used buffers already; take them, then try again.
bool virtq_interrupts_on(struct virtqueue *q);
// The same, when the device is done with all that it was told of. False: it is.
bool virtq_interrupts_at_end(struct virtqueue *q);
unsigned virtq_free(const struct virtqueue *q); // descriptors
static inline bool virtq_ready(const struct virtqueue *q); // has virtq_take something?

// --- For transports ---
// A device was found (with a device id that is not 0); takes steps 1 to 3 when a driver wants it. 0, or -ENODEV when
// none does or it failed: then the structure may be freed.
int virtio_device_found(struct virtio_device *dev);
bool virtio_wanted(unsigned device_id);           // would a driver take such a device now?
void virtio_interrupt(struct virtio_device *dev); // the device's interrupt: looks at all its queues
void virtio_config_interrupt(struct virtio_device *dev); // the same for changes of the configuration
void virtq_interrupt(struct virtqueue *q);
void virtio_mmio_probe(void); // every virtio_mmio.device= of the command line
void virtio_pci_probe(void);  // every device on the PCI bus

extern const struct virtio_driver virtio_console_driver, virtio_rng_driver, virtio_blk_driver, virtio_9p_driver,
    virtio_net_driver;
extern const struct virtio_driver *const virtio_drivers[]; // drivers.c: all of them, then NULL; at most 32

// Section 2.7: the rings that driver and device share, in guest memory. All little endian.
struct virtq_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};
union virtq_entry {
    struct virtq_buffer buffer;
    struct virtq_desc desc;
};
struct virtq_avail {
    uint16_t flags, index;
    uint16_t ring[]; // then used_event
};
struct virtq_used_element {
    uint32_t id, len;
};
struct virtq_used {
    uint16_t flags, index;
    struct virtq_used_element ring[]; // then avail_event
};
_Static_assert(sizeof(struct virtq_desc) == 16 && sizeof(struct virtq_used_element) == 8,
               "virtio 1.2, 2.7.5 and 2.7.8");

struct virtqueue {
    struct virtio_device *dev;
    uint16_t index, size; // size: a power of two
    struct virtq_desc *desc;
    struct virtq_avail *avail;
    struct virtq_used *used;
    // The driver's own knowledge, which the device cannot reach.
    uint16_t free_head, free_count;
    uint16_t avail_index;  // what avail->index will be
    uint16_t kicked_index; // what it was at the last virtq_kick
    uint16_t used_index;   // chains taken so far
    bool event_index;
    bool no_fences; // see virtqueue.c
    void (*callback)(void *arg);
    void *callback_arg;
    volatile void *notify_address; // the transport's
    struct {
        void *cookie;      // of the chain that this descriptor heads; NULL: heads none
        uint32_t in_bytes; // room that the device may write to
        uint16_t next;     // copy of desc.next: the chain's, or the free list's
        uint16_t count;    // descriptors in the chain
    } state[];             // `size` of them
};

static inline bool virtq_ready(const struct virtqueue *q) { return READ_ONCE(q->used->index) != q->used_index; }

#endif
