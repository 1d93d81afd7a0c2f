// Disks on virtio block devices (section 5.2): one queue a CPU where the device has several, many requests on their way in each.
//
// What travels is a part: a piece of a request that fits into one chain, with a header in front and a status behind. Most requests
// are one part. A part that finds no room waits with its request in queue.waiting and is sent when another one ends.
//
// Nothing is lost: a request is in queue.waiting, or has parts in queue.busy, or was ended. When the device is found to lie,
// whoever finds it ends all requests of all queues with -EIO; what comes later is refused by virtq_add.
//
// Locks: queue.lock, interrupt-safe, a leaf but for the transport. `done` is called without it.
#include "drivers/virtio.h"

#include "kernel/blockdev.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/threads/lock.h"
#include "kernel/time.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/context.h"

// Section 5.2.3: feature bits
#define F_SIZE_MAX (1UL << 1)
#define F_SEG_MAX (1UL << 2)
#define F_RO (1UL << 5)
#define F_BLK_SIZE (1UL << 6)
#define F_FLUSH (1UL << 9)
#define F_TOPOLOGY (1UL << 10)
#define F_MQ (1UL << 12)
#define F_DISCARD (1UL << 13)
#define F_WRITE_ZEROES (1UL << 14)

// Section 5.2.4: what of the configuration is read, by offset
struct config_basic {
    uint64_t capacity;
    uint32_t size_max, seg_max;
};
struct config_blocks {
    uint32_t block_size;
    uint8_t physical_exponent, alignment_offset;
    uint16_t minimum_blocks;
    uint32_t optimal_blocks;
};
struct config_ranges {
    uint32_t discard_sectors, discard_segments, discard_alignment;
    uint32_t zeroes_sectors, zeroes_segments;
};
#define CONFIG_BLOCKS 20
#define CONFIG_QUEUES 34
#define CONFIG_RANGES 36
_Static_assert(sizeof(struct config_basic) == 16 && sizeof(struct config_blocks) == 12 &&
                   sizeof(struct config_ranges) == 20,
               "virtio 1.2, 5.2.4");

// Section 5.2.6: requests
enum { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4, TYPE_GET_ID = 8, TYPE_DISCARD = 11, TYPE_WRITE_ZEROES = 13 };
enum { STATUS_OK = 0, STATUS_IOERR = 1, STATUS_UNSUPPORTED = 2, STATUS_NONE = 0xff };
#define OP_GET_ID ((enum block_op)100) // our own, for the serial number
#define ID_BYTES 20

struct header {
    uint32_t type, reserved;
    uint64_t sector;
};
struct range { // what to discard or to zero
    uint64_t sector;
    uint32_t sectors, flags;
};
#define RANGE_UNMAP 1
_Static_assert(sizeof(struct header) == 16 && sizeof(struct range) == 16, "virtio 1.2, 5.2.6");

#define PART_SEGMENTS 56        // buffers of data in one part
#define BUFFER_BYTES (1u << 20) // of one buffer, unless the device wants less
#define WATCH_PERIOD (10 * NSEC_PER_SEC)
#define WATCH_ROUNDS 4 // a part that was seen so often is at least 30 s old

struct part {
    struct list link; // queue.idle or queue.busy
    struct block_request *request;
    uint32_t bytes; // of data
    uint32_t round; // disk.round when it began
    uint8_t status; // the device writes it, like the data
    struct header header;
    struct range range;
    union virtq_entry table[PART_SEGMENTS + 2];
};
_Static_assert(sizeof(struct part) <= 1024, "an allocation of 1024 bytes");

struct disk;
struct disk_queue {
    struct spinlock lock;
    struct disk *disk;
    struct virtqueue *vq;
    unsigned parts; // allocated; as many as the queue has entries, made when they are needed
    struct list idle, busy;
    struct list waiting; // requests of which not all parts have begun
} ALIGNED(64);

