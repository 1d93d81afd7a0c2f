// The machine's console on a virtio console device (section 5.3): on port 0 of a simple device, or on the first port that a
// device with the multiport feature adds (port 0 or 1). QEMU holds back a guest that writes faster than the host reads only
// on ports that are not 0 (virtserialport); on port 0 (virtconsole) it throws away what does not fit.
//
// Output is copied into a ring of bytes and handed to the device in pieces, one descriptor each, so that a writer waits
// for the host only when the ring is full. The device's interrupts about output are off except while somebody waits.
// Input lies in the buffers that the device filled until chardev_ops.read takes it; then the buffer is offered again.
// Lock: console.lock, interrupt-safe, a leaf but for the transport.
#include "drivers/virtio.h"

#include "kernel/chardev.h"
#include "kernel/threads/lock.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/x86/io.h"

// Queues: port 0 has 0 and 1, the control queues are 2 and 3, port 1 has 4 and 5. The first of each pair receives.
#define QUEUE_CONTROL_RX 2
#define QUEUE_CONTROL_TX 3
#define PORTS 2
#define QUEUE_RX(port) ((port) ? 4u : 0u)

#define F_MULTIPORT 2 // feature bit 1
// Section 5.3.6.2: control messages
#define DEVICE_READY 0
#define DEVICE_ADD 1
#define PORT_READY 3
#define PORT_OPEN 6
struct control {
    uint32_t port;
    uint16_t event, value;
};
_Static_assert(sizeof(struct control) == 8, "virtio 1.2, 5.3.6.2");
#define CONTROL_BUFFERS 4
#define CONTROL_BUFFER_SIZE 128 // with a name behind it

#define RX_BUFFERS 4
#define RX_BUFFER_SIZE 2048
#define TX_RING_SIZE 16384
#define TX_WAKE_ROOM (TX_RING_SIZE / 4) // a waiting writer is woken when so much is free: not for every byte

struct tx_piece {
    uint32_t len;
    bool done;
};

static struct {
    struct spinlock lock;
    struct virtio_device *dev;
    struct virtqueue *rx, *tx; // NULL: no port was added yet
    struct virtqueue *ports[PORTS][2], *control_rx, *control_tx;
    struct control control_out[4];
    unsigned control_sent;
    uint8_t *rx_pages, *control_in;
    // Input: the buffer being read.
    uint8_t *rx_current;
    uint32_t rx_used, rx_filled;
    // Output: bytes [tail, head) of the ring belong to the device (free-running counters); pieces in the order of the
    // ring, since a device may return them in another.
    uint8_t *tx_ring;
    uint32_t tx_head, tx_tail;
    struct tx_piece pieces[VIRTQ_MAX_SIZE];
    uint32_t piece_head, piece_tail;
    bool writer_waits; // a write was cut short: chardev_console_writable is owed, and interrupts are on
    bool alone; // the end of the machine: nobody else runs, whoever held the lock never gives it back
} console = {.lock = SPINLOCK_INIT};

static uint64_t lock(void) {
    if (likely(!console.alone))
        return spin_lock_irqsave(&console.lock);
    return irq_save();
}

static void unlock(uint64_t flags) {
    if (likely(!console.alone))
        spin_unlock(&console.lock);
    irq_restore(flags);
}

// Lock held. Frees the ring up to the oldest piece that the device still has.
static void tx_reclaim(void) {
    struct tx_piece *piece;
    while ((piece = virtq_take(console.tx, NULL)))
        piece->done = true;
    while (console.piece_tail != console.piece_head) {
        piece = &console.pieces[console.piece_tail % VIRTQ_MAX_SIZE];
        if (!piece->done)
            break;
        console.tx_tail += piece->len;
        console.piece_tail++;
    }
}

// Lock held.
static uint32_t tx_room(void) {
    if (console.piece_head - console.piece_tail >= VIRTQ_MAX_SIZE || virtq_free(console.tx) == 0)
        return 0;
    return TX_RING_SIZE - (console.tx_head - console.tx_tail);
}

// Lock held. Copies what fits; the ring's end may split it in two pieces.
static size_t tx_copy(const uint8_t *data, size_t len) {
    size_t done = 0;
    while (done < len) {
        uint32_t at = console.tx_head % TX_RING_SIZE;
        uint32_t n = (uint32_t)MIN(len - done, (size_t)MIN(tx_room(), TX_RING_SIZE - at));
        if (n == 0)
            break;
        memcpy(console.tx_ring + at, data + done, n);
        struct tx_piece *piece = &console.pieces[console.piece_head % VIRTQ_MAX_SIZE];
        *piece = (struct tx_piece){.len = n};
        struct virtq_buffer buffer = {console.tx_ring + at, n};
        if (virtq_add(console.tx, &buffer, 1, 0, piece) < 0)
            break;
        console.piece_head++;
        console.tx_head += n;
        done += n;
    }
    virtq_kick(console.tx);
    return done;
}

