// link: drivers/virtio.c drivers/virtqueue.c drivers/virtio_blk.c kernel/blockdev.c
/* Disks: data goes to and comes from where it belongs whatever the device's order, limits and pace; a device that fails or lies ends
 * every request once, with an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define FAKE_PAGES 2048
#include "kernel/blockdev.h"
#include "kernel/partition.h"
#include "kernel/time.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/context.h"
#include "tests/unit/fake_virtio.h"

const struct virtio_driver *const virtio_drivers[] = {&virtio_blk_driver, NULL};

/* --- The machine --- */
struct machine_topology topology = {.cpu_count = 4};
static struct cpu this_cpu;
struct cpu *cpu_this(void) { return &this_cpu; }
struct thread *thread_current(void) { return (struct thread *)&this_cpu; } /* only not NULL */
void thread_prepare_sleep(bool interruptible) {}
void thread_cancel_sleep(void) {}
static void device_run(void);
int thread_sleep_until(nsec_t deadline) {
    device_run();
    return 0;
}
void thread_wake_clear(struct thread *t, void **flag) { *flag = NULL; }
void partition_scan(struct block_device *dev, partition_read read) { dev->scanned = true; }
int partition_read_direct(struct block_device *dev, uint64_t offset, void *buf, size_t len) { return -EIO; }
static struct timer *armed;
void timer_init(struct timer *t, timer_fn fn) { t->fn = fn; }
void timer_add(struct timer *t, nsec_t deadline) { armed = t; }
nsec_t time_monotonic(void) { return 0; }
size_t str_copy(char *dst, const char *src, size_t size) { return (size_t)snprintf(dst, size, "%s", src); }

/* --- The device --- */
#define SECTORS 2048u
static uint8_t medium[SECTORS * 512], model[SECTORS * 512];
static struct virtio_device device;
static struct block_device *disk;
static uint64_t bad_sector = ~0ul;
static bool keep_status, short_reads;
static int forced_status = -1;

static uint64_t config_get(unsigned at, unsigned size) {
    uint64_t v = 0;
    memcpy(&v, fake.config + at, size);
    return v;
}
static void config_set(unsigned at, uint64_t v, unsigned size) { memcpy(fake.config + at, &v, size); }

struct chain {
    uint32_t id;
    unsigned count;
    struct virtq_desc desc[64];
};
static struct chain pending[8][64];
static unsigned pending_count[8];

/* Takes what there is, as a device does: chains, or tables of them. */
static void device_fetch(unsigned queue) {
    struct virtq_desc d;
    for (int head; (head = fake_pop(queue, &d)) >= 0;) {
        struct chain *c = &pending[queue][pending_count[queue]++];
        const struct virtq_desc *table = fake.queues[queue].q->desc;
        unsigned at = (unsigned)head;
        c->id = (uint32_t)head;
        c->count = 0;
        if (d.flags & 4) {
            assert_true(fake.accepted & VIRTIO_RING_F_INDIRECT_DESC);
            table = fake_virt(d.addr);
            assert_true(d.len / 16 <= fake.queues[queue].q->size);
            at = 0;
        }
        for (;; at = table[at].next) {
            assert_true(c->count < 64);
            c->desc[c->count++] = table[at];
            if (!(table[at].flags & 1))
                break;
        }
    }
}