struct disk {
    struct virtio_device *dev;
    struct block_device block;
    uint32_t buffer_max;  // bytes
    uint32_t buffers_max; // of data in one part
    struct timer watch;   // armed while requests are on their way
    bool watching, slow_reported;
    uint32_t round;
    struct block_request id_request;
    struct block_segment id_segment;
    char id[ID_BYTES];
    unsigned queue_count;
    struct disk_queue queues[];
};

static bool moves_data(const struct block_request *r) {
    return r->op == BLOCK_READ || r->op == BLOCK_WRITE || r->op == OP_GET_ID;
}

// What request.at counts up to: segments, or one command.
static unsigned steps(const struct block_request *r) { return moves_data(r) ? r->count : 1; }

// --- Parts. queue.lock is held ---

static struct part *part_get(struct disk_queue *q) {
    struct part *p;
    if (!list_empty(&q->idle)) {
        p = list_first(&q->idle, struct part, link);
        list_remove(&p->link);
        return p;
    }
    if (q->parts == q->vq->size || !(p = kmalloc(sizeof(*p))))
        return NULL;
    q->parts++;
    return p;
}

static uint32_t type_of(enum block_op op) {
    switch (op) {
    case BLOCK_READ: return TYPE_IN;
    case BLOCK_WRITE: return TYPE_OUT;
    case BLOCK_FLUSH: return TYPE_FLUSH;
    case BLOCK_DISCARD: return TYPE_DISCARD;
    case BLOCK_WRITE_ZEROES: return TYPE_WRITE_ZEROES;
    default: return TYPE_GET_ID;
    }
}

// Fills the part with as much of the request as it can hold, from request.at on. *at and *offset: where the next one goes on.
static unsigned part_fill(struct disk *d, struct part *p, const struct block_request *r, uint32_t *at,
                          uint32_t *offset) {
    unsigned n = 0;
    p->header = (struct header){.type = type_of(r->op), .sector = moves_data(r) && r->op != OP_GET_ID ? r->start : 0};
    p->status = STATUS_NONE;
    p->bytes = 0;
    p->table[n++].buffer = (struct virtq_buffer){&p->header, sizeof(p->header)};
    *at = r->at;
    *offset = r->offset;
    if (!moves_data(r)) {
        *at = 1;
        if (r->op == BLOCK_FLUSH)
            return n;
        p->range =
            (struct range){r->start, (uint32_t)r->sectors, r->op == BLOCK_WRITE_ZEROES && r->unmap ? RANGE_UNMAP : 0};
        p->table[n++].buffer = (struct virtq_buffer){&p->range, sizeof(p->range)};
        return n;
    }
    while (*at < r->count && n <= d->buffers_max) {
        const struct block_segment *s = &r->segments[*at];
        uint32_t len = MIN(s->len - *offset, d->buffer_max);
        p->table[n++].buffer = (struct virtq_buffer){(char *)s->data + *offset, len};
        p->bytes += len;
        *offset += len;
        if (*offset == s->len) {
            ++*at;
            *offset = 0;
        }
    }
    return n;
}

// Sends parts of the request, as many as there is room for. True: all have begun, or none will any more.
static bool request_advance(struct disk_queue *q, struct block_request *r) {
    struct disk *d = q->disk;
    while (!r->error && r->at < steps(r)) {
        struct part *p = part_get(q);
        if (!p)
            return false;
        uint32_t at, offset;
        unsigned n = part_fill(d, p, r, &at, &offset);
        bool reads = r->op == BLOCK_READ || r->op == OP_GET_ID; // the data is for the device to write
        unsigned out = reads ? 1 : n, in = reads ? n : 1;
        p->table[n].buffer = (struct virtq_buffer){&p->status, 1};
        int err;
        if (d->dev->features & VIRTIO_RING_F_INDIRECT_DESC) {
            err = virtq_add_indirect(q->vq, p->table, out, in, p);
        } else {
            struct virtq_buffer buffers[PART_SEGMENTS + 2];
            for (unsigned i = 0; i <= n; i++)
                buffers[i] = p->table[i].buffer;
            err = virtq_add(q->vq, buffers, out, in, p);
        }
        if (err < 0) {
            list_push_front(&q->idle, &p->link);
            if (err == -ENOSPC)
                return false;
            r->error = err;
            break;
        }
        p->request = r;
        p->round = d->round;
        list_push_back(&q->busy, &p->link);
        r->parts++;
        r->at = at;
        r->offset = offset;
        r->start += p->bytes / SECTOR_SIZE;
    }
    r->at = steps(r);
    return true;
}