static size_t console_write(const void *data, size_t len) {
    uint64_t flags = lock();
    if (unlikely(console.dev->broken)) { // output goes nowhere; that is better than a program that hangs in write(2)
        unlock(flags);
        return len;
    }
    if (unlikely(!console.tx)) {
        console.writer_waits = true;
        unlock(flags);
        return 0;
    }
    tx_reclaim();
    size_t done = tx_copy(data, len);
    while (done < len) {
        if (virtq_interrupts_on(console.tx) || console.dev->broken)
            break;
        uint32_t before = console.tx_tail;
        tx_reclaim();
        if (console.tx_tail ==
            before) // returned out of order: the oldest piece is still out, an interrupt comes for it
            break;
        done += tx_copy((const uint8_t *)data + done, len - done);
    }
    if (unlikely(console.dev->broken))
        done = len;
    // Success does not take away the interrupt that an earlier writer still waits for.
    if (done < len)
        console.writer_waits = true;
    else if (!console.writer_waits)
        virtq_interrupts_off(console.tx);
    unlock(flags);
    return done;
}

static void tx_interrupt(void *arg) {
    uint64_t flags = lock();
    tx_reclaim();
    bool wake = false;
    if (console.writer_waits) {
        wake = tx_room() >= TX_WAKE_ROOM || console.dev->broken;
        while (!wake && !virtq_interrupts_on(console.tx)) {
            tx_reclaim();
            wake = tx_room() >= TX_WAKE_ROOM || console.dev->broken;
            if (console.tx_head == console.tx_tail)
                break;
        }
        if (wake) {
            console.writer_waits = false;
            virtq_interrupts_off(console.tx);
        }
    }
    unlock(flags);
    if (wake)
        chardev_console_writable();
}

static void rx_offer(uint8_t *data) {
    struct virtq_buffer buffer = {data, RX_BUFFER_SIZE};
    virtq_add(console.rx, &buffer, 0, 1, data); // cannot be full: it has a descriptor for each buffer
}

// Lock held.
static void open_port(unsigned port) {
    console.rx = console.ports[port][0];
    console.tx = console.ports[port][1];
    virtq_interrupts_off(console.tx);
    for (unsigned i = 0; i < MIN((unsigned)RX_BUFFERS, console.rx->size); i++)
        rx_offer(console.rx_pages + i * RX_BUFFER_SIZE);
    virtq_kick(console.rx);
}

// --- Several ports ---

static void control_send(uint32_t port, uint16_t event) {
    if (console.control_sent == ARRAY_SIZE(console.control_out)) // each message is sent once
        return;
    struct control *c = &console.control_out[console.control_sent++];
    *c = (struct control){port, event, 1};
    struct virtq_buffer buffer = {c, sizeof(*c)};
    virtq_add(console.control_tx, &buffer, 1, 0, c);
}

static void control_offer(uint8_t *data) {
    struct virtq_buffer buffer = {data, CONTROL_BUFFER_SIZE};
    virtq_add(console.control_rx, &buffer, 0, 1, data);
}

// Lock held. True: the console has got its port. What the device says later (names, the host's side opened or closed) does
// not matter to us.
static bool control_receive(void) {
    bool opened = false;
    uint8_t *data;
    uint32_t len;
    while ((data = virtq_take(console.control_rx, &len))) {
        struct control c = {0};
        memcpy(&c, data, MIN(len, (uint32_t)sizeof(c)));
        control_offer(data);
        if (len < sizeof(c) || c.event != DEVICE_ADD || c.port >= PORTS || console.tx || !console.ports[c.port][0])
            continue;
        open_port(c.port);
        control_send(c.port, PORT_READY);
        control_send(c.port, PORT_OPEN);
        virtq_kick(console.control_tx);
        opened = true;
    }
    virtq_kick(console.control_rx);
    return opened;
}

static void control_interrupt(void *arg) {
    uint64_t flags = lock();
    bool wake = control_receive() && console.writer_waits;
    if (wake)
        console.writer_waits = false;
    unlock(flags);
    if (wake)
        chardev_console_writable();
}

static void control_tx_interrupt(void *arg) {} // the messages stay where they are

// --- The console ---

