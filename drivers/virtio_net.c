// Network cards on virtio network devices (section 5.1): one receive and one transmit queue; the stack polls (kernel/netdev.h).
//
// Receiving: each buffer is a page of its own, the device's header and the frame right behind its struct net_buffer. Frames longer than
// a page come in several buffers where the device can do that (MRG_RXBUF); only then is it let build long ones (GUEST_TSO). A
// buffer that could not be allocated is missing until the next poll, which a timer asks for in case nobody else does.
//
// Sending: the device's header lies in front of the frame or in the packet, whose segments become descriptors in place. Nobody is told of what
// was sent, poll and send look at it by the way; only when the queue was full, or somebody waits for it, an interrupt is asked for.
//
// Nothing is set up in the device before the stack starts it. A device that lies is disabled; the next poll gives up all it had.
// Locks: the stack's core lock serialises all but the interrupt handlers, which touch no queue.
#include "drivers/virtio.h"

#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/netdev.h"
#include "kernel/random.h"
#include "kernel/string.h"
#include "kernel/time.h"

// Section 5.1.3: feature bits
#define F_CSUM (1UL << 0)
#define F_GUEST_CSUM (1UL << 1)
#define F_MTU (1UL << 3)
#define F_MAC (1UL << 5)
#define F_GUEST_TSO4 (1UL << 7)
#define F_GUEST_TSO6 (1UL << 8)
#define F_HOST_TSO4 (1UL << 11)
#define F_HOST_TSO6 (1UL << 12)
#define F_MRG_RXBUF (1UL << 15)
#define F_STATUS (1UL << 16)
#define F_WANTED                                                                                                       \
    (F_CSUM | F_GUEST_CSUM | F_MTU | F_MAC | F_HOST_TSO4 | F_HOST_TSO6 | F_MRG_RXBUF | F_STATUS |                      \
     VIRTIO_RING_F_EVENT_IDX | VIRTIO_RING_F_INDIRECT_DESC)

// Section 5.1.4: the configuration, by offset
#define CONFIG_MAC 0
#define CONFIG_STATUS 6
#define CONFIG_MTU 10
#define STATUS_LINK_UP 1

// Section 5.1.6
struct header {
    uint8_t flags, gso_type;
    uint16_t header_len, gso_size, checksum_start, checksum_offset;
    uint16_t buffers;
};
#define HEADER_NEEDS_CSUM 1
#define HEADER_DATA_VALID 2
#define GSO_TCP4 1
#define GSO_TCP6 4
_Static_assert(sizeof(struct header) == sizeof(((struct net_packet *)0)->header), "virtio 1.2, 5.1.6");
// The stack's segments become the queue's buffers, and the table of an indirect chain, where they are.
_Static_assert(sizeof(struct net_segment) == sizeof(struct virtq_buffer) &&
                   sizeof(struct net_segment) == sizeof(union virtq_entry) &&
                   offsetof(struct net_segment, len) == offsetof(struct virtq_buffer, len),
               "net_packet.segments");

enum { QUEUE_RX, QUEUE_TX };
#define QUEUE_SIZE 256
#define QUEUE_LEAST 16
#define PAGES_PER_BUFFER 64 // of the machine's RAM for each receive buffer
#define FIRST_BUFFERS 32
#define LARGE_LEAST 32 // entries of a queue with which frames of 64 KiB may come and go
#define DIRECT_MOST 3  // descriptors of a chain that lies in the queue itself where it need not
#define REFILL_AGAIN (20 * NSEC_PER_MSEC)

// In a receive buffer's page: the header, such that what follows the Ethernet header is aligned.
#define BUFFER_OFFSET (sizeof(struct net_buffer) + 2)
#define BUFFER_BYTES (PAGE_SIZE - BUFFER_OFFSET)
_Static_assert((BUFFER_OFFSET + sizeof(struct header) + ETHERNET_HEADER) % 4 == 0, "IP headers are aligned");

