// link: drivers/virtio.c drivers/virtqueue.c drivers/virtio_net.c kernel/netdev.c
/* Network cards: frames pass unharmed in both directions whatever the device offers; a device that lies ends with all that it had given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/net_card.h"

#define F_CSUM 1ul
#define F_GUEST_CSUM 2ul
#define F_MTU 8ul
#define F_MAC 0x20ul
#define F_GUEST_TSO 0x180ul
#define F_HOST_TSO 0x1800ul
#define F_MRG 0x8000ul
#define F_STATUS 0x10000ul
#define F_ALL (VIRTIO_F_VERSION_1 | VIRTIO_RING_F_EVENT_IDX | VIRTIO_RING_F_INDIRECT_DESC | 0xfffffful)

static int quiet(void **state) {
    struct net_device *d; /* there are as many names as a machine may have cards */
    while ((d = net_device_next(NULL)))
        list_remove(&d->link_all);
    return 0;
}

static void begin(uint64_t features, unsigned max) {
    quiet(NULL);
    card_prepare(features, max);
    assert_true(card_begin());
    card_hurry();
}

/* --- Receiving --- */
static uint8_t sent[NET_FRAME_MAX + 100], seen[NET_FRAME_MAX];
static uint32_t seen_len;
static bool seen_good;
static void look(struct net_buffer *frame) {
    seen_len = 0;
    seen_good = frame->checksum_good;
    assert_int_equal((uintptr_t)(frame->data + ETHERNET_HEADER) % 4, 0);
    for (struct net_buffer *b = frame; b; b = b->next) {
        memcpy(seen + seen_len, b->data, b->len);
        seen_len += b->len;
    }
    card_give_back(frame);
}

static void receives(uint64_t features, uint32_t most) {
    begin(features, 256);
    card_look = look;
    for (unsigned i = 0; i < 1000; i++) {
        uint32_t len = ETHERNET_HEADER + (uint32_t)rand() % (i % 4 ? 1487 : most - ETHERNET_HEADER + 1);
        unsigned flags = (unsigned)rand() % 3, buffers;
        for (uint32_t k = 0; k < len; k++)
            sent[k] = (uint8_t)rand();
        assert_true((buffers = card_deliver(sent, len, flags)));
        unsigned before = card_frames, woken = card_woken;
        card_interrupts();
        assert_true(card_woken > woken);
        assert_int_equal(card->ops->poll(card, 64), 1);
        assert_true(card->ops->interrupts_on(card));
        assert_int_equal(card_frames, before + 1);
        assert_int_equal(seen_len, len);
        assert_memory_equal(seen, sent, len);
        assert_int_equal(seen_good, (features & F_GUEST_CSUM) && flags);
        assert_true(card_offered(0) > fake.queues[0].q->size / 2);
        if (card_pages_freed > 1000)
            begin(features, 256), card_look = look;
    }
    card_end();
}

static void frames_arrive(void **state) {
    receives(F_ALL, NET_FRAME_MAX);
    receives(F_ALL & ~F_MRG, 3900);
    receives(F_ALL & ~F_GUEST_CSUM, 1514);
    receives(F_ALL & ~(VIRTIO_RING_F_EVENT_IDX | VIRTIO_RING_F_INDIRECT_DESC), NET_FRAME_MAX);
    receives(VIRTIO_F_VERSION_1, 1514);
}

static void budget_is_kept(void **state) {
    begin(F_ALL, 256);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(card_deliver(sent, 60, 0), 1);
    assert_int_equal(card->ops->poll(card, 64), 64);
    assert_false(card->ops->interrupts_on(card));
    assert_int_equal(card->ops->poll(card, 64), 36);
    assert_true(card->ops->interrupts_on(card));
    assert_int_equal(card->statistics.rx_packets, 100);
    assert_int_equal(card->statistics.rx_bytes, 6000);
    /* One that is too short is counted and forgotten. */
    assert_int_equal(card_deliver(sent, 13, 0), 1);
    assert_int_equal(card->ops->poll(card, 64), 1);
    assert_int_equal(card_frames, 100);
    assert_int_equal(card->statistics.rx_errors, 1);
    assert_false(card_device.broken);
    card_end();
}

