/* libFuzzer on a network card's side of its queues: whatever it writes into the used rings and into the buffers' headers, frames that go up are
 * whole and lie in their pages, each buffer and each packet comes back once, and a card that lies ends. */
#define FAKE_PAGES 1300
#include "tests/unit/net_card.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *at, *end;
static uint32_t take(unsigned bytes) {
    uint32_t v = 0;
    for (unsigned i = 0; i < bytes && at < end; i++)
        v |= (uint32_t)*at++ << 8 * i;
    return v;
}

static void send_one(void) {
    for (unsigned i = 0; i < CARD_PACKETS; i++) {
        struct card_packet *p = &card_packets[i];
        if (p->busy)
            continue;
        p->packet =
            (struct net_packet){.segments = p->segments, .count = 1 + i % card->segments_max, .done = card_packet_done};
        for (unsigned k = 1; k <= p->packet.count; k++) {
            p->segments[k] = (struct net_segment){card_packets, 60};
            p->packet.len += 60;
        }
        p->busy = card->ops->send(card, &p->packet) == 0;
        card_busy += p->busy;
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint64_t without[] = {0, 0x8000, VIRTIO_RING_F_INDIRECT_DESC, VIRTIO_RING_F_EVENT_IDX};
    at = data;
    end = data + size;
    for (struct net_device *d; (d = net_device_next(NULL));)
        list_remove(&d->link_all);
    unsigned kind = take(1);
    card_prepare((VIRTIO_F_VERSION_1 | VIRTIO_RING_F_EVENT_IDX | VIRTIO_RING_F_INDIRECT_DESC | 0xfffff) &
                     ~without[kind % 4],
                 kind & 4 ? 256 : 32);
    if (!card_begin())
        return 0;
    while (at < end) {
        struct card_chain c;
        struct virtq_desc d;
        int head;
        switch (take(1) % 10) {
        case 0: /* an honest frame */
            if (fake.queues[0].q->used->index - fake.queues[0].q->used_index < 32)
                card_deliver(data, (uint32_t)MIN(size, 1500), take(1));
            break;
        case 1: /* a header, and whatever length */
            if ((c = card_rx_pop()).head >= 0) {
                for (unsigned i = 0; i < 12; i++)
                    c.at[i] = (uint8_t)take(1);
                fake_push(0, (uint32_t)c.head, take(2));
            }
            break;
        case 2: fake_push(0, take(2), take(2)); break;
        case 3: fake.queues[0].q->used->index += (uint16_t)take(2); break;
        case 4: /* some more buffers of a frame */
            for (unsigned n = take(1) % 20; n && (c = card_rx_pop()).head >= 0; n--)
                fake_push(0, (uint32_t)c.head, c.len);
            break;
        case 5: send_one(); break;
        case 6:
            if ((head = fake_pop(1, &d)) >= 0)
                fake_push(1, (uint32_t)head, take(1));
            break;
        case 7: fake_push(1, take(2), take(4)); break;
        case 8:
            fake.config[6] = (uint8_t)take(1);
            virtio_config_interrupt(&card_device);
            break;
        case 9:
            card_interrupts();
            if (card->ops->poll(card, 8) < 8)
                card->ops->interrupts_on(card);
            break;
        }
        if (fake_next_page > FAKE_PAGES - 300)
            break;
    }
    for (unsigned i = 0; i < 64; i++)
        card->ops->poll(card, 64);
    card_end();
    return 0;
}