static size_t console_read(void *data, size_t size) {
    size_t done = 0;
    uint64_t flags = lock();
    while (done < size && console.rx) {
        if (!console.rx_current) {
            console.rx_current = virtq_take(console.rx, &console.rx_filled);
            console.rx_used = 0;
            if (!console.rx_current)
                break;
        }
        uint32_t n = (uint32_t)MIN(size - done, (size_t)(console.rx_filled - console.rx_used));
        memcpy((uint8_t *)data + done, console.rx_current + console.rx_used, n);
        done += n;
        console.rx_used += n;
        if (console.rx_used == console.rx_filled) {
            rx_offer(console.rx_current);
            console.rx_current = NULL;
        }
    }
    if (console.rx)
        virtq_kick(console.rx);
    bool broke = unlikely(console.dev->broken) && console.writer_waits;
    if (broke)
        console.writer_waits = false;
    unlock(flags);
    if (broke) // no interrupt will wake the writer any more
        chardev_console_writable();
    return done;
}

static void rx_interrupt(void *arg) { chardev_console_readable(); }

// Without an end while the host is slow to read: output is not thrown away. The holder of the lock may have been stopped
// for good in the middle of anything; then it goes on without.
static void console_flush(void) {
    for (int i = 0; i < 1000000 && !console.alone; i++) {
        if (spin_trylock(&console.lock)) {
            spin_unlock(&console.lock);
            break;
        }
        cpu_relax();
    }
    console.alone = true;
    uint64_t flags = lock();
    for (int i = 0; i < 10000000 && !console.tx && !console.dev->broken; i++) { // a device without ports has no host
        control_receive();
        cpu_relax();
    }
    while (console.tx && !console.dev->broken) {
        tx_reclaim();
        if (console.tx_head == console.tx_tail)
            break;
        cpu_relax();
    }
    unlock(flags);
}

static const struct chardev_ops console_ops = {
    .write = console_write,
    .read = console_read,
    .flush = console_flush,
};

static bool create_port(unsigned port) {
    struct virtqueue **pair = console.ports[port];
    pair[0] = virtq_create(console.dev, QUEUE_RX(port), RX_BUFFERS, rx_interrupt, NULL);
    pair[1] = virtq_create(console.dev, QUEUE_RX(port) + 1, VIRTQ_MAX_SIZE, tx_interrupt, NULL);
    return pair[0] && pair[1];
}

static bool create_control(void) {
    console.control_in = kmalloc(CONTROL_BUFFERS * CONTROL_BUFFER_SIZE);
    console.control_rx = virtq_create(console.dev, QUEUE_CONTROL_RX, CONTROL_BUFFERS, control_interrupt, NULL);
    console.control_tx = virtq_create(console.dev, QUEUE_CONTROL_TX, 4, control_tx_interrupt, NULL);
    return console.control_in && console.control_rx && console.control_tx;
}

// The device answers at once or later; an interrupt is asked for only when it is later.
static void start_control(void) {
    for (unsigned i = 0; i < MIN((unsigned)CONTROL_BUFFERS, console.control_rx->size); i++)
        control_offer(console.control_in + i * CONTROL_BUFFER_SIZE);
    virtq_interrupts_off(console.control_tx);
    virtq_interrupts_off(console.control_rx);
    virtq_kick(console.control_rx);
    control_send(0, DEVICE_READY);
    virtq_kick(console.control_tx);
    uint64_t flags = lock();
    do
        control_receive();
    while (!virtq_interrupts_on(console.control_rx) && !console.dev->broken);
    unlock(flags);
}

static int console_probe(struct virtio_device *dev) {
    int err = virtio_negotiate(dev, F_MULTIPORT);
    if (err < 0)
        return err;
    console.dev = dev;
    bool multiport = dev->features & F_MULTIPORT;
    struct page *rx_pages = page_alloc(1, 0);
    _Static_assert(RX_BUFFERS * RX_BUFFER_SIZE == 2 * PAGE_SIZE, "the block that is allocated");
    console.tx_ring = kmalloc(TX_RING_SIZE);
    if (!rx_pages || !console.tx_ring)
        return -ENOMEM;
    console.rx_pages = page_to_virt(rx_pages);
    if (!create_port(0))
        return -ENODEV;
    if (multiport && (!create_control() || (dev->transport->queue_max(dev, QUEUE_RX(1)) && !create_port(1))))
        return -ENODEV;
    virtio_start(dev);
    if (multiport)
        start_control();
    else
        open_port(0);
    chardev_register_console(&console_ops);
    return 0;
}

const struct virtio_driver virtio_console_driver = {
    .id = VIRTIO_ID_CONSOLE,
    .name = "console",
    .probe = console_probe,
};