static struct net_buffer *kept[256];
static unsigned kept_count;
static void keep(struct net_buffer *frame) { kept[kept_count++] = frame; }

static void no_memory(void **state) {
    begin(F_ALL, 256);
    card_look = keep;
    kept_count = 0;
    fake_next_page = FAKE_PAGES; /* none is left */
    for (unsigned i = 0; i < 256; i++)
        assert_int_equal(card_deliver(sent, 1000, 0), 1);
    card_interrupts();
    while (card->ops->poll(card, 64))
        ;
    assert_int_equal(kept_count, 256);
    assert_int_equal(card_offered(0), 0);
    assert_non_null(card_timer);
    /* The timer asks for a poll, as long as there is none. */
    for (unsigned i = 0; i < 3; i++) {
        unsigned woken = card_woken;
        struct timer *t = card_timer;
        card_timer = NULL;
        t->fn(t);
        assert_int_equal(card_woken, woken + 1);
        card->ops->poll(card, 64);
        assert_non_null(card_timer);
    }
    for (unsigned i = 0; i < 64; i++)
        net_buffer_recycle(card, kept[i]);
    card->ops->poll(card, 64);
    assert_int_equal(card_offered(0), 64);
    assert_int_equal(card_deliver(sent, 60000, 0), 16);
    card_look = NULL;
    card->ops->poll(card, 64);
    assert_int_equal(card_frames, 257);
    card_end();
}

/* --- A device that lies --- */
static void lie(unsigned kind) {
    begin(F_ALL, 256);
    unsigned first_page = fake_next_page;
    for (unsigned i = 0; i < 40; i++) { /* some packets that it has */
        struct card_packet *p = &card_packets[i];
        p->packet = (struct net_packet){.segments = p->segments, .count = 1, .len = 60, .done = card_packet_done};
        p->segments[1] = (struct net_segment){card_packets, 60};
        p->busy = true;
        card_busy++;
        assert_int_equal(card->ops->send(card, &p->packet), 0);
    }
    assert_int_equal(card_deliver(sent, 100, 0), 1); /* an honest one before */
    struct card_chain c = card_rx_pop(), d = card_rx_pop();
    struct card_header h = {.buffers = 1};
    uint32_t len = 100;
    switch (kind) {
    case 0: fake_push(0, 256, 100); break;                    /* no such buffer */
    case 1: fake_push(0, (uint32_t)c.head, c.len + 1); break; /* longer than it is */
    case 2: fake.queues[0].q->used->index += 300; break;      /* more than there are */
    case 3: fake_push(0, (uint32_t)c.head, 11); break;        /* no header */
    case 4: h.buffers = 0; break;
    case 5: h.buffers = 2; break; /* of which one is there */
    case 6: h.buffers = UINT16_MAX; break;
    case 7: h.buffers = 2, len = 0; break;      /* the second one is empty */
    case 8: h.buffers = 18, len = c.len; break; /* too long */
    case 9: fake_push(1, 300, 0); break;        /* sent what it was not given */
    }
    if (kind >= 4 && kind <= 8) {
        memcpy(c.at, &h, 12);
        fake_push(0, (uint32_t)c.head, kind == 8 ? c.len : 100);
        for (unsigned i = 1; i < h.buffers && kind >= 7; i++, d = card_rx_pop())
            fake_push(0, (uint32_t)d.head, len);
    }
    if (kind == 1)
        memcpy(c.at, &h, 12);
    unsigned changes = card_link_changes;
    card->ops->poll(card, 64);
    assert_true(card_device.broken);
    assert_int_equal(card_frames, kind != 2 && kind != 9);
    card_end();
    assert_int_equal(card_link_changes, changes + 1);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(card_packets[i].done, 1);
    assert_int_equal(card->ops->send(card, &card_packets[0].packet), -EIO);
    assert_int_equal(card->ops->poll(card, 64), 0);
    assert_int_equal(card_pages_freed, 256 + fake_next_page - first_page); /* all that it ever had */
    card_end();
}

static void lies_are_found(void **state) {
    for (unsigned kind = 0; kind < 10; kind++)
        lie(kind);
}

