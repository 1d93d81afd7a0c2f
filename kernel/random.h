// Random numbers: a ChaCha20 generator with fast key erasure, seeded from RDSEED/RDRAND, virtio-rng and timing.
#ifndef KERNEL_RANDOM_H
#define KERNEL_RANDOM_H

#include "kernel/types.h"

void random_init(void);                                               // early: whatever the CPU offers
void random_add(const void *data, size_t len, unsigned entropy_bits); // any context
void random_bytes(void *buf, size_t len);                             // never blocks; any context
uint64_t random_u64(void);
bool random_ready(void);     // at least 256 bits were credited
int random_wait_ready(void); // getrandom(2) without GRND_NONBLOCK: 0, or -ERESTARTSYS

// A device that delivers entropy (virtio-rng). The generator asks at the first use and now and then afterwards; the device
// answers whenever it likes through random_add.
struct entropy_source {
    void (*request)(void); // any context; must not call back at once
};
void random_set_source(const struct entropy_source *source);

#endif