// One part fewer. What has ended goes to `ended`; what has parts to come is found in queue.waiting.
static void part_end(struct disk_queue *q, struct part *p, int error, struct list *ended) {
    struct block_request *r = p->request;
    list_remove(&p->link);
    list_push_front(&q->idle, &p->link);
    if (error && !r->error)
        r->error = error;
    if (--r->parts == 0 && r->at == steps(r))
        list_push_back(ended, &r->link);
}

static void waiting_advance(struct disk_queue *q, struct list *ended) {
    struct block_request *r, *next;
    list_for_each_safe (r, next, &q->waiting, link) {
        if (!request_advance(q, r))
            return;
        list_remove(&r->link);
        if (r->parts == 0)
            list_push_back(ended, &r->link);
    }
}

// --- Without the lock ---

static void call_done(struct list *ended) {
    struct block_request *r, *next;
    list_for_each_safe (r, next, ended, link) {
        list_remove(&r->link);
        block_done(r, r->error);
    }
}

// The device is broken: it will answer nothing any more.
static void disk_fail(struct disk *d) {
    struct list ended = LIST_INIT(ended);
    for (unsigned i = 0; i < d->queue_count; i++) {
        struct disk_queue *q = &d->queues[i];
        struct part *p, *next;
        uint64_t flags = spin_lock_irqsave(&q->lock);
        list_for_each_safe (p, next, &q->busy, link)
            part_end(q, p, -EIO, &ended);
        waiting_advance(q, &ended);
        spin_unlock_irqrestore(&q->lock, flags);
    }
    call_done(&ended);
}

static int part_result(struct disk *d, const struct part *p, uint32_t written) {
    uint8_t status = READ_ONCE(p->status);
    switch (status) {
    case STATUS_OK:
        // Devices do not agree whether the status counts; the data does. A serial number may be short.
        if (p->request->op == BLOCK_READ && written < p->bytes)
            break;
        return 0;
    case STATUS_IOERR: return -EIO;
    case STATUS_UNSUPPORTED: return p->request->op == BLOCK_READ || p->request->op == BLOCK_WRITE ? -EIO : -EOPNOTSUPP;
    }
    virtio_break(d->dev,
                 status == STATUS_OK ? "less was read than was asked for" : "a request's status that does not exist");
    return -EIO;
}

static void disk_interrupt(void *arg) {
    struct disk_queue *q = arg;
    struct disk *d = q->disk;
    struct list ended = LIST_INIT(ended);
    uint64_t flags = spin_lock_irqsave(&q->lock);
    do {
        struct part *p;
        uint32_t written = 0;
        while ((p = virtq_take(q->vq, &written)))
            part_end(q, p, part_result(d, p, written), &ended);
        waiting_advance(q, &ended);
    } while (!virtq_interrupts_on(q->vq) && !d->dev->broken);
    virtq_kick(q->vq);
    spin_unlock_irqrestore(&q->lock, flags);
    call_done(&ended);
    if (unlikely(d->dev->broken))
        disk_fail(d);
}

static void watch_start(struct disk *d) {
    if (!READ_ONCE(d->watching) && !atomic_xchg(&d->watching, true))
        timer_add(&d->watch, time_monotonic() + WATCH_PERIOD);
}