static uint8_t perform(struct chain *c, uint32_t *written) {
    uint32_t type;
    uint64_t sector;
    assert_int_equal(c->desc[0].len, 16);
    memcpy(&type, fake_virt(c->desc[0].addr), 4);
    memcpy(&sector, (char *)fake_virt(c->desc[0].addr) + 8, 8);
    uint8_t status = 0;
    for (unsigned i = 1; i + 1 < c->count; i++) {
        struct virtq_desc *d = &c->desc[i];
        if (type == 0 || type == 1) {
            assert_true(d->len > 0 && d->len % config_get(20, 4) == 0);
            if (fake.accepted & 2)
                assert_true(d->len <= config_get(8, 4));
            assert_true(sector * 512 + d->len <= sizeof(medium));
            if (bad_sector >= sector && bad_sector < sector + d->len / 512)
                status = 1;
            assert_int_equal(d->flags & 2, type == 0 ? 2 : 0);
            if (type == 0)
                memcpy(fake_virt(d->addr), medium + sector * 512, d->len);
            else
                memcpy(medium + sector * 512, fake_virt(d->addr), d->len);
            sector += d->len / 512;
        } else if (type == 8) {
            strncpy(fake_virt(d->addr), "serial number\n1234567", d->len);
        } else if (type == 13) {
            uint64_t range[2];
            memcpy(range, fake_virt(d->addr), 16);
            assert_true((uint32_t)range[1] <= 16);
            memset(medium + range[0] * 512, 0, (uint32_t)range[1] * 512);
        } else if (type == 11) {
            status = 2; /* it thinks better of it */
        }
        if (d->flags & 2)
            *written += d->len;
    }
    if (type == 0 || type == 1)
        assert_true(c->count - 2 <= ((fake.accepted & 4) ? config_get(12, 4) : 1));
    ++*written;
    return status;
}

/* Ends one request of the queue, any. */
static bool device_end(unsigned queue) {
    if (!fake.queues[queue].q)
        return false;
    device_fetch(queue);
    if (!pending_count[queue])
        return false;
    unsigned i = (unsigned)rand() % pending_count[queue];
    struct chain c = pending[queue][i];
    pending[queue][i] = pending[queue][--pending_count[queue]];
    uint32_t written = 0;
    uint8_t status = perform(&c, &written);
    if (forced_status >= 0)
        status = (uint8_t)forced_status;
    if (!keep_status)
        *(uint8_t *)fake_virt(c.desc[c.count - 1].addr) = status;
    if (short_reads && written > 1)
        written -= 2;
    fake_push(queue, c.id, written);
    return true;
}

static void device_run(void) {
    for (unsigned q = 0; q < 8; q++)
        if (!device.broken && fake.queues[q].q && device_end(q))
            virtq_interrupt(fake.queues[q].q);
}

/* --- The tests' side --- */
#define F_ALL (VIRTIO_F_VERSION_1 | VIRTIO_RING_F_EVENT_IDX | VIRTIO_RING_F_INDIRECT_DESC | 0x7fff)

static void prepare(uint64_t features, unsigned max) {
    fake_reset();
    memset(pending_count, 0, sizeof(pending_count));
    bad_sector = ~0ul;
    keep_status = short_reads = false;
    forced_status = -1;
    armed = NULL;
    fake.offered = features & ~0x20ul;
    fake.max = (uint16_t)max;
    config_set(0, SECTORS, 8);
    config_set(8, 65536, 4);
    config_set(12, 40, 4);
    config_set(20, 512, 4);
    config_set(34, 4, 2);
    config_set(36, 1000, 4); /* discard */
    config_set(48, 16, 4);   /* write zeroes */
    device = (struct virtio_device){.transport = &fake_transport, .id = VIRTIO_ID_BLOCK, .bus = "fake"};
}

static void begin(uint64_t features, unsigned max) {
    prepare(features, max);
    assert_int_equal(virtio_device_found(&device), 0);
    disk = NULL; /* the last one */
    for (struct block_device *d = NULL; (d = blockdev_next(d));)
        disk = d;
    for (int i = 0; i < 10; i++)
        device_run();
    for (size_t i = 0; i < sizeof(medium); i++)
        medium[i] = model[i] = (uint8_t)rand();
}

/* There are 26 names for disks in all: each test takes them back. */
static int forget_disks(void **state) {
    for (struct block_device *d; (d = blockdev_next(NULL));)
        list_remove(&d->link);
    return 0;
}
static void again(uint64_t features, unsigned max) {
    static unsigned made;
    if (disk)
        list_remove(&disk->link);
    if (++made < 20)
        begin(features, max);
}