struct nic {
    struct net_device net;
    struct virtio_device *dev;
    struct virtqueue *rx, *tx;
    unsigned queue_size;
    unsigned wanted; // receive buffers on offer: few in the beginning, more when frames come quickly
    bool config_changed;
    bool tx_full;   // the stack was sent away
    bool tx_wanted; // somebody waits for what was sent
    bool ended;     // broken, and everything given up
    bool refill_armed;
    struct timer refill_timer;
};

static struct nic *nic_of(struct net_device *net) { return net->driver; }

// --- Interrupts ---

static void queue_interrupt(void *arg) {
    struct nic *n = arg;
    if (unlikely(!n->dev->started))
        return;
    // With EVENT_IDX there will be no other before poll asks for it.
    if (!(n->dev->features & VIRTIO_RING_F_EVENT_IDX)) {
        virtq_interrupts_off(n->rx);
        virtq_interrupts_off(n->tx);
    }
    net_device_interrupt(&n->net);
}

static void config_interrupt(struct virtio_device *dev) {
    struct nic *n = dev->driver_data;
    WRITE_ONCE(n->config_changed, true);
    net_device_interrupt(&n->net);
}

static void refill_due(struct timer *t) {
    struct nic *n = container_of(t, struct nic, refill_timer);
    WRITE_ONCE(n->refill_armed, false);
    net_device_interrupt(&n->net);
}

// --- The link, and the end ---

static void set_link(struct nic *n, bool up) {
    if (n->net.link == up)
        return;
    n->net.link = up;
    if (n->net.link_changed)
        n->net.link_changed(&n->net);
}

static void look_at_config(struct nic *n) {
    uint16_t status = STATUS_LINK_UP;
    WRITE_ONCE(n->config_changed, false); // before the look
    if (virtio_needs_reset(n->dev)) {
        virtio_break(n->dev, "it failed");
        return;
    }
    if (n->dev->features & F_STATUS)
        virtio_config(n->dev, CONFIG_STATUS, &status, sizeof(status));
    set_link(n, status & STATUS_LINK_UP);
}

static void frame_free(struct net_buffer *b) {
    while (b) {
        struct net_buffer *next = b->next;
        net_buffer_free(b);
        b = next;
    }
}

static __attribute__((cold)) void give_up(struct nic *n) {
    if (n->ended)
        return;
    n->ended = true;
    struct net_buffer *b;
    struct net_packet *p;
    while ((b = virtq_abandon(n->rx)))
        net_buffer_free(b);
    frame_free(n->net.spare);
    n->net.spare = NULL;
    n->net.spare_count = 0;
    while ((p = virtq_abandon(n->tx)))
        p->done(p);
    set_link(n, false);
}

// --- Receiving ---

static struct header *buffer_header(struct net_buffer *b) { return (struct header *)((char *)b + BUFFER_OFFSET); }

// In batches: where the device must be told of new buffers each time, that is dear.
static void refill(struct nic *n) {
    unsigned offered = n->rx->size - virtq_free(n->rx);
    if (likely(offered > n->wanted - n->wanted / 4))
        return;
    if (n->wanted < n->rx->size && offered < n->wanted / 2)
        n->wanted *= 2;
    for (; offered < n->wanted; offered++) {
        struct net_buffer *b = n->net.spare;
        struct page *page;
        if (likely(b)) {
            n->net.spare = b->next;
            n->net.spare_count--;
        } else if ((page = page_alloc(0, 0))) {
            b = page_to_virt(page);
        } else {
            // When all buffers are gone the device has nothing to interrupt for.
            if (!READ_ONCE(n->refill_armed)) {
                WRITE_ONCE(n->refill_armed, true);
                timer_add(&n->refill_timer, time_monotonic() + REFILL_AGAIN);
            }
            break;
        }
        if (unlikely(virtq_add_in(n->rx, buffer_header(b), BUFFER_BYTES, b) < 0)) {
            net_buffer_free(b);
            break;
        }
    }
}

