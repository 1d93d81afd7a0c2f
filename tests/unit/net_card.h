/*
 * A network card for tests of its driver: the fake device of fake_virtio.h with a stack above that checks what it gets, and counts
 * pages and packets, so that each is seen to come back once. For the unit tests and the fuzzer; include it once per program.
 */
#pragma once

#ifndef FAKE_PAGES
#define FAKE_PAGES 4096
#endif
#include "kernel/netdev.h"
#include "kernel/random.h"
#include "kernel/time.h"
#include "tests/unit/fake_virtio.h"

const struct virtio_driver *const virtio_drivers[] = {&virtio_net_driver, NULL};

/* --- The machine --- */
#define CARD_CHECK(cond)                                                                                               \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);                                         \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static uint64_t card_ram = 1 << 20; /* pages */
static bool card_freed[FAKE_PAGES];
static unsigned card_pages_freed;
uint64_t page_total(void) { return card_ram; }
void page_unref(struct page *p) {
    size_t i = (size_t)(p - page_array);
    CARD_CHECK(i < FAKE_PAGES && !card_freed[i]);
    card_freed[i] = true;
    card_pages_freed++;
}
void random_bytes(void *buf, size_t len) { memset(buf, 0x55, len); }
static struct timer *card_timer;
void timer_init(struct timer *t, timer_fn fn) { t->fn = fn; }
void timer_add(struct timer *t, nsec_t deadline) { card_timer = t; }
nsec_t time_monotonic(void) { return 0; }

/* --- The stack --- */
static struct virtio_device card_device;
static struct net_device *card;
static unsigned card_woken, card_frames, card_link_changes;
static unsigned card_pages_held; /* by frames that the stack has */
static struct net_buffer *card_last;
static void (*card_look)(struct net_buffer *frame); /* NULL: each frame is given back at once */

static void card_give_back(struct net_buffer *frame) {
    for (struct net_buffer *b = frame, *next; b; b = next) {
        next = b->next;
        if (rand() % 2)
            net_buffer_recycle(card, b);
        else
            net_buffer_free(b);
    }
}

static void card_input(struct net_device *dev, struct net_buffer *frame) {
    uint32_t total = 0;
    CARD_CHECK(dev == card && frame->len >= ETHERNET_HEADER && frame->total <= NET_FRAME_MAX);
    for (struct net_buffer *b = frame; b; b = b->next) {
        CARD_CHECK(!card_freed[virt_to_page(b) - page_array]);
        CARD_CHECK(((uintptr_t)b & ~PAGE_MASK) == 0 && b->len && b->data >= (uint8_t *)(b + 1) &&
                   b->data + b->len <= (uint8_t *)b + PAGE_SIZE);
        total += b->len;
    }
    CARD_CHECK(total == frame->total);
    card_frames++;
    card_last = frame;
    if (card_look)
        card_look(frame);
    else
        card_give_back(frame);
}

static void card_kick(void) {
    unsigned what = card->ops->kick(card);
    if (what)
        card->ops->notify(card, what);
}

static void card_wake(struct net_device *dev) {
    CARD_CHECK(dev == card);
    card_woken++;
}
static void card_link_changed(struct net_device *dev) { card_link_changes++; }

#define CARD_PACKETS 600
struct card_packet {
    struct net_packet packet;
    struct net_segment segments[1 + NET_SEGMENTS_MAX];
    bool busy;
    unsigned done;
};
static struct card_packet *card_packets; /* in the machine's memory, as are their bytes */
static unsigned card_busy;

static void card_packet_done(struct net_packet *p) {
    struct card_packet *c = container_of(p, struct card_packet, packet);
    CARD_CHECK(c->busy);
    c->busy = false;
    c->done++;
    card_busy--;
}

