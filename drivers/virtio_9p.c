// 9P over virtio (device id 9; QEMU: -device virtio-9p-device or virtio-9p-pci with an -fsdev): one queue, on which each request is a
// chain of the bytes that the server reads and the room for its answer. Several devices, told apart by their mount tags.
//
// What finds the queue full waits in a list, and goes when something comes back. A device that lies ends with all that it has,
// and all that waits, failed.
// Lock: v9p.lock, interrupt-safe, a leaf but for the transport; `done` is called without it.
#include "drivers/virtio.h"

#include "fs/9p/transport.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/threads/lock.h"

#define F_MOUNT_TAG 1 // feature bit 0

struct v9p {
    struct p9_transport transport;
    struct virtio_device *dev;
    struct spinlock lock;
    struct virtqueue *queue;
    struct list waiting; // for room in the queue
    struct list sent;    // the device has them
};

// Lock held. Puts what waits into the queue, as far as it goes.
static void send_waiting(struct v9p *v) {
    struct virtq_buffer buffers[VIRTQ_MAX_SIZE];
    while (!list_empty(&v->waiting)) {
        struct p9_transfer *t = list_first(&v->waiting, struct p9_transfer, link);
        unsigned count = (unsigned)t->out + t->in;
        for (unsigned i = 0; i < count; i++)
            buffers[i] = (struct virtq_buffer){t->segments[i].data, t->segments[i].len};
        if (virtq_add(v->queue, buffers, t->out, t->in, t) < 0)
            break;
        list_remove(&t->link);
        list_push_back(&v->sent, &t->link);
    }
    virtq_kick(v->queue);
}

// Lock held. What has come back goes to `ended`; with a broken device, everything.
static void collect(struct v9p *v, struct list *ended) {
    struct p9_transfer *t;
    uint32_t received;
    while ((t = virtq_take(v->queue, &received))) {
        t->received = received;
        list_remove(&t->link);
        list_push_back(ended, &t->link);
    }
    if (likely(!v->dev->broken))
        return;
    for (struct list *from = &v->sent; from; from = from == &v->sent ? &v->waiting : NULL) {
        while (!list_empty(from)) {
            t = list_first(from, struct p9_transfer, link);
            t->error = -EIO;
            list_remove(&t->link);
            list_push_back(ended, &t->link);
        }
    }
}

static void end_all(struct list *ended) {
    while (!list_empty(ended)) {
        struct p9_transfer *t = list_first(ended, struct p9_transfer, link);
        list_remove(&t->link);
        t->done(t);
    }
}

static void v9p_interrupt(void *arg) {
    struct v9p *v = arg;
    struct list ended = LIST_INIT(ended);
    uint64_t flags = spin_lock_irqsave(&v->lock);
    do
        collect(v, &ended);
    while (!virtq_interrupts_on(v->queue) && !v->dev->broken);
    send_waiting(v);
    spin_unlock_irqrestore(&v->lock, flags);
    end_all(&ended);
}

static void v9p_submit(struct p9_transport *tr, struct p9_transfer *t) {
    struct v9p *v = tr->driver;
    struct list ended = LIST_INIT(ended);
    t->error = 0;
    t->received = 0;
    uint64_t flags = spin_lock_irqsave(&v->lock);
    list_push_back(&v->waiting, &t->link);
    if (unlikely(v->dev->broken))
        collect(v, &ended);
    else
        send_waiting(v);
    spin_unlock_irqrestore(&v->lock, flags);
    end_all(&ended);
}

static void v9p_disable(struct p9_transport *tr, const char *why) {
    struct v9p *v = tr->driver;
    struct list ended = LIST_INIT(ended);
    uint64_t flags = spin_lock_irqsave(&v->lock);
    virtio_break(v->dev, why);
    collect(v, &ended);
    spin_unlock_irqrestore(&v->lock, flags);
    end_all(&ended);
}

static const struct p9_transport_ops v9p_ops = {.submit = v9p_submit, .disable = v9p_disable};

// Linux' virtio_9p.h has what the specification has not: u16 length, then the tag without a NUL.
static int read_tag(struct v9p *v) {
    uint16_t len = 0;
    virtio_config(v->dev, 0, &len, sizeof(len));
    if (len == 0 || len > P9_TAG_MAX) {
        log_err("%s %lx: a mount tag of %u bytes", v->dev->bus, v->dev->place, len);
        return -EINVAL;
    }
    virtio_config(v->dev, sizeof(len), v->transport.tag, len);
    if (strlen(v->transport.tag) != len) {
        log_err("%s %lx: a mount tag with a NUL in it", v->dev->bus, v->dev->place);
        return -EINVAL;
    }
    return 0;
}

static int v9p_probe(struct virtio_device *dev) {
    int err = virtio_negotiate(dev, F_MOUNT_TAG | VIRTIO_RING_F_EVENT_IDX);
    if (err < 0)
        return err;
    if (!(dev->features & F_MOUNT_TAG)) {
        log_err("%s %lx: a 9P device without a mount tag", dev->bus, dev->place);
        return -EINVAL;
    }
    struct v9p *v = kzalloc(sizeof(*v));
    if (!v)
        return -ENOMEM;
    v->dev = dev;
    spin_init(&v->lock);
    list_init(&v->waiting);
    list_init(&v->sent);
    err = read_tag(v);
    if (err == 0 && !(v->queue = virtq_create(dev, 0, VIRTQ_MAX_SIZE, v9p_interrupt, v)))
        err = -ENODEV;
    if (err == 0 && v->queue->size < 16) {
        log_err("%s %lx: a queue of %u entries", dev->bus, dev->place, v->queue->size);
        err = -EINVAL; // the queue and v stay: the device may know them
    }
    if (err < 0)
        return err;
    dev->driver_data = v;
    v->transport.ops = &v9p_ops;
    v->transport.segments_max = v->queue->size;
    v->transport.driver = v;
    virtio_start(dev);
    p9_transport_register(&v->transport);
    return 0;
}

const struct virtio_driver virtio_9p_driver = {
    .id = VIRTIO_ID_9P,
    .name = "9P",
    .several = true,
    .probe = v9p_probe,
};