// The buffers behind the first one, `count` of them. False: the frame is damaged, or the device broken.
static bool take_rest(struct nic *n, struct net_buffer *first, unsigned count) {
    struct net_buffer *last = first;
    bool good = true;
    while (good && count--) {
        uint32_t len = 0;
        struct net_buffer *b = virtq_take(n->rx, &len);
        if (!b) { // they come together (section 5.1.6.4)
            virtio_break(n->dev, "a frame of more buffers than there are");
            return false;
        }
        b->next = NULL;
        b->data = (uint8_t *)buffer_header(b);
        b->len = len;
        last->next = b;
        last = b;
        first->total += len;
        good = len && first->total <= NET_FRAME_MAX;
        if (!good) // the others of the frame would be taken for frames
            virtio_break(n->dev, "a frame that is too long, or has an empty buffer");
    }
    return good;
}

// True: there was a frame. *frame stays NULL when it was damaged.
static bool take_frame(struct nic *n, struct net_buffer **frame) {
    uint32_t len = 0;
    struct net_buffer *b = virtq_take(n->rx, &len);
    if (!b)
        return false;
    const struct header *h = buffer_header(b);
    // Each field once: the device may still write to it.
    unsigned flags = READ_ONCE(h->flags), buffers = n->dev->features & F_MRG_RXBUF ? READ_ONCE(h->buffers) : 1;
    b->next = NULL;
    b->data = (uint8_t *)(h + 1);
    b->len = b->total = len - (uint32_t)sizeof(*h);
    b->checksum_good = flags & (HEADER_NEEDS_CSUM | HEADER_DATA_VALID) && n->dev->features & F_GUEST_CSUM;
    bool good = true;
    if (unlikely(len < sizeof(*h) || buffers == 0)) {
        virtio_break(n->dev, "a frame without a header");
        good = false;
    } else if (unlikely(buffers > 1)) {
        good = take_rest(n, b, buffers - 1);
    }
    if (unlikely(!good || b->len < ETHERNET_HEADER)) {
        n->net.statistics.rx_errors++;
        frame_free(b);
        return true;
    }
    *frame = b;
    return true;
}

// --- Sending ---

static void reap(struct nic *n) {
    struct net_packet *p;
    while (virtq_ready(n->tx) && (p = virtq_take(n->tx, NULL))) {
        n->tx_full = false;
        p->done(p);
    }
}

static int queue_packet(struct nic *n, struct net_packet *p) {
    struct net_segment *first = p->segments;
    unsigned count = p->count + 1u;
    if (p->headroom) {
        first++;
        count--;
    }
    bool indirect =
        n->dev->features & VIRTIO_RING_F_INDIRECT_DESC && (count > DIRECT_MOST || virtq_free(n->tx) < count);
    if (indirect)
        return virtq_add_indirect(n->tx, (union virtq_entry *)first, count, 0, p);
    return virtq_add(n->tx, (struct virtq_buffer *)first, count, 0, p);
}

static int nic_send(struct net_device *net, struct net_packet *p) {
    struct nic *n = nic_of(net);
    struct header *h =
        p->headroom ? (struct header *)((uintptr_t)p->segments[1].data - sizeof(*h)) : (struct header *)p->header;
    *h = (struct header){0};
    if (p->checksum_start) {
        h->flags = HEADER_NEEDS_CSUM;
        h->checksum_start = p->checksum_start;
        h->checksum_offset = p->checksum_offset;
    }
    if (p->gso) {
        h->gso_type = p->gso == NET_GSO_TCP4 ? GSO_TCP4 : GSO_TCP6;
        h->gso_size = p->gso_size;
        h->header_len = p->header_len;
    }
    if (p->headroom)
        p->segments[1] = (struct net_segment){h, p->segments[1].len + (uint32_t)sizeof(*h)};
    else
        p->segments[0] = (struct net_segment){h, sizeof(*h)};
    reap(n);
    int err = queue_packet(n, p);
    if (unlikely(err == -ENOSPC)) {
        n->tx_full = true;
        if (!virtq_interrupts_on(n->tx)) {
            reap(n);
            err = queue_packet(n, p);
        }
    }
    if (unlikely(err)) {
        if (err == -EIO)
            net_device_interrupt(net); // poll gives up what there is
        if (p->headroom)
            p->segments[1] = (struct net_segment){h + 1, p->segments[1].len - (uint32_t)sizeof(*h)};
        return err;
    }
    net->statistics.tx_packets++;
    net->statistics.tx_bytes += p->len;
    return 0;
}