/* --- The beginning and the end of a test --- */
static void card_prepare(uint64_t features, unsigned max) {
    fake_reset();
    memset(card_freed, 0, sizeof(card_freed));
    memset(page_array, 0, FAKE_PAGES * sizeof(*page_array));
    card_pages_freed = card_woken = card_frames = card_link_changes = card_busy = card_pages_held = 0;
    card_timer = NULL;
    card_look = NULL;
    card = NULL;
    fake.offered = features;
    fake.max = (uint16_t)max;
    memcpy(fake.config, "\x52\x54\0\x12\x34\x56\1\0\0\0\xdc\5", 12); /* MAC, link up, queue pairs, MTU 1500 */
    card_device = (struct virtio_device){.transport = &fake_transport, .id = VIRTIO_ID_NET, .bus = "fake"};
    net_device_wake = card_wake;
}

/* Chains that the driver's queue has out, and pages that nobody has given back. */
static unsigned card_offered(unsigned queue) {
    unsigned n = 0;
    for (unsigned i = 0; i < fake.queues[queue].q->size; i++)
        n += fake.queues[queue].q->state[i].cookie != NULL;
    return n;
}

/* A broken device has given up all, once; buffers may only be where they are counted. */
static void card_end(void) {
    card->ops->poll(card, 64);
    if (card_device.broken) {
        CARD_CHECK(card_offered(0) == 0 && card_offered(1) == 0 && card_busy == 0);
        CARD_CHECK(!card->spare && !card->link && card->ops->interrupts_on(card));
        CARD_CHECK(fake_errors == 1);
    } else {
        CARD_CHECK(card_offered(1) == card_busy);
    }
}

/* --- The device's side --- */
#define CARD_OFFSET (sizeof(struct net_buffer) + 2) /* of the header in a buffer's page */

struct card_chain {
    int head;
    uint8_t *at;
    uint32_t len;
};
/* The next receive buffer. */
static struct card_chain card_rx_pop(void) {
    struct virtq_desc d;
    int head = fake_pop(0, &d);
    if (head < 0)
        return (struct card_chain){-1, NULL, 0};
    CARD_CHECK(d.flags == 2);
    return (struct card_chain){head, fake_virt(d.addr), d.len};
}

struct card_header {
    uint8_t flags, gso_type;
    uint16_t header_len, gso_size, start, offset, buffers;
};

/* Delivers a frame as a device does. Returns the number of buffers; 0: there are not enough. */
static unsigned card_deliver(const uint8_t *frame, uint32_t len, unsigned flags) {
    struct card_chain c[64] = {{0}};
    uint32_t room = 0, at = 0;
    unsigned n = 0;
    uint16_t seen = fake.queues[0].seen;
    while (room < len + 12) {
        c[n] = card_rx_pop();
        if (c[n].head < 0 || n == 63) {
            fake.queues[0].seen = seen;
            return 0;
        }
        room += c[n++].len;
    }
    struct card_header h = {.flags = (uint8_t)flags, .buffers = (uint16_t)n};
    memcpy(c[0].at, &h, 12);
    for (unsigned i = 0; i < n; i++) {
        uint32_t skip = i ? 0 : 12, take = MIN(c[i].len - skip, len - at);
        memcpy(c[i].at + skip, frame + at, take);
        at += take;
        fake_push(0, (uint32_t)c[i].head, take + skip);
    }
    return n;
}

static bool card_begin(void) {
    if (virtio_device_found(&card_device) < 0)
        return false;
    for (struct net_device *d = NULL; (d = net_device_next(d));)
        card = d;
    card->input = card_input;
    card->link_changed = card_link_changed;
    if (card->ops->start(card) < 0)
        return false;
    card_packets = page_to_virt(page_alloc(8, PA_ZERO));
    return true;
}

/* Frames that come quickly: the driver then offers all the buffers that it may. */
static inline void card_hurry(void) {
    static const uint8_t frame[60];
    for (unsigned i = 0; i < 5; i++) {
        while (card_deliver(frame, sizeof(frame), 0))
            ;
        card->ops->poll(card, ~0u);
    }
    card->statistics = (struct net_statistics){0};
    card_frames = card_pages_freed = 0;
}

static void card_interrupts(void) {
    for (unsigned q = 0; q < 2; q++)
        if (fake.queues[q].q)
            virtq_interrupt(fake.queues[q].q);
}