// Every ten seconds while there is something to wait for.
static void disk_watch(struct timer *t) {
    struct disk *d = container_of(t, struct disk, watch);
    bool busy = false;
    if (virtio_needs_reset(d->dev)) { // it has given up, and tells nobody else
        virtio_break(d->dev, "it failed");
        disk_fail(d);
        return;
    }
    d->round++;
    store_release(&d->watching, false); // a request that comes now arms the timer itself
    for (unsigned i = 0; i < d->queue_count; i++) {
        struct disk_queue *q = &d->queues[i];
        uint64_t flags = spin_lock_irqsave(&q->lock);
        struct part *p;
        list_for_each (p, &q->busy, link) {
            busy = true;
            if (d->round - p->round >= WATCH_ROUNDS && !d->slow_reported) {
                d->slow_reported = true;
                log_warn("%s: a request takes longer than 30 s", d->block.name);
            }
        }
        spin_unlock_irqrestore(&q->lock, flags);
    }
    if (busy)
        watch_start(d);
}

static void disk_submit(struct block_device *dev, struct block_request *r) {
    struct disk *d = dev->driver;
    struct list ended = LIST_INIT(ended);
    uint64_t flags = irq_save();
    struct disk_queue *q = &d->queues[d->queue_count > 1 ? cpu_this()->id % d->queue_count : 0];
    spin_lock(&q->lock);
    r->error = 0;
    if (!list_empty(&q->waiting) || !request_advance(q, r))
        list_push_back(&q->waiting, &r->link);
    else if (r->parts == 0)
        list_push_back(&ended, &r->link);
    virtq_kick(q->vq);
    spin_unlock(&q->lock);
    watch_start(d);
    irq_restore(flags);
    call_done(&ended);
}

static const struct block_ops disk_ops = {.submit = disk_submit};

// --- The beginning ---

static int refuse(struct virtio_device *dev, const char *what, uint64_t value) {
    log_err("%s %lx: a disk with %s %lu", dev->bus, dev->place, what, value);
    return -EINVAL;
}

static int read_blocks(struct disk *d) {
    uint64_t f = d->dev->features;
    struct block_device *b = &d->block;
    struct config_blocks c = {.block_size = SECTOR_SIZE};
    if (f & (F_BLK_SIZE | F_TOPOLOGY))
        virtio_config(d->dev, CONFIG_BLOCKS, &c, sizeof(c));
    b->block_size = f & F_BLK_SIZE ? c.block_size : SECTOR_SIZE;
    if (b->block_size < SECTOR_SIZE || b->block_size > PAGE_SIZE || b->block_size & (b->block_size - 1))
        return refuse(d->dev, "blocks of", b->block_size);
    b->physical_size = b->minimum_size = b->block_size;
    if (f & F_TOPOLOGY) { // hints: what makes no sense is not one
        if (c.physical_exponent < 12 && b->block_size << c.physical_exponent <= 1u << 20)
            b->physical_size = b->minimum_size = b->block_size << c.physical_exponent;
        b->minimum_size = MAX(b->minimum_size, c.minimum_blocks * b->block_size);
        if (c.optimal_blocks <= (1u << 30) / b->block_size)
            b->optimal_size = c.optimal_blocks * b->block_size;
    }
    return 0;
}

static uint32_t range_limit(const struct block_device *b, uint32_t sectors) {
    return ALIGN_DOWN(sectors ? sectors : UINT32_MAX, b->block_size / SECTOR_SIZE); // 0: it names no limit
}

static int read_config(struct disk *d) {
    uint64_t f = d->dev->features;
    struct block_device *b = &d->block;
    struct config_basic c;
    virtio_config(d->dev, 0, &c, f & (F_SIZE_MAX | F_SEG_MAX) ? sizeof(c) : sizeof(c.capacity));
    int err = read_blocks(d);
    if (err < 0)
        return err;
    b->sectors = ALIGN_DOWN(c.capacity, (uint64_t)b->block_size / SECTOR_SIZE);
    if (b->sectors == 0 || b->sectors > INT64_MAX / SECTOR_SIZE)
        return refuse(d->dev, "sectors:", c.capacity);
    d->buffer_max = BUFFER_BYTES;
    if (f & F_SIZE_MAX) {
        d->buffer_max = ALIGN_DOWN(MIN(c.size_max, BUFFER_BYTES), b->block_size);
        if (d->buffer_max == 0)
            return refuse(d->dev, "buffers of at most", c.size_max);
    }
    d->buffers_max = f & F_SEG_MAX ? MIN(c.seg_max, PART_SEGMENTS) : 1; // Firecracker takes one and does not say so
    if (d->buffers_max == 0)
        return refuse(d->dev, "buffers in a request:", 0);
    b->segments_max = PART_SEGMENTS;
    b->read_only = f & F_RO;
    b->flushes = f & F_FLUSH;
    if (f & (F_DISCARD | F_WRITE_ZEROES)) {
        struct config_ranges r;
        virtio_config(d->dev, CONFIG_RANGES, &r, sizeof(r));
        b->discard_max = f & F_DISCARD ? range_limit(b, r.discard_sectors) : 0;
        b->zeroes_max = f & F_WRITE_ZEROES ? range_limit(b, r.zeroes_sectors) : 0;
    }
    return d->dev->broken ? -EIO : 0;
}

