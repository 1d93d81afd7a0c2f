// link: drivers/virtio.c drivers/virtqueue.c
/* Virtio devices and their queues: the steps of the initialisation, chains in any order, and devices that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_virtio.h"

static int probe_ok(struct virtio_device *dev) { return virtio_negotiate(dev, 0); }
static const struct virtio_driver console_driver = {.id = VIRTIO_ID_CONSOLE, .name = "console", .probe = probe_ok};
static const struct virtio_driver rng_driver = {.id = VIRTIO_ID_RNG, .name = "rng", .probe = probe_ok};
static const struct virtio_driver disk_driver = {
    .id = VIRTIO_ID_BLOCK, .name = "disk", .several = true, .probe = probe_ok};
const struct virtio_driver *const virtio_drivers[] = {&console_driver, &rng_driver, &disk_driver, NULL};

static struct virtio_device device;
static unsigned callbacks;
static void callback(void *arg) { callbacks++; }

static struct virtqueue *start(unsigned size, uint64_t features) {
    fake_reset();
    callbacks = 0;
    device = (struct virtio_device){.transport = &fake_transport, .bus = "fake"};
    assert_int_equal(virtio_negotiate(&device, features), 0);
    struct virtqueue *q = virtq_create(&device, 0, size, callback, NULL);
    assert_non_null(q);
    virtio_start(&device);
    return q;
}

static void follows_the_steps(void **state) {
    start(8, 0x3);
    assert_int_equal(fake.accepted, VIRTIO_F_VERSION_1 | 3);
    assert_int_equal(fake.status, 8 | 4); /* FEATURES_OK, DRIVER_OK */

    fake_reset();
    struct virtio_device dev = {.transport = &fake_transport, .id = VIRTIO_ID_RNG, .bus = "fake"};
    fake.status = 0x40;
    assert_true(virtio_wanted(VIRTIO_ID_RNG));
    assert_int_equal(virtio_device_found(&dev), 0);
    assert_int_equal(fake.status, 1 | 2 | 8);
    assert_false(virtio_wanted(VIRTIO_ID_RNG)); /* one is enough */
    assert_false(virtio_wanted(1));
    assert_int_equal(virtio_device_found(&dev), -ENODEV);

    struct virtio_device disks[3];
    for (int i = 0; i < 3; i++) { /* of these there may be several */
        disks[i] = (struct virtio_device){.transport = &fake_transport, .id = VIRTIO_ID_BLOCK, .bus = "fake"};
        assert_int_equal(virtio_device_found(&disks[i]), 0);
    }
}

static void refuses_what_it_cannot_use(void **state) {
    fake_reset();
    struct virtio_device dev = {.transport = &fake_transport, .id = VIRTIO_ID_CONSOLE, .bus = "fake"};
    fake.offered = 0xff; /* legacy */
    assert_int_equal(virtio_device_found(&dev), -ENODEV);
    assert_int_equal(fake.status, 128);
    assert_non_null(strstr(fake_last_error, "cannot use it"));

    fake_reset();
    fake.refuse_features = true;
    dev = (struct virtio_device){.transport = &fake_transport, .id = VIRTIO_ID_CONSOLE, .bus = "fake"};
    assert_int_equal(virtio_device_found(&dev), -ENODEV);
    assert_true(fake_errors > 0);

    fake_reset();
    fake.max = 0;
    assert_null(virtq_create(&dev, 0, 8, callback, NULL));
    fake.max = 1; /* the largest queue that both can do */
    struct virtqueue *q = virtq_create(&dev, 0, 64, callback, NULL);
    assert_int_equal(q->size, 1);
}

static uint32_t moving_generation(struct virtio_device *dev) { return fake.generation++; }

static void reads_a_configuration_that_stands_still(void **state) {
    start(8, 0);
    uint32_t v;
    memcpy(fake.config + 4, "\x78\x56\x34\x12", 4);
    virtio_config(&device, 4, &v, 4);
    assert_int_equal(v, 0x12345678);
    struct virtio_transport restless = fake_transport;
    restless.config_generation = moving_generation;
    device.transport = &restless;
    virtio_config(&device, 4, &v, 4);
    assert_int_equal(v, 0);
    assert_true(device.broken);
}

