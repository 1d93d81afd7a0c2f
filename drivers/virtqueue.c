// Split virtqueues, virtio 1.2 section 2.7: three tables in one piece of guest memory, physically contiguous. The driver puts chains of
// descriptors into the available ring, the device returns them through the used ring in any order.
//
// Nothing that the device writes is believed: of the used ring only `index`, `id` and `len` are read, each once, and
// checked against state[], which is private memory. The descriptor table and the available ring are written only.
//
// QEMU's translator makes nothing of a fence, nor of a locked instruction, for a machine of one CPU: the host's processor may do a load
// before an earlier store, while another thread is the device. There (virtqueue.no_fences) an access to a register of the device is
// the fence, for which QEMU takes a lock. With more CPUs, each a thread of its own, fences are what they should be.
#include "drivers/virtio.h"

#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/io.h"

#define DESC_F_NEXT 1
#define DESC_F_WRITE 2
#define DESC_F_INDIRECT 4
#define AVAIL_F_NO_INTERRUPT 1
#define USED_F_NO_NOTIFY 1

// Offsets in the piece: the descriptors (alignment 16), the available ring (2), the used ring (4).
#define AVAIL_OFFSET(size) ((size_t)(size)*16)
#define AVAIL_BYTES(size) (6 + 2 * (size_t)(size))
#define USED_OFFSET(size) ALIGN_UP(AVAIL_OFFSET(size) + AVAIL_BYTES(size), (size_t)4)
#define USED_BYTES(size) (6 + 8 * (size_t)(size))
_Static_assert(USED_OFFSET(VIRTQ_MAX_SIZE) + USED_BYTES(VIRTQ_MAX_SIZE) <= PAGE_SIZE, "most queues are cheap");

static inline volatile uint16_t *used_event(struct virtqueue *q) { return &q->avail->ring[q->size]; }
static inline volatile uint16_t *avail_event(struct virtqueue *q) {
    return (volatile uint16_t *)&q->used->ring[q->size];
}

struct virtqueue *virtq_create(struct virtio_device *dev, unsigned index, unsigned size, void (*callback)(void *),
                               void *arg) {
    // 7. Per queue: its size is ours to reduce (section 4.1.5.1.3), a power of two.
    uint16_t max = dev->transport->queue_max(dev, index);
    if (index >= VIRTIO_MAX_QUEUES || max == 0) {
        log_err("%s %lx: has no queue %u", dev->bus, dev->place, index);
        return NULL;
    }
    size = MIN(size, VIRTQ_LIMIT);
    while (size > max)
        size /= 2;
    struct virtqueue *q = kzalloc(sizeof(*q) + size * sizeof(q->state[0]));
    uint8_t *base = kmalloc(USED_OFFSET(size) + USED_BYTES(size)); // aligned to 16, in the direct map
    if (!q || !base) {
        log_err("%s %lx: no memory for queue %u", dev->bus, dev->place, index);
        kfree(q);
        kfree(base);
        return NULL;
    }
    memset(base + AVAIL_OFFSET(size), 0, USED_OFFSET(size) + USED_BYTES(size) - AVAIL_OFFSET(size));
    q->dev = dev;
    q->index = (uint16_t)index;
    q->size = (uint16_t)size;
    q->desc = (struct virtq_desc *)base;
    q->avail = (struct virtq_avail *)(base + AVAIL_OFFSET(size));
    q->used = (struct virtq_used *)(base + USED_OFFSET(size));
    q->event_index = dev->features & VIRTIO_RING_F_EVENT_IDX;
    q->no_fences = topology.cpu_count <= 1 && __builtin_memcmp(cpu_features.hypervisor_vendor, "TCGTCGTCGTCG", 12) == 0;
    q->callback = callback;
    q->callback_arg = arg;
    q->free_count = q->size;
    for (unsigned i = 0; i < size; i++)
        q->state[i].next = (uint16_t)(i + 1);
    int err = dev->transport->queue_enable(dev, q);
    if (err < 0) {
        log_err("%s %lx: queue %u cannot be enabled (error %d)", dev->bus, dev->place, index, -err);
        kfree(base);
        kfree(q);
        return NULL;
    }
    dev->queues[index] = q;
    dev->queue_end = MAX(dev->queue_end, index + 1);
    return q;
}