#define REQUESTS 150
static struct job {
    struct block_request r;
    struct block_segment segments[8];
    uint8_t *memory; /* in the machine's */
    bool busy;
    unsigned ended;
} jobs[REQUESTS];
static uint8_t *job_memory;
static unsigned in_flight;

static void job_done(struct block_request *r) {
    struct job *j = r->owner;
    assert_true(j->busy);
    j->busy = false;
    j->ended++;
    in_flight--;
}

/* A request of `count` segments of random lengths from `sector` on, at most `sectors` in all. */
static struct job *job_start(unsigned n, enum block_op op, uint64_t sector, unsigned sectors) {
    struct job *j = &jobs[n];
    unsigned count = 0, at = 0;
    j->memory = job_memory + n * 16384;
    while (at < sectors && count < 8) {
        unsigned len = count == 7 ? sectors - at : 1 + (unsigned)rand() % (sectors - at);
        j->segments[count++] = (struct block_segment){j->memory + at * 512, len * 512};
        at += len;
    }
    j->r = (struct block_request){
        .op = op, .sector = sector, .segments = j->segments, .count = count, .done = job_done, .owner = j};
    j->busy = true;
    in_flight++;
    return j;
}

static void allocate_job_memory(void) {
    struct page *p = page_alloc(10, 0);
    assert_non_null(p);
    job_memory = page_to_virt(p);
}

/* Requests of a sector range of their own each, so that the result does not depend on their order. */
static void random_walk(unsigned rounds) {
    allocate_job_memory();
    struct {
        uint64_t sector;
        unsigned sectors;
    } at[REQUESTS];
    for (unsigned i = 0; i < rounds; i++) {
        unsigned n = (unsigned)rand() % REQUESTS;
        struct job *j = &jobs[n];
        if (n * 16384 >= 4 << 20 || j->busy) {
            device_run();
            continue;
        }
        this_cpu.id = (uint64_t)rand() % 4;
        at[n].sector = n * 13;
        at[n].sectors = 1 + (unsigned)rand() % 13;
        enum block_op op = rand() % 2 ? BLOCK_READ : BLOCK_WRITE;
        job_start(n, op, at[n].sector, at[n].sectors);
        for (unsigned k = 0; k < at[n].sectors * 512; k++)
            j->memory[k] = op == BLOCK_WRITE ? (uint8_t)rand() : 0x77;
        if (op == BLOCK_WRITE)
            memcpy(model + at[n].sector * 512, j->memory, at[n].sectors * 512);
        unsigned before = j->ended;
        block_submit(disk, &j->r);
        while (rand() % 3 == 0)
            device_run();
        if (op == BLOCK_READ) { /* looked at when it has ended */
            while (j->busy && rand() % 4)
                device_run();
            if (!j->busy) {
                assert_int_equal(j->r.error, 0);
                assert_int_equal(j->ended, before + 1);
                assert_memory_equal(j->memory, model + at[n].sector * 512, at[n].sectors * 512);
            }
        }
    }
    for (int i = 0; in_flight && i < 100000; i++)
        device_run();
    assert_int_equal(in_flight, 0);
    assert_memory_equal(medium, model, sizeof(medium));
    assert_int_equal(fake_errors, 0);
    assert_false(device.broken);
}