/* A random walk: chains of 1 to 4 buffers, returned in random order, with every byte accounted for. */
static void carries_chains_in_any_order(void **state) {
    for (int round = 0; round < 4; round++) {
        unsigned size = round == 3 ? 4 : 16;
        struct virtqueue *q = start(size, round % 2 ? VIRTIO_RING_F_EVENT_IDX : 0);
        struct {
            int head;
            uint32_t room;
            bool busy;
            unsigned count;
        } chains[64] = {0};
        unsigned outstanding = 0, descriptors = 0;
        srand((unsigned)round);
        for (int i = 0; i < 20000; i++) {
            if (rand() % 2) {
                unsigned out = (unsigned)rand() % 3, in = (unsigned)rand() % 3;
                struct virtq_buffer b[4];
                uint32_t room = 0;
                for (unsigned n = 0; n < out + in; n++) {
                    b[n] = (struct virtq_buffer){host_ram + rand() % 10000, 1 + (uint32_t)rand() % 100};
                    room += n >= out ? b[n].len : 0;
                }
                unsigned slot = 0;
                while (chains[slot].busy)
                    slot++;
                int err = virtq_add(q, b, out, in, &chains[slot]);
                if (out + in == 0 || descriptors + out + in > size) {
                    assert_int_equal(err, -ENOSPC);
                    continue;
                }
                assert_int_equal(err, 0);
                descriptors += out + in;
                assert_int_equal(virtq_free(q), size - descriptors);
                virtq_kick(q);
                struct virtq_desc d;
                int head = fake_pop(0, &d);
                assert_true(head >= 0);
                /* The device sees the buffers as they were given. */
                unsigned at = (unsigned)head;
                for (unsigned n = 0; n < out + in; n++) {
                    assert_ptr_equal(fake_virt(q->desc[at].addr), b[n].data);
                    assert_int_equal(q->desc[at].len, b[n].len);
                    assert_int_equal(q->desc[at].flags, (n >= out ? 2 : 0) | (n + 1 < out + in ? 1 : 0));
                    at = q->desc[at].next;
                }
                assert_int_equal(fake_pop(0, &d), -1);
                chains[slot].head = head, chains[slot].room = room, chains[slot].busy = true;
                chains[slot].count = out + in;
                outstanding++;
            } else if (outstanding) {
                unsigned slot = (unsigned)rand() % 64;
                while (!chains[slot].busy)
                    slot = (slot + 1) % 64;
                uint32_t len = chains[slot].room ? (uint32_t)rand() % (chains[slot].room + 1) : 0, written = 12345;
                fake_push(0, (uint32_t)chains[slot].head, len);
                virtq_interrupt(q);
                assert_ptr_equal(virtq_take(q, &written), &chains[slot]);
                assert_int_equal(written, len);
                assert_null(virtq_take(q, NULL));
                chains[slot].busy = false;
                descriptors -= chains[slot].count;
                outstanding--;
            }
        }
        assert_int_equal(fake_errors, 0);
        assert_true(callbacks > 0);
    }
}

static void kicks_when_the_device_wants_it(void **state) {
    struct virtqueue *q = start(8, 0);
    struct virtq_buffer b = {host_ram, 1};
    int cookie;
    virtq_kick(q);
    assert_int_equal(fake.queues[0].notified, 0); /* nothing new */
    virtq_add(q, &b, 1, 0, &cookie);
    virtq_kick(q);
    assert_int_equal(fake.queues[0].notified, 1);
    q->used->flags = 1;
    virtq_add(q, &b, 1, 0, &cookie);
    virtq_kick(q);
    assert_int_equal(fake.queues[0].notified, 1);

    q = start(8, VIRTIO_RING_F_EVENT_IDX);
    uint16_t *avail_event = (uint16_t *)&q->used->ring[8];
    *avail_event = 1; /* at the second */
    virtq_add(q, &b, 1, 0, &cookie);
    virtq_kick(q);
    assert_int_equal(fake.queues[0].notified, 0);
    virtq_add(q, &b, 1, 0, &cookie);
    virtq_kick(q);
    assert_int_equal(fake.queues[0].notified, 1);
    virtq_add(q, &b, 1, 0, &cookie);
    virtq_kick(q);
    assert_int_equal(fake.queues[0].notified, 1);
}

static void interrupts_are_not_lost_in_between(void **state) {
    for (int event = 0; event < 2; event++) {
        struct virtqueue *q = start(8, event ? VIRTIO_RING_F_EVENT_IDX : 0);
        struct virtq_buffer b = {host_ram, 1};
        struct virtq_desc d;
        int cookie;
        virtq_interrupts_off(q);
        virtq_add(q, &b, 1, 0, &cookie);
        virtq_kick(q);
        assert_true(virtq_interrupts_on(q));
        fake_push(0, (uint32_t)fake_pop(0, &d), 0);
        assert_false(virtq_interrupts_on(q)); /* it came before we asked */
        assert_ptr_equal(virtq_take(q, NULL), &cookie);
        assert_true(virtq_interrupts_on(q));
        assert_int_equal(event ? q->avail->ring[8] : q->avail->flags, event ? 1 : 0);
    }
}

static void return_chain(void) {
    struct virtq_desc d;
    int head = fake_pop(0, &d);
    if (head >= 0)
        fake_push(0, (uint32_t)head, 0);
}

