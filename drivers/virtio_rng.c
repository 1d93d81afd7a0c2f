// The entropy source on a virtio entropy device (section 5.4): one queue; a buffer comes back filled with random bytes. The
// generator (kernel/random.c) asks; one buffer is on its way at a time, and nobody waits for it.
// Lock: rng.lock, interrupt-safe, a leaf but for the transport.
#include "drivers/virtio.h"

#include "kernel/threads/lock.h"
#include "kernel/random.h"
#include "kernel/string.h"

#define REQUEST_SIZE 64

static struct {
    struct spinlock lock;
    struct virtqueue *queue;
    bool busy;                                // the device has the buffer
    uint8_t buffer[REQUEST_SIZE] ALIGNED(64); // in the kernel's image, which is physically contiguous
} rng = {.lock = SPINLOCK_INIT};

static void rng_request(void) {
    uint64_t flags = spin_lock_irqsave(&rng.lock);
    struct virtq_buffer buffer = {rng.buffer, REQUEST_SIZE};
    if (!rng.busy && virtq_add(rng.queue, &buffer, 0, 1, rng.buffer) == 0) {
        rng.busy = true;
        virtq_kick(rng.queue);
    }
    spin_unlock_irqrestore(&rng.lock, flags);
}

static void rng_interrupt(void *arg) {
    uint8_t bytes[REQUEST_SIZE];
    uint32_t filled = 0;
    uint64_t flags = spin_lock_irqsave(&rng.lock);
    if (virtq_take(rng.queue, &filled)) {
        memcpy(bytes, rng.buffer, filled);
        memset(rng.buffer, 0, sizeof(rng.buffer));
        rng.busy = false;
    }
    spin_unlock_irqrestore(&rng.lock, flags);
    if (filled)
        random_add(bytes, filled, filled * 8);
    memset(bytes, 0, sizeof(bytes));
    // A device may answer with fewer bytes than it was asked for; then there is need for more.
    if (filled && filled < 32)
        rng_request();
}

static const struct entropy_source rng_source = {.request = rng_request};

static int rng_probe(struct virtio_device *dev) {
    int err = virtio_negotiate(dev, 0);
    if (err < 0)
        return err;
    rng.queue = virtq_create(dev, 0, 4, rng_interrupt, NULL);
    if (!rng.queue)
        return -ENODEV;
    virtio_start(dev);
    random_set_source(&rng_source);
    return 0;
}

const struct virtio_driver virtio_rng_driver = {
    .id = VIRTIO_ID_RNG,
    .name = "entropy source",
    .probe = rng_probe,
};