// The chain that begins at `head` is ready: the device may have it.
static inline __attribute__((always_inline)) void publish(struct virtqueue *q, uint16_t head, uint16_t last,
                                                          unsigned count, uint32_t in_bytes, void *cookie) {
    q->free_head = q->state[last].next;
    q->free_count = (uint16_t)(q->free_count - count);
    q->state[head].cookie = cookie;
    q->state[head].in_bytes = in_bytes;
    q->state[head].count = (uint16_t)count;
    WRITE_ONCE(q->avail->ring[q->avail_index & (q->size - 1)], head);
    q->avail_index++;
    // The descriptors and the ring entry must be visible before the index that announces them (section 2.7.13.3).
    barrier_write();
    WRITE_ONCE(q->avail->index, q->avail_index);
}

int virtq_add(struct virtqueue *q, const struct virtq_buffer *buffers, unsigned out, unsigned in, void *cookie) {
    unsigned count = out + in;
    if (unlikely(q->dev->broken))
        return -EIO;
    if (unlikely(count == 0 || count > q->free_count))
        return -ENOSPC;
    uint16_t head = q->free_head, i = head, last = head;
    uint32_t in_bytes = 0;
    struct virtq_desc *desc = q->desc;
    const struct virtq_buffer *b = buffers, *end = b + out;
    for (; b < end; b++) {
        last = i;
        i = q->state[last].next;
        desc[last] = (struct virtq_desc){virt_to_phys(b->data), b->len, DESC_F_NEXT, i};
    }
    for (end += in; b < end; b++) {
        last = i;
        i = q->state[last].next;
        desc[last] = (struct virtq_desc){virt_to_phys(b->data), b->len, DESC_F_NEXT | DESC_F_WRITE, i};
        in_bytes += b->len;
    }
    desc[last].flags = in ? DESC_F_WRITE : 0;
    publish(q, head, last, count, in_bytes, cookie);
    return 0;
}

int virtq_add_in(struct virtqueue *q, void *data, uint32_t len, void *cookie) {
    if (unlikely(q->dev->broken))
        return -EIO;
    if (unlikely(!q->free_count))
        return -ENOSPC;
    uint16_t head = q->free_head;
    q->desc[head] = (struct virtq_desc){virt_to_phys(data), len, DESC_F_WRITE, 0};
    publish(q, head, head, 1, len, cookie);
    return 0;
}

// Section 2.7.5.3: the chain lies in a table of its own, and takes one descriptor of the queue.
int virtq_add_indirect(struct virtqueue *q, union virtq_entry *table, unsigned out, unsigned in, void *cookie) {
    unsigned count = out + in;
    if (unlikely(q->dev->broken))
        return -EIO;
    if (count == 0 || q->free_count == 0)
        return -ENOSPC;
    uint32_t in_bytes = 0;
    for (unsigned n = 0; n < count; n++) {
        struct virtq_buffer b = table[n].buffer;
        uint16_t flags = (n >= out ? DESC_F_WRITE : 0) | (n + 1 < count ? DESC_F_NEXT : 0);
        table[n].desc = (struct virtq_desc){virt_to_phys(b.data), b.len, flags, (uint16_t)(n + 1)};
        if (n >= out)
            in_bytes += b.len;
    }
    uint16_t head = q->free_head;
    q->desc[head] = (struct virtq_desc){virt_to_phys(table), count * (uint32_t)sizeof(table[0]), DESC_F_INDIRECT, 0};
    publish(q, head, head, 1, in_bytes, cookie);
    return 0;
}

