// Threads and time of the host, for tests that include kernel headers and so cannot have the C library's.
#ifndef TESTS_UNIT_FAKE_HOST_H
#define TESTS_UNIT_FAKE_HOST_H

#include <stdbool.h>
#include <stdint.h>

// Where one thread sleeps and others wake it: a lock and a condition.
struct host_park;
struct host_park *host_park_new(void);
void host_park_free(struct host_park *p); // after whoever has the lock
void host_park_lock(struct host_park *p);
void host_park_unlock(struct host_park *p);
void host_park_signal(struct host_park *p);
bool host_park_wait(struct host_park *p, int64_t deadline); // false: the time is over. INT64_MAX: none

unsigned long host_start(void *(*fn)(void *), void *arg);
void host_join(unsigned long thread);
int64_t host_now(void);
void host_yield(void);
void host_usleep(unsigned us);

#endif