static unsigned nic_kick(struct net_device *net) {
    struct nic *n = nic_of(net);
    return (virtq_kick_wanted(n->rx) ? 1U << QUEUE_RX : 0) | (virtq_kick_wanted(n->tx) ? 1U << QUEUE_TX : 0);
}

static void nic_notify(struct net_device *net, unsigned what) {
    struct nic *n = nic_of(net);
    if (what & 1U << QUEUE_RX)
        virtq_notify(n->rx);
    if (what & 1U << QUEUE_TX)
        virtq_notify(n->tx);
}

// --- Polling ---

static unsigned nic_poll(struct net_device *net, unsigned budget) {
    struct nic *n = nic_of(net);
    unsigned received = 0;
    struct net_buffer *frame = NULL;
    if (unlikely(READ_ONCE(n->config_changed)))
        look_at_config(n);
    reap(n);
    for (; received < budget && take_frame(n, &frame); received++) {
        if (unlikely(!frame))
            continue;
        struct net_buffer *f = frame;
        frame = NULL;
        net->statistics.rx_packets++;
        net->statistics.rx_bytes += f->total;
        net->statistics.multicast += f->data[0] & 1;
        net->input(net, f);
        if (unlikely(net->wanted && READ_ONCE(*net->wanted))) {
            received = budget;
            break;
        }
    }
    refill(n);
    if (unlikely(n->dev->broken))
        give_up(n);
    return received;
}

static bool nic_interrupts_on(struct net_device *net) {
    struct nic *n = nic_of(net);
    bool idle = virtq_interrupts_on(n->rx);
    if (n->tx_wanted && virtq_free(n->tx) == n->tx->size)
        n->tx_wanted = false;
    if (n->tx_full)
        idle &= virtq_interrupts_on(n->tx);
    else if (n->tx_wanted)
        idle &= virtq_interrupts_at_end(n->tx);
    else if (!(n->dev->features & VIRTIO_RING_F_EVENT_IDX))
        virtq_interrupts_off(n->tx);
    return (idle && !READ_ONCE(n->config_changed)) || (n->dev->broken && n->ended);
}

static void nic_want_sent(struct net_device *net) {
    nic_of(net)->tx_wanted = true;
    net_device_interrupt(net);
}

static int nic_start(struct net_device *net) {
    struct nic *n = nic_of(net);
    if (n->rx || n->dev->broken)
        return -EIO;
    struct virtqueue *rx = virtq_create(n->dev, QUEUE_RX, n->queue_size, queue_interrupt, n);
    struct virtqueue *tx = rx ? virtq_create(n->dev, QUEUE_TX, n->queue_size, queue_interrupt, n) : NULL;
    if (!tx)
        return -ENOMEM; // and it has not been started
    n->rx = rx;
    n->tx = tx;
    virtq_interrupts_off(tx);
    if (virtio_watch_config(n->dev, config_interrupt) < 0)
        log_warn("%s: changes of its link will not be noticed", net->name);
    virtio_start(n->dev);
    n->wanted = rx->size;
    while (n->wanted > FIRST_BUFFERS / 2) // the first refill finds none left and doubles it
        n->wanted /= 2;
    refill(n);
    virtq_kick(rx);
    look_at_config(n);
    return 0;
}