bool virtq_kick_wanted(struct virtqueue *q) {
    uint16_t old = q->kicked_index, now = q->avail_index;
    if (old == now || unlikely(q->dev->broken))
        return false;
    q->kicked_index = now;
    // The index must be visible before the device's wish is read: it writes its wish, then looks at the index again. With
    // the load done first, both could miss each other and the chain would lie there for ever (section 2.7.13.4).
    barrier_full();
    if (q->no_fences)
        return true; // costs what the fence would
    if (q->event_index)
        return (uint16_t)(now - *avail_event(q) - 1) < (uint16_t)(now - old); // section 2.7.10
    return !(READ_ONCE(q->used->flags) & USED_F_NO_NOTIFY);
}

void virtq_notify(struct virtqueue *q) { q->dev->transport->notify(q); }

void virtq_kick(struct virtqueue *q) {
    if (virtq_kick_wanted(q))
        virtq_notify(q);
}

void *virtq_take(struct virtqueue *q, uint32_t *written) {
    uint16_t pending = (uint16_t)(READ_ONCE(q->used->index) - q->used_index);
    if (pending == 0 || unlikely(q->dev->broken))
        return NULL;
    if (unlikely(pending > q->size)) {
        virtio_break(q->dev, "the used ring has more entries than the queue");
        return NULL;
    }
    // The element, and the buffer's contents, must be read after the index that announced them (section 2.7.14).
    barrier_read();
    uint32_t id = READ_ONCE(q->used->ring[q->used_index & (q->size - 1)].id);
    uint32_t len = READ_ONCE(q->used->ring[q->used_index & (q->size - 1)].len);
    if (unlikely(id >= q->size || !q->state[id].cookie)) {
        virtio_break(q->dev, "a used buffer that was never offered");
        return NULL;
    }
    if (unlikely(len > q->state[id].in_bytes)) {
        // Buffers for the device to read have nothing written to them, yet devices of old report their length; harmless.
        if (q->state[id].in_bytes) {
            virtio_break(q->dev, "a used buffer that is longer than it was offered");
            return NULL;
        }
        len = 0;
    }
    q->used_index++;
    void *cookie = q->state[id].cookie;
    q->state[id].cookie = NULL;
    // Back to the free list, as a chain.
    uint16_t last = (uint16_t)id;
    for (unsigned n = 1; n < q->state[id].count; n++)
        last = q->state[last].next;
    q->state[last].next = q->free_head;
    q->free_head = (uint16_t)id;
    q->free_count = (uint16_t)(q->free_count + q->state[id].count);
    if (written)
        *written = len;
    return cookie;
}

void *virtq_abandon(struct virtqueue *q) {
    for (unsigned i = 0; i < q->size; i++) {
        void *cookie = q->state[i].cookie;
        if (cookie) {
            q->state[i].cookie = NULL;
            return cookie;
        }
    }
    return NULL;
}

void virtq_interrupts_off(struct virtqueue *q) {
    if (q->event_index)
        *used_event(q) = (uint16_t)(q->used_index - 1); // the device will not pass there for 65535 entries
    else
        WRITE_ONCE(q->avail->flags, AVAIL_F_NO_INTERRUPT);
}

static void interrupts_from(struct virtqueue *q, uint16_t index) {
    if (q->event_index)
        *used_event(q) = index;
    else
        WRITE_ONCE(q->avail->flags, 0);
    // The wish must be visible before the index is looked at again, or a buffer that the device returns in between comes
    // without an interrupt and is not seen here either.
    if (q->no_fences)
        (void)q->dev->transport->get_status(q->dev);
    else
        barrier_full();
}

bool virtq_interrupts_on(struct virtqueue *q) {
    interrupts_from(q, q->used_index); // the next one
    return READ_ONCE(q->used->index) == q->used_index;
}

bool virtq_interrupts_at_end(struct virtqueue *q) {
    interrupts_from(q, (uint16_t)(q->avail_index - 1));
    return READ_ONCE(q->used->index) != q->avail_index;
}

unsigned virtq_free(const struct virtqueue *q) { return q->free_count; }

void virtq_interrupt(struct virtqueue *q) {
    if (READ_ONCE(q->used->index) != q->used_index && !q->dev->broken)
        q->callback(q->callback_arg);
}