static void data_arrives(void **state) {
    static const struct {
        uint64_t without;
        unsigned max, queues, buffers, bytes;
    } variants[] = {
        {0, 256, 4, 40, 65536},
        {0, 64, 1, 1, 512},                           /* each segment in parts of a sector */
        {VIRTIO_RING_F_INDIRECT_DESC, 64, 4, 40, 65536},
        {VIRTIO_RING_F_INDIRECT_DESC, 4, 1, 40, 1024}, /* the ring is always full */
        {VIRTIO_RING_F_INDIRECT_DESC | VIRTIO_RING_F_EVENT_IDX | 0x1006, 8, 1, 1, 0},
        {VIRTIO_RING_F_EVENT_IDX, 4, 3, 2, 700},
    };
    for (unsigned v = 0; v < ARRAY_SIZE(variants); v++) {
        srand(v);
        prepare(F_ALL & ~variants[v].without, variants[v].max);
        config_set(8, variants[v].bytes, 4);
        config_set(12, variants[v].buffers, 4);
        config_set(34, variants[v].queues, 2);
        uint8_t config[64];
        memcpy(config, fake.config, sizeof(config));
        assert_int_equal(virtio_device_found(&device), 0);
        for (struct block_device *d = NULL; (d = blockdev_next(d));)
            disk = d;
        assert_int_equal(disk->sectors, SECTORS);
        unsigned queues = 0;
        for (unsigned q = 0; q < 8; q++)
            queues += fake.queues[q].q != NULL;
        assert_int_equal(queues, variants[v].without & 0x1000 ? 1 : variants[v].queues);
        for (size_t i = 0; i < sizeof(medium); i++)
            medium[i] = model[i] = (uint8_t)rand();
        random_walk(6000);
        assert_string_equal(disk->serial, "serial_number_123456");
        list_remove(&disk->link);
    }
}

static void knows_the_limits(void **state) {
    begin(F_ALL, 64);
    assert_int_equal(disk->rdev >> 8, 254);
    assert_true(disk->flushes);
    assert_int_equal(disk->discard_max, 1000);
    assert_int_equal(disk->zeroes_max, 16);
    allocate_job_memory();
    job_start(0, BLOCK_READ, SECTORS - 1, 2);
    block_submit(disk, &jobs[0].r); /* behind the end */
    assert_int_equal(jobs[0].r.error, -EINVAL);
    job_start(0, BLOCK_READ, ~0ul, 2);
    block_submit(disk, &jobs[0].r);
    assert_int_equal(jobs[0].r.error, -EINVAL);
    job_start(0, BLOCK_WRITE, 0, 1);
    jobs[0].segments[0].len = 100;
    block_submit(disk, &jobs[0].r);
    assert_int_equal(jobs[0].r.error, -EINVAL);
    assert_int_equal(in_flight, 0);
    assert_int_equal(block_range(disk, BLOCK_WRITE_ZEROES, 3, 50, true), 0); /* in several requests */
    memset(model + 3 * 512, 0, 50 * 512);
    assert_memory_equal(medium, model, sizeof(medium));
    assert_int_equal(block_range(disk, BLOCK_DISCARD, 3, 50, false), -EOPNOTSUPP);
    assert_int_equal(block_flush(disk), 0);
    uint8_t *buf = job_memory;
    assert_int_equal(block_io(disk, BLOCK_READ, 5, buf, 512 * 20), 0);
    assert_memory_equal(buf, model + 5 * 512, 512 * 20);
    assert_int_equal(block_io(disk, BLOCK_READ, 5, buf, 100), -EINVAL);
    assert_true(disk->reads >= 1 && disk->sectors_read >= 20);
    disk->read_only = true;
    assert_int_equal(block_io(disk, BLOCK_WRITE, 5, buf, 512), -EROFS);
    assert_int_equal(block_range(disk, BLOCK_WRITE_ZEROES, 3, 50, true), -EROFS);
}