/* --- Sending --- */
struct taken {
    uint32_t id, len;
    struct card_header header;
    uint8_t bytes[NET_FRAME_MAX];
};
static bool take(struct taken *t) {
    struct virtq_desc d, *table = fake.queues[1].q->desc;
    int head = fake_pop(1, &d);
    if (head < 0)
        return false;
    unsigned at = (unsigned)head, n = 0;
    t->id = (uint32_t)head;
    t->len = 0;
    if (d.flags & 4) {
        assert_true(fake.accepted & VIRTIO_RING_F_INDIRECT_DESC);
        table = fake_virt(d.addr);
        assert_true(d.len / 16 <= fake.queues[1].q->size);
        at = 0;
    }
    for (;; at = table[at].next, n++) {
        assert_int_equal(table[at].flags & 2, 0);
        if (n == 0) {
            assert_true(table[at].len >= 12);
            memcpy(&t->header, fake_virt(table[at].addr), 12);
            t->len = table[at].len - 12;
            memcpy(t->bytes, (char *)fake_virt(table[at].addr) + 12, t->len);
        } else {
            memcpy(t->bytes + t->len, fake_virt(table[at].addr), table[at].len);
            t->len += table[at].len;
        }
        if (!(table[at].flags & 1))
            return t->len > 0;
    }
}

static struct card_packet *order[CARD_PACKETS]; /* as they were sent, until the device has taken them */
static unsigned order_first, order_last, held_count;
static uint32_t held[CARD_PACKETS];

/* The device takes what it is told of, and looks at the bytes. */
static void device_take(void) {
    static struct taken t;
    while (take(&t)) {
        struct card_packet *c = order[order_first++ % CARD_PACKETS];
        const struct net_packet *p = &c->packet;
        assert_true(order_first <= order_last && c->busy);
        assert_int_equal(t.len, p->len);
        assert_int_equal(t.header.flags, p->checksum_start ? 1 : 0);
        assert_int_equal(t.header.start, p->checksum_start);
        assert_int_equal(t.header.offset, p->checksum_offset);
        assert_int_equal(t.header.gso_type, p->gso == NET_GSO_TCP6 ? 4 : p->gso);
        assert_int_equal(t.header.gso_size, p->gso_size);
        assert_int_equal(t.header.header_len, p->header_len);
        held[held_count++] = t.id;
    }
}

/* And ends some, in any order. Some devices of old say a length, too. */
static void device_end(unsigned count) {
    while (count-- && held_count) {
        unsigned i = (unsigned)rand() % held_count;
        fake_push(1, held[i], rand() % 2 ? 60 : 0);
        held[i] = held[--held_count];
    }
}

static void sends(uint64_t features, unsigned max) {
    unsigned full = 0;
    begin(features, max);
    order_first = order_last = held_count = 0;
    uint8_t *data = page_to_virt(page_alloc(8, 0));
    for (unsigned i = 0; i < 6000; i++) {
        struct card_packet *p = &card_packets[rand() % CARD_PACKETS];
        if (!p->busy) {
            p->packet = (struct net_packet){.segments = p->segments, .done = card_packet_done};
            p->packet.count = (uint16_t)(1 + (unsigned)rand() % (rand() % 4 ? 3 : card->segments_max));
            for (unsigned k = 1; k <= p->packet.count; k++) {
                p->segments[k] = (struct net_segment){data + rand() % (1 << 19), 14 + (uint32_t)rand() % 1200};
                p->packet.len += p->segments[k].len;
            }
            if (rand() % 2) { /* the driver's header goes in front of the data */
                uint8_t *own = data + (768 << 10) + (p - card_packets) * 128;
                p->packet.headroom = true;
                p->packet.len += 100 - p->segments[1].len;
                p->segments[1] = (struct net_segment){own + 12, 100};
                memset(own, 0xee, 12);
            }
            if (rand() % 2) {
                p->packet.checksum_start = 34;
                p->packet.checksum_offset = 16;
                p->packet.gso = (uint8_t)(rand() % 3);
                p->packet.gso_size = p->packet.gso ? 1448 : 0;
                p->packet.header_len = p->packet.gso ? 66 : 0;
            }
            int err = card->ops->send(card, &p->packet);
            if (err) { /* it is told as soon as there is room */
                assert_int_equal(err, -ENOSPC);
                full++;
                card_kick();
                device_take();
                assert_true(held_count > 0);
                unsigned woken = card_woken;
                device_end(1);
                card_interrupts();
                assert_true(card_woken > woken);
                card->ops->poll(card, 64);
            } else {
                p->busy = true;
                card_busy++;
                order[order_last++ % CARD_PACKETS] = p;
            }
        }
        if (rand() % 3 == 0)
            card_kick();
        if (rand() % 8 == 0)
            device_take();
        device_end((unsigned)rand() % 3);
        if (rand() % 3 == 0)
            card->ops->poll(card, 64);
    }
    assert_true(full > 0 || max > 64);
    card_kick();
    device_take();
    device_end(CARD_PACKETS);
    card->ops->poll(card, 64);
    assert_int_equal(order_first, order_last);
    assert_int_equal(card_busy, 0);
    assert_false(card_device.broken);
    card_end();
}

