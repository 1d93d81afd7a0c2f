// See fake_host.h.
#include "tests/unit/fake_host.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct host_park {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
};

struct host_park *host_park_new(void)
{
    struct host_park *p = malloc(sizeof *p);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->cond, NULL);
    return p;
}

void host_park_free(struct host_park *p)
{
    host_park_lock(p);
    host_park_unlock(p);
    free(p);
}

void host_park_lock(struct host_park *p)
{
    pthread_mutex_lock(&p->mutex);
}

void host_park_unlock(struct host_park *p)
{
    pthread_mutex_unlock(&p->mutex);
}

void host_park_signal(struct host_park *p)
{
    pthread_cond_signal(&p->cond);
}

bool host_park_wait(struct host_park *p, int64_t deadline)
{
    struct timespec ts = {deadline / 1000000000, deadline % 1000000000};
    if (deadline == INT64_MAX)
        return pthread_cond_wait(&p->cond, &p->mutex) == 0;
    return pthread_cond_timedwait(&p->cond, &p->mutex, &ts) == 0;
}

unsigned long host_start(void *(*fn)(void *), void *arg)
{
    pthread_t t;
    if (pthread_create(&t, NULL, fn, arg))
        abort();
    return t;
}

void host_join(unsigned long thread)
{
    pthread_join(thread, NULL);
}

int64_t host_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec * 1000000000L + ts.tv_nsec;
}

void host_yield(void)
{
    sched_yield();
}

void host_usleep(unsigned us)
{
    usleep(us);
}
