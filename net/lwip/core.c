// The stack's frame: the lock, the start, the polling of devices, lwIP's clock and random numbers, errors.
// lwIP is started by the first device or socket; before that nothing is touched.
//
// Devices are polled by deferred work, until nothing is left; then interrupts are turned on. With several CPUs the poller gives the lock
// to whoever waits for it after a few frames, and leaves the rest to him when he does not get it back soon: he polls on his way out. Nobody
// spins for long for a lock whose holder may have lost its real processor. Devices are told of what was queued for them without
// the lock.
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/random.h"
#include "kernel/string.h"
#include "kernel/threads/deferred.h"
#include "kernel/threads/lock.h"
#include "kernel/time.h"
#include "kernel/x86/context.h"
#include "kernel/x86/cpu.h"
#include "lwip/init.h"
#include "lwip/sys.h"
#include "net/lwip/hooks.h"
#include "net/lwip/stack.h"

#define BUDGET 64    // frames of one device in one turn
#define CHUNK 8      // between two looks whether somebody waits for the lock
#define PATIENCE 256 // looks of the poller at a lock that is taken
#define SPINS 2000   // and of who needs it

static struct spinlock core_lock;
static uint32_t waiting;   // CPUs that wait for it: a hint (net_device.wanted)
static uint64_t halted;    // those that wait halted, a bit each
static uint32_t poll_left; // somebody had something to poll and not the lock: who lets go of it sees to that
static bool started;
static struct net_interface *interfaces; // by index
static void poll_devices(struct deferred *d);
static struct deferred polling = {.fn = poll_devices};
static bool loopback_wanted;
bool net_kick_wanted;

// --- The lock ---
// Spins for a while, then halts until somebody lets go of the lock: its holder may wait for the real processor that this CPU has.
static __attribute__((noinline)) void wait_for_lock(void) {
    atomic_add(&waiting, 1);
    for (unsigned i = 1; spin_is_locked(&core_lock); i++) {
        if (i < SPINS) {
            spin_wait(i);
            continue;
        }
        irq_disable();
        uint64_t me = 1UL << cpu_this()->id;
        atomic_or(&halted, me); // before the look at the lock; net_unlock does the reverse
        if (spin_is_locked(&core_lock))
            cpu_halt_enabled();
        irq_enable();
        atomic_and(&halted, ~me);
        i = 1;
    }
    atomic_sub(&waiting, 1);
}

// One of those that are halted; the others are woken by it.
static __attribute__((noinline)) void wake_halted(void) {
    for (uint64_t all; (all = READ_ONCE(halted));) {
        uint64_t first = all & -all;
        if (!(atomic_and(&halted, ~first) & first))
            continue;
        cpu_kick((unsigned)__builtin_ctzl(first));
        return;
    }
}

void net_lock(void) {
    if (unlikely(spin_is_locked(&core_lock)))
        wait_for_lock();
    spin_lock(&core_lock);
}

// The last device that is to be told of something, and of what; others are told.
static struct net_device *kick(unsigned *what) {
    struct net_device *last = NULL;
    net_kick_wanted = false;
    for (struct net_interface *i = interfaces; i; i = i->next) {
        if (!i->kick_wanted)
            continue;
        i->kick_wanted = false;
        unsigned w = i->device ? i->device->ops->kick(i->device) : 0;
        if (!w)
            continue;
        if (unlikely(last))
            last->ops->notify(last, *what);
        last = i->device;
        *what = w;
    }
    return last;
}

void net_unlock(void) {
    struct net_device *dev = NULL;
    unsigned what = 0;
    if (unlikely(net_timers_wanted))
        net_timers_check();
    net_now_forget();
    if (net_kick_wanted)
        dev = kick(&what);
    spin_unlock(&core_lock);
    if (dev)
        dev->ops->notify(dev, what);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); // the lock is free before the looks; poll_lock and wait_for_lock do the reverse
    if (unlikely(READ_ONCE(poll_left)))
        deferred_raise(&polling);
    if (unlikely(READ_ONCE(halted)))
        wake_halted();
}

void net_assert_locked(void);
void net_assert_locked(void) { ASSERT(!started || spin_is_locked(&core_lock)); }

// --- Polling ---
static bool poll_device(struct net_interface *i) { // true: there is more
    struct net_device *dev = i->device;
    if (!dev->polling)
        return false;
    if (net_interface_poll(i, CHUNK) >= CHUNK)
        return true;
    dev->polling = false; // before interrupts are on: the next one sets it again
    if (dev->ops->interrupts_on(dev))
        return false;
    dev->polling = true;
    return true;
}

static bool poll_each(void) { // the same for all
    bool more = false;
    for (struct net_interface *i = interfaces; i; i = i->next)
        if (i->device)
            more |= poll_device(i);
    if (loopback_wanted) {
        loopback_wanted = false;
        if (net_loopback_poll(CHUNK)) {
            loopback_wanted = true;
            more = true;
        }
    }
    return more;
}