static void packets_leave(void **state) {
    sends(F_ALL, 256);
    sends(F_ALL, 16);
    sends(F_ALL & ~VIRTIO_RING_F_INDIRECT_DESC, 256);
    sends(F_ALL & ~VIRTIO_RING_F_INDIRECT_DESC, 8);
    sends(F_ALL & ~VIRTIO_RING_F_EVENT_IDX, 16);
}

static void bytes_leave(void **state) {
    static struct taken t;
    for (unsigned indirect = 0; indirect < 2; indirect++) {
        begin(indirect ? F_ALL : F_ALL & ~VIRTIO_RING_F_INDIRECT_DESC, 256);
        uint8_t *data = page_to_virt(page_alloc(4, 0));
        for (unsigned i = 0; i < 1 << 16; i++)
            data[i] = (uint8_t)rand();
        for (unsigned count = 1; count <= card->segments_max; count++) {
            struct card_packet *p = &card_packets[0];
            uint8_t want[65536];
            p->packet =
                (struct net_packet){.segments = p->segments, .done = card_packet_done, .count = (uint16_t)count};
            for (unsigned k = 1; k <= count; k++) {
                p->segments[k] = (struct net_segment){data + rand() % 50000, 1 + (uint32_t)rand() % 1200};
                memcpy(want + p->packet.len, p->segments[k].data, p->segments[k].len);
                p->packet.len += p->segments[k].len;
            }
            p->busy = true;
            card_busy++;
            assert_int_equal(card->ops->send(card, &p->packet), 0);
            assert_true(take(&t));
            assert_int_equal(t.len, p->packet.len);
            assert_memory_equal(t.bytes, want, t.len);
            fake_push(1, t.id, 0);
            card->ops->poll(card, 64);
            assert_false(p->busy);
        }
        assert_int_equal(card->statistics.tx_packets, card->segments_max);
        card_end();
    }
}

static void waits_for_what_was_sent(void **state) {
    static struct taken t;
    for (unsigned events = 0; events < 2; events++) {
        begin(events ? F_ALL : F_ALL & ~VIRTIO_RING_F_EVENT_IDX, 256);
        uint32_t ids[3];
        for (unsigned i = 0; i < 3; i++) {
            struct card_packet *p = &card_packets[i];
            p->packet = (struct net_packet){.segments = p->segments, .count = 1, .len = 60, .done = card_packet_done};
            p->segments[1] = (struct net_segment){card_packets, 60};
            p->busy = true;
            card_busy++;
            assert_int_equal(card->ops->send(card, &p->packet), 0);
            assert_true(take(&t));
            ids[i] = t.id;
        }
        unsigned woken = card_woken;
        card->ops->want_sent(card);
        assert_int_equal(card_woken, woken + 1);
        card->ops->poll(card, 64);
        assert_true(card->ops->interrupts_on(card));
        const struct virtqueue *q = fake.queues[1].q;
        for (unsigned i = 0; i < 3; i++) /* an interrupt comes at the last of them, or at any */
            fake_push(1, ids[i], 0);
        if (events)
            assert_int_equal(q->avail->ring[q->size], (uint16_t)(q->used->index - 1));
        else
            assert_int_equal(q->avail->flags, 0);
        assert_false(card->ops->interrupts_on(card)); /* there is something */
        card->ops->poll(card, 64);
        assert_int_equal(card_busy, 0);
        assert_true(card->ops->interrupts_on(card));
        if (!events)
            assert_int_equal(q->avail->flags, 1);
        card_end();
    }
}