/* A machine whose fences do nothing: what the device did before an access to it is seen after that. */
static void accesses_are_the_fences_of_a_translator(void **state) {
    strcpy(cpu_features.hypervisor_vendor, "TCGTCGTCGTCG");
    struct virtqueue *q = start(8, VIRTIO_RING_F_EVENT_IDX);
    cpu_features.hypervisor_vendor[0] = 0;
    struct virtq_buffer b = {host_ram, 1};
    int cookie;
    *(uint16_t *)&q->used->ring[8] = 100; /* not wanted, perhaps: that may be an old value */
    virtq_add(q, &b, 1, 0, &cookie);
    virtq_kick(q);
    assert_int_equal(fake.queues[0].notified, 1);
    fake.on_status = return_chain;
    assert_false(virtq_interrupts_on(q));
    assert_ptr_equal(virtq_take(q, NULL), &cookie);
    assert_true(virtq_interrupts_on(q));

    /* With several CPUs fences are fences. */
    topology.cpu_count = 2;
    strcpy(cpu_features.hypervisor_vendor, "TCGTCGTCGTCG");
    q = start(8, VIRTIO_RING_F_EVENT_IDX);
    cpu_features.hypervisor_vendor[0] = 0;
    topology.cpu_count = 1;
    *(uint16_t *)&q->used->ring[8] = 100;
    virtq_add(q, &b, 1, 0, &cookie);
    assert_false(virtq_kick_wanted(q));
    assert_int_equal(fake.queues[0].notified, 0);
}

/* Each lie: the queue delivers nothing, the device is reset, says so once, and takes nothing more. */
static void a_lying_device_is_disabled(void **state) {
    for (int lie = 0; lie < 6; lie++) {
        struct virtqueue *q = start(8, 0);
        struct virtq_buffer b[2] = {{host_ram, 10}, {host_ram + 64, 20}};
        struct virtq_desc d;
        int cookie;
        assert_int_equal(virtq_add(q, b, 1, 1, &cookie), 0);
        int head = fake_pop(0, &d);
        switch (lie) {
        case 0: fake_push(0, 8, 0); break; /* no such descriptor */
        case 1: fake_push(0, 0xffffffff, 0); break;
        case 2: fake_push(0, q->desc[head].next, 0); break; /* not the head of a chain */
        case 3: fake_push(0, (uint32_t)head, 21); break;    /* longer than there was room */
        case 4: q->used->index = 9; break;                  /* more than the queue holds */
        case 5:                                             /* twice the same */
            fake_push(0, (uint32_t)head, 20);
            fake_push(0, (uint32_t)head, 20);
            assert_ptr_equal(virtq_take(q, NULL), &cookie);
            break;
        }
        uint32_t written = 0;
        assert_null(virtq_take(q, &written));
        assert_true(device.broken);
        assert_int_equal(fake_errors, 1);
        assert_int_equal(fake.status, 128);
        assert_null(virtq_take(q, &written));
        virtq_interrupt(q);
        assert_int_equal(callbacks, 0);
        unsigned notified = fake.queues[0].notified;
        assert_int_equal(virtq_add(q, b, 1, 1, &cookie), -EIO);
        virtq_kick(q);
        assert_int_equal(fake.queues[0].notified, notified);
        assert_int_equal(fake_errors, 1);
    }
}

/* A device that scribbles over everything that it can reach, all the time. Whatever it does, no access leaves the memory. */
static void a_scribbling_device_reaches_nothing(void **state) {
    srand(7);
    for (int round = 0; round < 300; round++) {
        struct virtqueue *q = start(16, round % 2 ? VIRTIO_RING_F_EVENT_IDX : 0);
        struct virtq_buffer b[3] = {{host_ram, 10}, {host_ram + 64, 20}, {host_ram + 128, 5}};
        int cookies[16];
        for (int i = 0; i < 100 && !device.broken; i++) {
            virtq_add(q, b, (unsigned)rand() % 2, 1 + (unsigned)rand() % 2, &cookies[rand() % 16]);
            virtq_kick(q);
            uint8_t *shared = (uint8_t *)q->desc;
            for (int n = rand() % 4; n > 0; n--)
                shared[rand() % 4096] = (uint8_t)rand();
            if (rand() % 2) {
                struct virtq_desc d;
                int head = fake_pop(0, &d);
                if (head >= 0)
                    fake_push(0, (uint32_t)head % 20, (uint32_t)rand() % 30);
            }
            uint32_t written;
            int *c = virtq_take(q, &written);
            if (c) {
                assert_true(c >= cookies && c < cookies + 16);
                assert_true(written <= 30);
            }
            assert_true(virtq_free(q) <= 16);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_steps),
        cmocka_unit_test(refuses_what_it_cannot_use),
        cmocka_unit_test(reads_a_configuration_that_stands_still),
        cmocka_unit_test(carries_chains_in_any_order),
        cmocka_unit_test(kicks_when_the_device_wants_it),
        cmocka_unit_test(interrupts_are_not_lost_in_between),
        cmocka_unit_test(accesses_are_the_fences_of_a_translator),
        cmocka_unit_test(a_lying_device_is_disabled),
        cmocka_unit_test(a_scribbling_device_reaches_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