// False: somebody else has the lock, and polls.
static bool poll_lock(void) {
    for (unsigned i = 1; i < PATIENCE; i++) {
        if (!READ_ONCE(waiting) && spin_trylock(&core_lock))
            return true;
        spin_wait(i);
    }
    atomic_xchg(&poll_left, 1);
    return spin_trylock(&core_lock);
}

static void poll_devices(struct deferred *d) {
    bool more = true;
    for (unsigned n = 0; more && n < BUDGET; n += CHUNK) {
        if (!poll_lock())
            return;
        WRITE_ONCE(poll_left, 0);
        cpu_kick_hold();
        for (;;) {
            more = poll_each();
            if (!more || READ_ONCE(waiting) || (n += CHUNK) >= BUDGET)
                break;
        }
        net_unlock();
        cpu_kick_release();
    }
    if (more)
        deferred_raise(&polling);
}

// By the drivers' interrupt handlers.
static void wake(struct net_device *dev) {
    WRITE_ONCE(dev->polling, true);
    deferred_raise(&polling);
}

void net_poll(void) {
    if (READ_ONCE(polling.queued))
        deferred_run();
}

void net_input_wanted(void) {
    loopback_wanted = true;
    deferred_raise(&polling);
}

// --- The start ---
static int start(void) {
    int err = tcp_bucket_init();
    if (err)
        return err;
    lwip_init();
    net_timers_init();
    err = net_loopback_create();
    if (!err)
        started = true;
    return err;
}

int net_start(void) {
    if (likely(load_acquire(&started)))
        return 0;
    net_lock();
    int err = started ? 0 : start();
    net_unlock();
    if (!err)
        net_device_wake = wake;
    return err;
}

// --- Interfaces ---
void net_interface_add(struct net_interface *new) {
    if (new->device)
        new->device->wanted = &waiting;
    struct net_interface **end = &interfaces;
    int index = 1;
    for (; *end; end = &(*end)->next)
        index = (*end)->index + 1;
    new->index = index;
    new->next = NULL;
    *end = new;
}

struct net_interface *net_interface_next(struct net_interface *i) { return i ? i->next : interfaces; }

struct net_interface *net_interface_find(int index) {
    struct net_interface *i = interfaces;
    while (i && i->index != index)
        i = i->next;
    return i;
}

struct net_interface *net_interface_find_name(const char *name) {
    struct net_interface *i = interfaces;
    while (i && strncmp(i->name, name, sizeof(i->name)) != 0)
        i = i->next;
    return i;
}

const struct net_statistics *net_interface_statistics(const struct net_interface *i) {
    return i->device ? &i->device->statistics : &i->statistics;
}

// --- What lwIP asks for ---
u32_t sys_now(void) { return (u32_t)((uint64_t)net_now() / NSEC_PER_MSEC); }

uint32_t net_random(void) { return (uint32_t)random_u64(); }

static uint64_t mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * 0x9e3779b97f4a7c15;
    return h ^ h >> 32;
}

// Not a cryptographic hash, but keyed: who does not know the key cannot tell one connection's numbers from another's.
u32_t net_tcp_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote, u16_t remote_port) {
    static uint64_t key[2];
    if (!key[0])
        random_bytes(key, sizeof(key));
    uint64_t h = mix(key[0], (uint64_t)local_port << 16 | remote_port);
    const u32_t *a = ip_2_ip6(local)->addr, *b = ip_2_ip6(remote)->addr;
    for (unsigned i = 0; i < (IP_IS_V6(local) ? 4 : 1); i++)
        h = mix(h, (uint64_t)a[i] << 32 | b[i]);
    return (u32_t)(mix(h, key[1]) + (uint64_t)(time_monotonic() / 4000));
}

void net_assertion_failed(const char *message, const char *file, int line) {
    static unsigned count;
#ifdef KNARR_CHECKED
    panic("lwIP: %s:%d: %s", file, line, message);
#endif
    if (count++ < 10)
        log_err("lwIP: %s:%d: %s", file, line, message);
}

int net_errno(err_t err) {
    static const uint8_t errnos[] = {
        [-ERR_MEM] = ENOMEM,         [-ERR_BUF] = ENOBUFS,     [-ERR_TIMEOUT] = ETIMEDOUT, [-ERR_RTE] = ENETUNREACH,
        [-ERR_INPROGRESS] = EINPROGRESS, [-ERR_VAL] = EINVAL,  [-ERR_WOULDBLOCK] = EAGAIN, [-ERR_USE] = EADDRINUSE,
        [-ERR_ALREADY] = EALREADY,   [-ERR_ISCONN] = EISCONN,  [-ERR_CONN] = ENOTCONN,     [-ERR_IF] = ENOBUFS,
        [-ERR_ABRT] = ECONNABORTED,  [-ERR_RST] = ECONNRESET,  [-ERR_CLSD] = ENOTCONN,     [-ERR_ARG] = EINVAL,
    };
    if (err >= 0)
        return 0;
    return -err < (int)ARRAY_SIZE(errnos) && errnos[-err] ? -errnos[-err] : -EIO;
}
