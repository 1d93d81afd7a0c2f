// The random number generator: ChaCha20 with fast key erasure. Each refill makes two blocks from the key; the first 32 bytes
// become the next key and the rest is handed out, each byte once, and wiped. So nobody who reads the memory later can
// compute what was handed out before. Entropy is absorbed by XORing it into the key and running the block function.
//
// Nothing is computed before somebody asks: random_init only notes the time. The first request gathers what the processor
// has (RDSEED or RDRAND: full credit) and asks the device for more; both are asked again after a MiB or about a minute.
// Lock: random.lock, interrupt-safe, a leaf.
#include "kernel/random.h"

#include "kernel/chacha.h"
#include "kernel/threads/lock.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include "kernel/threads/wait.h"
#include "kernel/x86/rdrand.h"

#define KEY_SIZE 32
#define POOL_SIZE 128
#define READY_BITS 256
#define RESEED_BYTES (1UL << 20)
#define RESEED_CYCLES (1UL << 37) // a minute or so at today's rates; precision does not matter

static struct {
    struct spinlock lock;
    uint32_t key[8];
    uint32_t nonce[3];       // counts absorptions
    uint8_t pool[POOL_SIZE]; // bytes from pool_next on have not been handed out
    unsigned pool_next;
    unsigned bits;          // credited, up to READY_BITS
    bool started;           // the processor was asked
    uint64_t handed_out;    // bytes since the last reseed
    uint64_t reseed_cycles; // time of the last reseed
    const struct entropy_source *source;
} rng = {.lock = SPINLOCK_INIT, .pool_next = POOL_SIZE};

static struct waitq ready_wait = WAITQ_INIT(ready_wait);

// Lock held. Mixes 32 bytes in; what is in the pool was made from the old key and is given up.
static void absorb(const uint32_t words[8]) {
    uint8_t block[64];
    for (int i = 0; i < 8; i++)
        rng.key[i] ^= words[i];
    rng.nonce[0]++;
    chacha20_block(rng.key, ~0u, rng.nonce, block);
    memcpy(rng.key, block, KEY_SIZE);
    rng.pool_next = POOL_SIZE;
}

// Lock held. Takes what is at hand: the processor's numbers and the time. Returns the bits to credit.
static unsigned gather(void) {
    union {
        uint64_t w64[4];
        uint32_t w32[8];
    } seed = {{0}};
    unsigned words = cpu_random(seed.w64, 4);
    seed.w64[3] ^= time_cycles();
    absorb(seed.w32);
    rng.handed_out = 0;
    rng.reseed_cycles = time_cycles();
    return words * 64;
}

// Lock held. Returns true when the generator became ready.
static bool credit(unsigned bits) {
    if (rng.bits >= READY_BITS || bits == 0)
        return false;
    rng.bits = MIN(rng.bits + bits, READY_BITS);
    return rng.bits == READY_BITS;
}

// Lock held. New key, new pool.
static void refill(void) {
    static const uint32_t nonce[3];
    uint8_t *out = rng.pool;
    for (unsigned i = 0; i < POOL_SIZE / 64; i++)
        chacha20_block(rng.key, i, nonce, out + 64 * i);
    memcpy(rng.key, out, KEY_SIZE);
    memset(out, 0, KEY_SIZE);
    rng.pool_next = KEY_SIZE;
}

// Lock held. n <= POOL_SIZE - KEY_SIZE.
static void take(void *buf, size_t n) {
    if (POOL_SIZE - rng.pool_next < n)
        refill();
    memcpy(buf, rng.pool + rng.pool_next, n);
    memset(rng.pool + rng.pool_next, 0, n);
    rng.pool_next += n;
}

void random_init(void) {
    rng.reseed_cycles = time_cycles();
    rng.nonce[1] = (uint32_t)rng.reseed_cycles;
    rng.nonce[2] = (uint32_t)(rng.reseed_cycles >> 32);
}