static int create_queues(struct disk *d, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        struct disk_queue *q = &d->queues[i];
        spin_init(&q->lock);
        list_init(&q->idle);
        list_init(&q->busy);
        list_init(&q->waiting);
        q->disk = d;
        q->vq = virtq_create(d->dev, i, VIRTQ_MAX_SIZE, disk_interrupt, q);
        struct part *first = kmalloc(sizeof(*first)); // so that there is always one: none idle, and one will end
        if (!q->vq || !first) {
            kfree(first);
            break; // the queues that there are will do
        }
        list_push_back(&q->idle, &first->link);
        q->parts = 1;
        d->queue_count++;
        if (q->vq->size < 4) // the header, the status, something between them
            return refuse(d->dev, "a queue of entries:", q->vq->size);
        d->buffers_max = MIN(d->buffers_max, q->vq->size - 2u);
    }
    return d->queue_count ? 0 : -ENODEV;
}

static void have_id(struct block_request *r) {
    struct disk *d = r->owner;
    char *to = d->block.serial;
    for (unsigned i = 0; !r->error && i < ID_BYTES && d->id[i]; i++)
        *to++ = d->id[i] > ' ' && d->id[i] < 127 ? d->id[i] : '_';
}

static int blk_probe(struct virtio_device *dev) {
    int err =
        virtio_negotiate(dev, F_SIZE_MAX | F_SEG_MAX | F_RO | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | F_MQ | F_DISCARD |
                                  F_WRITE_ZEROES | VIRTIO_RING_F_EVENT_IDX | VIRTIO_RING_F_INDIRECT_DESC);
    if (err < 0)
        return err;
    uint16_t queues = 1;
    if (dev->features & F_MQ)
        virtio_config(dev, CONFIG_QUEUES, &queues, sizeof(queues));
    if (queues == 0)
        return refuse(dev, "queues:", 0);
    unsigned count = MIN(MIN(queues, MAX(topology.cpu_count, 1u)), VIRTIO_MAX_QUEUES);
    struct disk *d = kzalloc(sizeof(*d) + count * sizeof(d->queues[0]));
    if (!d)
        return -ENOMEM;
    d->dev = dev;
    dev->driver_data = d;
    timer_init(&d->watch, disk_watch);
    err = read_config(d);
    if (err == 0)
        err = create_queues(d, count);
    d->block.ops = &disk_ops;
    d->block.driver = d;
    if (err == 0)
        err = blockdev_register(&d->block);
    if (err < 0)
        return err; // the disk stays: queues may have been told about it
    virtio_start(dev);
    d->id_segment = (struct block_segment){d->id, ID_BYTES};
    d->id_request =
        (struct block_request){.op = OP_GET_ID, .segments = &d->id_segment, .count = 1, .done = have_id, .owner = d};
    disk_submit(&d->block, &d->id_request);
    log_info("%s: %lu sectors in blocks of %u%s, %u queues", d->block.name, d->block.sectors, d->block.block_size,
             d->block.read_only ? ", read-only" : "", d->queue_count);
    return 0;
}

const struct virtio_driver virtio_blk_driver = {
    .id = VIRTIO_ID_BLOCK,
    .name = "disk",
    .several = true,
    .probe = blk_probe,
};
