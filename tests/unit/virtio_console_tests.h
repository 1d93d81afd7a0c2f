/* The console's driver against a device of the test: every byte arrives once and in order, whatever the device's pace. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/chardev.h"
#include "tests/unit/fake_virtio.h"

static int no_probe(struct virtio_device *dev) { return -ENODEV; }
static const struct virtio_driver rng_driver = {.id = VIRTIO_ID_RNG, .name = "rng", .probe = no_probe};
const struct virtio_driver *const virtio_drivers[] = {&virtio_console_driver, &rng_driver, NULL};

#ifdef MULTIPORT /* the console is on port 1 */
#define RX 4
#define TX 5
#define FEATURES (VIRTIO_F_VERSION_1 | 2)
#else
#define RX 0
#define TX 1
#define FEATURES VIRTIO_F_VERSION_1
#endif
static struct virtio_device device;
static const struct chardev_ops *console;
static unsigned readable, writable;
static void on_readable(void) { readable++; }
static void on_writable(void) { writable++; }
static const struct chardev_events events = {on_readable, on_writable};

static uint8_t pattern(size_t i) { return (uint8_t)(i * 7 + i / 256); }

/* The control queues of a device with several ports: it takes a message at each notification. */
static struct {
    uint32_t port;
    uint16_t event, value;
} controls[8];
static unsigned control_count;

static void add_port(uint32_t port) {
    struct virtq_desc d;
    int head = fake_pop(2, &d);
    assert_true(head >= 0 && d.len >= 8);
    memcpy(fake_virt(d.addr), &(uint32_t[]){port, 1 | 1 << 16}, 8);
    fake_push(2, (uint32_t)head, 8);
}
static void control(unsigned queue) {
    struct virtq_desc d;
    for (int head; queue == 3 && (head = fake_pop(3, &d)) >= 0;) {
        assert_int_equal(d.len, 8);
        memcpy(&controls[control_count++], fake_virt(d.addr), 8);
        fake_push(3, (uint32_t)head, 0);
        if (control_count == 1)
            add_port(1);
    }
}

/* Starts the driver once; its state is static, as in the kernel. */
static int start(void **state) {
    fake_reset();
    fake.offered = FEATURES;
    fake.on_notify = control;
    device = (struct virtio_device){.transport = &fake_transport, .id = VIRTIO_ID_CONSOLE, .bus = "fake"};
    assert_int_equal(virtio_device_found(&device), 0);
    console = chardev_console();
    assert_non_null(console);
    chardev_set_console_events(&events);
#ifdef MULTIPORT
    assert_int_equal(control_count, 3);
    assert_int_equal(controls[0].event, 0); /* DEVICE_READY */
    assert_int_equal(controls[1].event, 3); /* PORT_READY */
    assert_int_equal(controls[1].port, 1);
    assert_int_equal(controls[2].event, 6); /* PORT_OPEN */
    assert_int_equal(controls[2].port, 1);
    assert_int_equal(controls[2].value, 1);
    add_port(0); /* one is enough */
    virtio_interrupt(&device);
    assert_int_equal(control_count, 3);
#endif
    return 0;
}

/* The device's host: consumes up to n chains and checks the bytes. */
static size_t sent, seen;
static int held = -1; /* a chain that the device keeps for a while */
static uint32_t held_len;
static bool consume(bool keep) {
    struct virtq_desc d;
    int head = fake_pop(TX, &d);
    if (head < 0)
        return false;
    const uint8_t *p = fake_virt(d.addr);
    for (uint32_t i = 0; i < d.len; i++)
        assert_int_equal(p[i], pattern(seen + i));
    seen += d.len;
    if (keep && held < 0) {
        held = head;
        held_len = d.len;
    } else {
        fake_push(TX, (uint32_t)head, 0);
    }
    return true;
}
static void give_back(void) {
    if (held >= 0)
        fake_push(TX, (uint32_t)held, held_len); /* some devices report what they read */
    held = -1;
}

static bool interrupts_wanted(unsigned queue) { return fake.queues[queue].q->avail->flags == 0; }