void random_set_source(const struct entropy_source *source) {
    WRITE_ONCE(rng.source, source);
    // Somebody wanted numbers before and the processor had none: the device is needed now, not at the next reseed.
    if (READ_ONCE(rng.started) && READ_ONCE(rng.bits) < READY_BITS)
        source->request();
}

void random_add(const void *data, size_t len, unsigned entropy_bits) {
    const uint8_t *p = data;
    uint64_t flags = spin_lock_irqsave(&rng.lock);
    for (size_t done = 0; done < len;) {
        uint32_t words[8] = {0};
        size_t n = MIN(len - done, sizeof(words));
        memcpy(words, p + done, n);
        done += n;
        if (done == len)
            words[7] ^= (uint32_t)time_cycles();
        absorb(words);
    }
    bool ready = credit(MIN((size_t)entropy_bits, len * 8));
    spin_unlock_irqrestore(&rng.lock, flags);
    if (ready)
        waitq_wake_all(&ready_wait);
}

// Seeds the generator when it is fresh or its seed is old. Called without the lock. Deferred as long as possible.
static void reseed(void) {
    uint64_t flags = spin_lock_irqsave(&rng.lock);
    bool first = !rng.started;
    rng.started = true;
    bool ready = credit(gather());
    const struct entropy_source *source = rng.source;
    spin_unlock_irqrestore(&rng.lock, flags);
    if (ready && !first)
        waitq_wake_all(&ready_wait);
    if (source)
        source->request();
}

// The time is looked at only when the pool has to be refilled anyway.
static bool seed_is_old(size_t len) {
    return !READ_ONCE(rng.started) || READ_ONCE(rng.handed_out) > RESEED_BYTES ||
           (POOL_SIZE - READ_ONCE(rng.pool_next) < len && time_cycles() - READ_ONCE(rng.reseed_cycles) > RESEED_CYCLES);
}

void random_bytes(void *buf, size_t len) {
    if (unlikely(seed_is_old(len)))
        reseed();
    if (len <= POOL_SIZE - KEY_SIZE) {
        uint64_t flags = spin_lock_irqsave(&rng.lock);
        rng.handed_out += len;
        take(buf, len);
        spin_unlock_irqrestore(&rng.lock, flags);
        return;
    }
    // A long request gets a key of its own, so that the lock is held for one block and not for all.
    union {
        uint32_t key[8];
        uint8_t bytes[KEY_SIZE];
    } own;
    uint64_t flags = spin_lock_irqsave(&rng.lock);
    rng.handed_out += len;
    take(own.bytes, KEY_SIZE);
    spin_unlock_irqrestore(&rng.lock, flags);
    uint8_t *out = buf, block[64];
    uint32_t nonce[3] = {0};
    for (uint64_t counter = 0; len; counter++) {
        size_t n = MIN(len, sizeof(block));
        nonce[0] = (uint32_t)(counter >> 32);
        chacha20_block(own.key, (uint32_t)counter, nonce, block);
        memcpy(out, block, n);
        out += n;
        len -= n;
    }
    memset(block, 0, sizeof(block));
    memset(&own, 0, sizeof(own));
}

uint64_t random_u64(void) {
    uint64_t v;
    random_bytes(&v, sizeof(v));
    return v;
}

bool random_ready(void) {
    if (unlikely(!READ_ONCE(rng.started)))
        reseed();
    return READ_ONCE(rng.bits) >= READY_BITS;
}

// Without a processor's or a device's numbers there is still the time at which a sleep ends: one bit each, as Linux
// counts it, so that a machine with neither is slow for a quarter of a second and never stuck.
int random_wait_ready(void) {
    while (!random_ready()) {
        int err = wait_event_until(&ready_wait, random_ready(), time_monotonic() + NSEC_PER_MSEC, true);
        if (err == -ERESTARTSYS)
            return err;
        uint64_t now = time_cycles();
        if (err == -ETIMEDOUT)
            random_add(&now, sizeof(now), 1);
    }
    return 0;
}