static void partitions_are_pieces(void **state) {
    begin(F_ALL, 64);
    assert_int_equal(blockdev_register_partition(disk, 0, 10, 10, "data"), -EINVAL);
    assert_int_equal(blockdev_register_partition(disk, 1, SECTORS, 1, "data"), -EINVAL);
    assert_int_equal(blockdev_register_partition(disk, 1, 10, SECTORS, "data"), -EINVAL);
    assert_int_equal(blockdev_register_partition(disk, 1, 10, 20, "data"), 0);
    assert_int_equal(blockdev_register_partition(disk, 1, 10, 20, "data"), -EEXIST);
    struct block_device *part = blockdev_find(disk->rdev + 1);
    assert_non_null(part);
    assert_ptr_equal(blockdev_find_name(part->name), part);
    assert_ptr_equal(blockdev_find_name("PARTLABEL=data"), part);
    assert_null(blockdev_find_name("PARTLABEL=dat"));
    assert_null(blockdev_find_name("PARTLABEL="));
    allocate_job_memory();
    assert_int_equal(block_io(part, BLOCK_READ, 3, job_memory, 1024), 0);
    assert_memory_equal(job_memory, model + 13 * 512, 1024);
    assert_int_equal(block_io(part, BLOCK_READ, 19, job_memory, 1024), -EINVAL);
    assert_null(blockdev_find(disk->rdev + 2));
    list_remove(&part->link);
}

static void errors_are_the_requests(void **state) {
    begin(F_ALL, 64);
    allocate_job_memory();
    bad_sector = 20;
    for (unsigned i = 0; i < 20; i++) {
        job_start(i, BLOCK_READ, i * 2, 2);
        block_submit(disk, &jobs[i].r);
    }
    while (in_flight)
        device_run();
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(jobs[i].r.error, i == 10 ? -EIO : 0);
    assert_false(device.broken);
    /* In parts of one sector, with a full ring: ends once, when no part is on its way any more. */
    again(F_ALL & ~VIRTIO_RING_F_INDIRECT_DESC, 4);
    allocate_job_memory();
    bad_sector = 3;
    for (unsigned i = 0; i < 10; i++) {
        jobs[i].ended = 0;
        job_start(i, BLOCK_READ, i * 10, 10);
        for (unsigned k = 0; k < 8; k++)
            jobs[i].segments[k] = (struct block_segment){jobs[i].memory + k * 512, 512};
        jobs[i].r.count = 8;
        block_submit(disk, &jobs[i].r);
    }
    for (int i = 0; in_flight && i < 10000; i++)
        device_run();
    assert_int_equal(in_flight, 0);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(jobs[i].r.error, i == 0 ? -EIO : 0);
        assert_int_equal(jobs[i].ended, 1);
    }
}

static void bad_configurations_are_refused(void **state) {
    static const struct {
        unsigned at, size;
        uint64_t value;
    } lies[] = {{0, 8, 0}, {0, 8, ~0ul}, {0, 8, 1ul << 60}, {8, 4, 0}, {8, 4, 100}, {12, 4, 0}, {20, 4, 3}, {20, 4, 0},
                {20, 4, 256}, {20, 4, 8192}, {20, 4, ~0u}, {34, 2, 0}};
    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
        prepare(F_ALL, 64);
        config_set(lies[i].at, lies[i].value, lies[i].size);
        assert_int_equal(virtio_device_found(&device), -ENODEV);
        assert_true(fake_errors >= 1);
        assert_int_equal(fake.status, 128);
    }
    prepare(F_ALL, 2); /* too small a queue */
    assert_int_equal(virtio_device_found(&device), -ENODEV);
    assert_null(blockdev_next(NULL));
    /* Large values and senseless hints are no reason. */
    prepare(F_ALL, 64);
    config_set(8, ~0u, 4);
    config_set(12, ~0u, 4);
    config_set(24, 0xffffffffff, 5);
    config_set(28, ~0u, 4);
    config_set(34, 0xffff, 2);
    config_set(36, 0, 4);
    assert_int_equal(virtio_device_found(&device), 0);
    struct block_device *d = blockdev_next(NULL);
    assert_non_null(d);
    assert_int_equal(d->physical_size, 512);
    assert_int_equal(d->optimal_size, 0);
    assert_int_equal(d->discard_max, ~0u);
}