/* --- What it says of itself --- */
static void features_that_belong_together(void **state) {
    begin(F_ALL, 256);
    assert_int_equal(fake.accepted & 0xfffff,
                     F_CSUM | F_GUEST_CSUM | F_MTU | F_MAC | F_GUEST_TSO | F_HOST_TSO | F_MRG | F_STATUS);
    assert_true(card->checksum && card->gso4 && card->gso6 && card->link);
    assert_int_equal(card->mtu, 1500);
    assert_memory_equal(card->mac, "\x52\x54\0\x12\x34\x56", 6);
    begin(F_ALL & ~F_CSUM, 256);
    assert_int_equal(fake.accepted & F_HOST_TSO, 0);
    assert_false(card->checksum || card->gso4 || card->gso6);
    begin(F_ALL & ~F_MRG, 256);
    assert_int_equal(fake.accepted & F_GUEST_TSO, 0);
    begin(F_ALL & ~F_GUEST_CSUM, 256);
    assert_int_equal(fake.accepted & F_GUEST_TSO, 0);
    begin(F_ALL, 16); /* too few buffers for a long frame */
    assert_int_equal(fake.accepted & (F_GUEST_TSO | F_HOST_TSO), 0);
    assert_int_equal(card->segments_max, 15);
    card_ram = 2048; /* 8 MiB */
    begin(F_ALL, 1024);
    assert_int_equal(fake.queues[0].q->size, 32);
    assert_int_equal(card_offered(0), 32);
    card_ram = 1 << 20;
    begin(F_ALL & ~F_MAC, 256);
    assert_int_equal(card->mac[0], 0x56);
}

static void odd_configurations(void **state) {
    card_prepare(F_ALL, 256);
    memset(fake.config, 0xff, 6);
    assert_true(card_begin());
    assert_int_equal(card->mac[0] & 3, 2);
    quiet(NULL);
    card_prepare(F_ALL, 256);
    memset(fake.config + 10, 0, 2);
    assert_false(card_begin()); /* no MTU */
    card_prepare(F_ALL, 2);
    assert_false(card_begin());
    card_prepare(F_ALL, 0);
    assert_false(card_begin());
    card_prepare(F_ALL & ~F_MRG, 256);
    memset(fake.config + 10, 0xff, 2);
    assert_true(card_begin());
    assert_true(card->mtu > 1500 && card->mtu < PAGE_SIZE); /* what fits into one buffer */
    quiet(NULL);
}

static void link_goes_down_and_up(void **state) {
    begin(F_ALL, 256);
    for (unsigned i = 0; i < 4; i++) {
        fake.config[6] = i % 2;
        unsigned woken = card_woken, changes = card_link_changes;
        virtio_config_interrupt(&card_device);
        assert_int_equal(card_woken, woken + 1);
        assert_false(card->ops->interrupts_on(card)); /* there is something to do */
        card->ops->poll(card, 64);
        assert_int_equal(card->link, i % 2);
        assert_int_equal(card_link_changes, changes + 1);
        assert_true(card->ops->interrupts_on(card));
    }
    fake.status |= 64; /* it wants to be reset */
    virtio_config_interrupt(&card_device);
    card->ops->poll(card, 64);
    assert_true(card_device.broken);
    card_end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(frames_arrive, quiet),
        cmocka_unit_test_setup(budget_is_kept, quiet),
        cmocka_unit_test_setup(no_memory, quiet),
        cmocka_unit_test_setup(lies_are_found, quiet),
        cmocka_unit_test_setup(packets_leave, quiet),
        cmocka_unit_test_setup(bytes_leave, quiet),
        cmocka_unit_test_setup(waits_for_what_was_sent, quiet),
        cmocka_unit_test_setup(features_that_belong_together, quiet),
        cmocka_unit_test_setup(odd_configurations, quiet),
        cmocka_unit_test_setup(link_goes_down_and_up, quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