static const struct net_device_ops nic_ops = {
    .send = nic_send,
    .kick = nic_kick,
    .notify = nic_notify,
    .poll = nic_poll,
    .interrupts_on = nic_interrupts_on,
    .want_sent = nic_want_sent,
    .start = nic_start,
};

// --- The beginning ---

static int refuse(struct virtio_device *dev, const char *what, uint64_t value) {
    log_err("%s %lx: a network card with %s %lu", dev->bus, dev->place, what, value);
    return -EINVAL;
}

// As many entries as the machine can afford to fill with pages.
static unsigned queue_size(struct virtio_device *dev) {
    unsigned size = QUEUE_SIZE,
             max = MIN(dev->transport->queue_max(dev, QUEUE_RX), dev->transport->queue_max(dev, QUEUE_TX));
    while (size > QUEUE_LEAST && size * PAGES_PER_BUFFER > page_total())
        size /= 2;
    while (size > max)
        size /= 2;
    return size;
}

static void read_mac(struct nic *n) {
    uint8_t *mac = n->net.mac;
    if (n->dev->features & F_MAC)
        virtio_config(n->dev, CONFIG_MAC, mac, sizeof(n->net.mac));
    uint8_t any = mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5];
    if (any && !(mac[0] & 1))
        return;
    random_bytes(mac, sizeof(n->net.mac));
    mac[0] = (uint8_t)((mac[0] & ~1u) | 2u); // a single one, and not a manufacturer's
}

static int read_mtu(struct nic *n) {
    uint16_t mtu = 1500;
    if (n->dev->features & F_MTU)
        virtio_config(n->dev, CONFIG_MTU, &mtu, sizeof(mtu));
    if (mtu < 68)
        return refuse(n->dev, "an MTU of", mtu);
    unsigned most =
        n->dev->features & F_MRG_RXBUF ? UINT16_MAX : BUFFER_BYTES - sizeof(struct header) - ETHERNET_HEADER;
    n->net.mtu = (uint16_t)MIN(mtu, most);
    return 0;
}

static int nic_probe(struct virtio_device *dev) {
    unsigned size = queue_size(dev);
    uint64_t wanted = F_WANTED, offered = dev->transport->get_features(dev);
    if (offered & F_GUEST_CSUM && offered & F_MRG_RXBUF && size >= LARGE_LEAST)
        wanted |= F_GUEST_TSO4 | F_GUEST_TSO6;
    if (!(offered & F_CSUM) || size < LARGE_LEAST)
        wanted &= ~(F_HOST_TSO4 | F_HOST_TSO6);
    int err = virtio_negotiate(dev, wanted);
    if (err < 0)
        return err;
    if (size < 4) // a header, a frame in two pieces
        return refuse(dev, "queues of entries:", size);
    struct nic *n = kzalloc(sizeof(*n));
    if (!n)
        return -ENOMEM;
    n->dev = dev;
    n->queue_size = size;
    timer_init(&n->refill_timer, refill_due);
    read_mac(n);
    err = read_mtu(n);
    n->net.ops = &nic_ops;
    n->net.driver = n;
    n->net.checksum = dev->features & F_CSUM;
    n->net.gso4 = dev->features & F_HOST_TSO4;
    n->net.gso6 = dev->features & F_HOST_TSO6;
    n->net.segments_max = (uint16_t)MIN(NET_SEGMENTS_MAX, size - 1);
    if (err == 0 && dev->broken)
        err = -EIO;
    if (err == 0)
        err = net_device_register(&n->net);
    if (err < 0) {
        kfree(n);
        return err;
    }
    dev->driver_data = n;
    return 0;
}

const struct virtio_driver virtio_net_driver = {
    .id = VIRTIO_ID_NET,
    .name = "network card",
    .several = true,
    .probe = nic_probe,
};