static void ends_everything_when_it_lies(void **state) {
    for (int lie = 0; lie < 5; lie++) {
        if (lie)
            again(F_ALL, 64);
        else
            begin(F_ALL, 64);
        allocate_job_memory();
        for (unsigned i = 0; i < REQUESTS; i++) {
            this_cpu.id = i % 4;
            jobs[i].ended = 0;
            job_start(i, i % 2 ? BLOCK_READ : BLOCK_WRITE, i, 8);
            block_submit(disk, &jobs[i].r);
        }
        device_run();
        unsigned left = in_flight;
        assert_true(left > 100);
        switch (lie) {
        case 0: forced_status = 7; break;
        case 1: keep_status = true; break;
        case 2: short_reads = true; break;
        case 3: fake_push(2, 63, 0); break;
        case 4: fake.queues[1].q->used->index += 100; break;
        }
        if (lie < 3)
            for (int i = 0; !device.broken && i < 100; i++)
                device_run();
        else
            virtio_interrupt(&device);
        assert_true(device.broken);
        assert_int_equal(in_flight, 0);
        unsigned failed = 0;
        for (unsigned i = 0; i < REQUESTS; i++) {
            assert_int_equal(jobs[i].ended, 1);
            failed += jobs[i].r.error == -EIO;
        }
        assert_true(failed > 50);
        job_start(0, BLOCK_READ, 0, 8);
        block_submit(disk, &jobs[0].r);
        assert_int_equal(in_flight, 0);
        assert_int_equal(jobs[0].r.error, -EIO);
        assert_int_equal(block_flush(disk), -EIO);
        assert_int_equal(fake.status, 128);
    }
}

static void silence_is_reported(void **state) {
    begin(F_ALL, 64);
    allocate_job_memory();
    job_start(0, BLOCK_READ, 0, 8);
    block_submit(disk, &jobs[0].r);
    assert_non_null(armed);
    strcpy(fake_last_error, "");
    for (int i = 0; i < 6; i++) {
        struct timer *t = armed;
        armed = NULL;
        if (i == 3)
            assert_string_equal(fake_last_error, "");
        t->fn(t);
        assert_non_null(armed); /* as long as there is something to wait for */
    }
    assert_non_null(strstr(fake_last_error, "a request takes longer than 30 s"));
    device_run();
    assert_int_equal(in_flight, 0);
    struct timer *t = armed;
    armed = NULL;
    t->fn(t);
    assert_null(armed);
    /* It gave up: nobody waits for ever. */
    job_start(0, BLOCK_READ, 0, 8);
    block_submit(disk, &jobs[0].r);
    fake.status |= 64;
    armed->fn(armed);
    assert_int_equal(in_flight, 0);
    assert_int_equal(jobs[0].r.error, -EIO);
}

static void does_with_little_memory(void **state) {
    begin(F_ALL, 64);
    allocate_job_memory();
    fake_next_page = FAKE_PAGES; /* no more */
    for (unsigned i = 0; i < REQUESTS; i++) {
        jobs[i].ended = 0;
        job_start(i, BLOCK_READ, i * 8, 8);
        block_submit(disk, &jobs[i].r);
    }
    for (int i = 0; in_flight && i < 1000; i++)
        device_run();
    assert_int_equal(in_flight, 0);
    for (unsigned i = 0; i < REQUESTS; i++)
        assert_memory_equal(jobs[i].memory, model + i * 8 * 512, 8 * 512);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(data_arrives, forget_disks),
        cmocka_unit_test_teardown(knows_the_limits, forget_disks),
        cmocka_unit_test_teardown(partitions_are_pieces, forget_disks),
        cmocka_unit_test_teardown(errors_are_the_requests, forget_disks),
        cmocka_unit_test_teardown(bad_configurations_are_refused, forget_disks),
        cmocka_unit_test_teardown(ends_everything_when_it_lies, forget_disks),
        cmocka_unit_test_teardown(silence_is_reported, forget_disks),
        cmocka_unit_test_teardown(does_with_little_memory, forget_disks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
