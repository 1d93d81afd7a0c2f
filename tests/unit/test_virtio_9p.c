// link: drivers/virtio.c drivers/virtqueue.c drivers/virtio_9p.c fs/9p/transport.c
/* The device that carries 9P: transfers end once each, in the device's order; what finds the queue full waits; a device that lies ends
 * everything with -EIO. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define FAKE_PAGES 512
#include "fs/9p/transport.h"
#include "tests/unit/fake_virtio.h"

const struct virtio_driver *const virtio_drivers[] = {&virtio_9p_driver, NULL};

#define TRANSFERS 100
static struct virtio_device *device;
static struct p9_transport *transport;
static struct p9_transfer transfers[TRANSFERS];
static struct p9_segment segments[TRANSFERS][4];
static unsigned ended[TRANSFERS], again;

static void done(struct p9_transfer *t) {
    ended[t - transfers]++;
    if (again) { /* one more, from within */
        again--;
        transport->ops->submit(transport, &transfers[TRANSFERS - 1]);
    }
}

static int probe(const char *tag, unsigned len) {
    static unsigned number;
    static struct virtio_device devices[32];
    if (!number)
        fake_memory_reset(); /* the transports stay for ever */
    memset(&fake, 0, sizeof(fake));
    fake.offered = VIRTIO_F_VERSION_1 | VIRTIO_RING_F_EVENT_IDX | 0xff;
    fake.max = 256;
    fake_errors = 0;
    fake.config[0] = (uint8_t)len;
    fake.config[1] = (uint8_t)(len >> 8);
    memcpy(fake.config + 2, tag, strlen(tag));
    device = &devices[number];
    *device = (struct virtio_device){.transport = &fake_transport, .id = VIRTIO_ID_9P, .bus = "fake", .place = number++};
    return virtio_device_found(device);
}

/* Each test has a device of its own; its tag says which. */
static void start(void) {
    static unsigned number;
    char tag[16];
    snprintf(tag, sizeof(tag), "tag%u", number++);
    assert_int_equal(probe(tag, (unsigned)strlen(tag)), 0);
    transport = p9_transport_take(tag);
    assert_false(IS_ERR(transport));
    assert_string_equal(transport->tag, tag);
    memset(ended, 0, sizeof(ended));
    again = 0;
    uint8_t *room = page_to_virt(page_alloc(0, 0));
    for (unsigned i = 0; i < TRANSFERS; i++) {
        for (unsigned s = 0; s < 4; s++)
            segments[i][s] = (struct p9_segment){room + i * 40 + s * 10, 10};
        transfers[i] = (struct p9_transfer){.segments = segments[i], .out = 2, .in = 2, .done = done};
    }
}

static void submit(unsigned i) { transport->ops->submit(transport, &transfers[i]); }
static void interrupt(void) { virtio_interrupt(device); }

static void tags(void **state) {
    assert_int_equal(probe("", 0), -ENODEV);
    assert_int_equal(probe("x", 300), -ENODEV);
    assert_int_equal(probe("abc", 5), -ENODEV); /* with NULs in it */
    assert_ptr_equal(p9_transport_take("abc"), ERR_PTR(-ENOENT));
    start();
    assert_ptr_equal(p9_transport_take(transport->tag), ERR_PTR(-EBUSY));
    p9_transport_give_back(transport);
    assert_ptr_equal(p9_transport_take(transport->tag), transport);
}

static void any_order(void **state) {
    start();
    struct virtq_desc d;
    int head[3];
    for (unsigned i = 0; i < 3; i++) {
        submit(i);
        head[i] = fake_pop(0, &d);
        assert_true(head[i] >= 0);
        assert_int_equal(d.len, 10);
        assert_ptr_equal(fake_virt(d.addr), segments[i][0].data);
    }
    fake_push(0, (uint32_t)head[2], 15);
    fake_push(0, (uint32_t)head[0], 0);
    interrupt();
    assert_int_equal(ended[0], 1);
    assert_int_equal(ended[1], 0);
    assert_int_equal(ended[2], 1);
    assert_int_equal(transfers[2].received, 15);
    assert_int_equal(transfers[0].received, 0);
    assert_int_equal(transfers[2].error, 0);
    again = 1;
    fake_push(0, (uint32_t)head[1], 20);
    interrupt();
    assert_int_equal(ended[1], 1);
    assert_true(fake_pop(0, &d) >= 0); /* what `done` has submitted */
}

static void full(void **state) {
    start();
    struct virtq_desc d;
    for (unsigned i = 0; i < TRANSFERS; i++)
        submit(i);
    unsigned total = 0;
    for (unsigned round = 0; round < TRANSFERS && total < TRANSFERS; round++) {
        int heads[64], n = 0;
        while (n < 64 && (heads[n] = fake_pop(0, &d)) >= 0)
            n++;
        assert_true(n > 0 && n <= 16); /* of 64 descriptors, four each */
        while (n-- > 0)
            fake_push(0, (uint32_t)heads[n], 20);
        interrupt();
        total = 0;
        for (unsigned i = 0; i < TRANSFERS; i++)
            total += ended[i];
    }
    for (unsigned i = 0; i < TRANSFERS; i++)
        assert_int_equal(ended[i], 1);
}

static void check_broken(unsigned submitted) {
    assert_true(device->broken);
    for (unsigned i = 0; i < submitted; i++) {
        assert_int_equal(ended[i], 1);
        assert_int_equal(transfers[i].error, -EIO);
    }
    submit(50); /* nothing more */
    assert_int_equal(ended[50], 1);
    assert_int_equal(transfers[50].error, -EIO);
    interrupt();
    assert_int_equal(ended[0], 1);
}

static void lies(void **state) {
    struct virtq_desc d;
    for (unsigned how = 0; how < 4; how++) {
        start();
        for (unsigned i = 0; i < 20; i++) /* more than the queue holds */
            submit(i);
        int head = fake_pop(0, &d);
        switch (how) {
        case 0: fake_push(0, 1000, 5); break;           /* no such descriptor */
        case 1: fake_push(0, (uint32_t)head + 1, 5); break; /* none that heads a chain */
        case 2: fake_push(0, (uint32_t)head, 21); break; /* more than there is room for */
        case 3: fake.queues[0].q->used->index += 200; break;
        }
        interrupt();
        check_broken(20);
        assert_int_equal(fake_errors, 1);
    }
}

static void disabled(void **state) {
    start();
    for (unsigned i = 0; i < 20; i++)
        submit(i);
    transport->ops->disable(transport, "it lies");
    check_broken(20);
    assert_int_equal(fake.status, 128);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags), cmocka_unit_test(any_order), cmocka_unit_test(full),
        cmocka_unit_test(lies), cmocka_unit_test(disabled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