static void output_arrives_in_order(void **state) {
    srand(5);
    uint8_t buf[5000];
    unsigned waits = 0;
    bool waiting = false;
    for (int i = 0; i < 60000; i++) {
        if (!waiting && rand() % 3) {
            size_t n = 1 + (size_t)rand() % (rand() % 20 ? 60 : sizeof(buf));
            for (size_t k = 0; k < n; k++)
                buf[k] = pattern(sent + k);
            size_t taken = console->write(buf, n);
            assert_true(taken <= n);
            sent += taken;
            if (taken < n) {
                assert_true(interrupts_wanted(TX)); /* or nobody would ever wake the writer */
                waiting = true;
                writable = 0;
                waits++;
            }
        } else if (waiting && rand() % 3 == 0) {
            /* Another writer comes and perhaps finds room: the first one is to be woken all the same. */
            uint8_t byte = pattern(sent);
            sent += console->write(&byte, 1);
            assert_true(interrupts_wanted(TX) || writable);
        } else {
            for (int k = rand() % 8; k > 0 && consume(rand() % 10 == 0); k--)
                ;
            if (rand() % 10 == 0)
                give_back();
            if (interrupts_wanted(TX))
                virtq_interrupt(fake.queues[TX].q);
            waiting = waiting && !writable;
        }
    }
    assert_true(waits > 10 && sent > 100000);
    while (consume(false))
        ;
    give_back();
    virtq_interrupt(fake.queues[TX].q);
    assert_int_equal(seen, sent);
    assert_int_equal(fake_errors, 0);
}

static void input_arrives_in_order(void **state) {
    size_t put = 0, got = 0;
    uint8_t buf[5000];
    srand(6);
    for (int i = 0; i < 20000; i++) {
        struct virtq_desc d;
        int head;
        if (rand() % 2 && (head = fake_pop(RX, &d)) >= 0) {
            assert_int_equal(d.flags, 2);
            uint32_t n = (uint32_t)rand() % (rand() % 2 ? 10 : d.len) + (rand() % 10 != 0);
            for (uint32_t k = 0; k < n; k++)
                ((uint8_t *)fake_virt(d.addr))[k] = pattern(put + k);
            put += n;
            readable = 0;
            fake_push(RX, (uint32_t)head, n);
            virtq_interrupt(fake.queues[RX].q);
            assert_int_equal(readable, 1);
        } else {
            size_t n = console->read(buf, 1 + (size_t)rand() % sizeof(buf));
            for (size_t k = 0; k < n; k++)
                assert_int_equal(buf[k], pattern(got + k));
            got += n;
        }
    }
    got += console->read(buf, sizeof(buf));
    got += console->read(buf, sizeof(buf));
    assert_int_equal(got, put);
    assert_true(put > 100000);
}

static void answer(unsigned queue) {
    while (queue == TX && consume(false))
        ;
}

static void a_device_that_breaks_blocks_nobody(void **state) {
    uint8_t buf[4000];
    while (console->write(buf, sizeof(buf)) == sizeof(buf)) /* until it is full */
        ;
    writable = 0;
    fake_push(TX, 4711, 0);
    virtq_interrupt(fake.queues[TX].q);
    assert_true(device.broken);
    assert_int_equal(writable, 1);
    assert_int_equal(console->write(buf, sizeof(buf)), sizeof(buf)); /* to nowhere */
    assert_int_equal(console->read(buf, sizeof(buf)), 0);
    console->flush();
}

static void flush_waits_for_the_host(void **state) {
    uint8_t byte = pattern(sent);
    fake.on_notify = answer;
    assert_int_equal(console->write(&byte, 1), 1);
    sent++;
    console->flush();
    assert_int_equal(seen, sent);
    fake.on_notify = NULL;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_arrives_in_order),
        cmocka_unit_test(input_arrives_in_order),
        cmocka_unit_test(flush_waits_for_the_host),
        cmocka_unit_test(a_device_that_breaks_blocks_nobody),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
