// poll(2), ppoll(2), select(2), pselect6(2).
#include "fs/poll.h"
#include "kernel/process/process.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include "syscall/sigmask.h"
#include "syscall/syscall.h"
#include "syscall/timeout.h"

#define POLL_SMALL 16

// --- poll ---

// One round over the descriptors; the number of those that have something.
static long poll_round(struct poller *p, void *what, unsigned count) {
    struct pollfd *fds = what;
    int ready = 0;
    for (unsigned i = 0; i < count; i++) {
        fds[i].revents = 0;
        if (fds[i].fd < 0)
            continue;
        uint32_t wanted = (uint16_t)fds[i].events | POLLERR | POLLHUP, mask = POLLNVAL;
        struct file *f = fd_get(fds[i].fd);
        if (f) {
            mask = file_poll(f, ready ? NULL : poller_table(p)) & wanted;
            file_unref(f);
        }
        fds[i].revents = mask;
        ready += mask != 0;
    }
    return ready;
}

// Rounds over what the caller waits for, until one finds something, the time is over, or a signal comes.
static long wait_rounds(long (*round)(struct poller *p, void *what, unsigned count), void *what, unsigned count,
                        nsec_t deadline) {
    struct poller p;
    long result;
    poller_init(&p);
    if (deadline == 0)
        poller_stop_registering(&p);
    for (;;) {
        result = round(&p, what, count);
        if (result || deadline == 0)
            break;
        result = poller_wait(&p, deadline);
        if (result < 0)
            break;
    }
    poller_done(&p);
    return result == -ETIMEDOUT ? 0 : result;
}

static long poll_user(uaddr_t addr, uint64_t count, nsec_t deadline) {
    struct pollfd small[POLL_SMALL], *fds = small;
    unsigned n = count;
    if (n > process_current()->limits[RLIMIT_NOFILE].rlim_cur)
        return -EINVAL;
    if (n > POLL_SMALL && !(fds = kmalloc(n * sizeof(*fds))))
        return -ENOMEM;
    long result = copy_in(fds, addr, n * sizeof(*fds)) < 0 ? -EFAULT : wait_rounds(poll_round, fds, n, deadline);
    if (result >= 0) {
        for (unsigned i = 0; i < n; i++) {
            uaddr_t to = addr + i * sizeof(*fds) + offsetof(struct pollfd, revents);
            if (copy_out_obj(to, &fds[i].revents) < 0) {
                result = -EFAULT;
                break;
            }
        }
    }
    if (fds != small)
        kfree(fds);
    return result;
}

// A call that a signal interrupted without a handler goes on until the deadline that it had at first.
static long restart_poll(struct restart *r) {
    long result = poll_user(r->args[0], r->args[1], (nsec_t)r->args[2]);
    return result == -ERESTARTNOHAND ? -ERESTART_BLOCK : result;
}

long sys_poll(uint64_t fds, uint64_t count, uint64_t timeout) {
    nsec_t deadline = deadline_from_ms((int)timeout);
    long result = poll_user(fds, count, deadline);
    if (likely(result != -ERESTARTNOHAND))
        return result;
    thread_current()->restart = (struct restart){restart_poll, {fds, count, (uint64_t)deadline}};
    return -ERESTART_BLOCK;
}

long sys_ppoll(uint64_t fds, uint64_t count, uint64_t timeout, uint64_t mask, uint64_t mask_size) {
    nsec_t deadline;
    long err = deadline_from_user(timeout, &deadline);
    if (err < 0 || (err = sigmask_begin(mask, mask_size)) < 0)
        return err;
    long result = poll_user(fds, count, deadline);
    result = deadline_left_to_user(timeout, deadline, result);
    return sigmask_end(mask, result);
}

// --- select ---

#define SET_WORDS_SMALL 16 // 1024 descriptors
struct sets {
    unsigned words;
    uint64_t *in[3], *out[3]; // read, write, exceptional
};

static const uint32_t set_events[3] = {
    POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR,
    POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR,
    POLLPRI,
};

static long select_round(struct poller *p, void *what, unsigned count) {
    struct sets *s = what;
    long ready = 0;
    for (int i = 0; i < 3; i++)
        memset(s->out[i], 0, s->words * 8);
    for (unsigned fd = 0; fd < count; fd++) {
        unsigned word = fd / 64;
        uint64_t bit = 1UL << (fd % 64), any = s->in[0][word] | s->in[1][word] | s->in[2][word];
        if (!any) {
            fd |= 63;
            continue;
        }
        if (!(any & bit))
            continue;
        struct file *f = fd_get(fd);
        if (!f)
            return -EBADF;
        uint32_t mask = file_poll(f, ready ? NULL : poller_table(p));
        file_unref(f);
        for (int i = 0; i < 3; i++) {
            if ((s->in[i][word] & bit) && (mask & set_events[i])) {
                s->out[i][word] |= bit;
                ready++;
            }
        }
    }
    return ready;
}

static long select_user(int count, const uaddr_t addr[3], nsec_t deadline) {
    uint64_t small[6 * SET_WORDS_SMALL], *memory = small;
    struct sets s;
    if (count < 0)
        return -EINVAL;
    // As Linux, no further than the table goes, but at least as far as the standard's fd_set.
    unsigned n = MIN((unsigned)count, MAX(READ_ONCE(process_current()->files->capacity), 1024u));
    s.words = (n + 63) / 64;
    if (s.words > SET_WORDS_SMALL && !(memory = kmalloc(6 * 8ul * s.words)))
        return -ENOMEM;
    long result = 0;
    size_t bytes = s.words * 8;
    for (int i = 0; i < 3; i++) {
        s.in[i] = memory + i * s.words;
        s.out[i] = memory + (3 + i) * s.words;
        memset(s.in[i], 0, bytes);
        if (addr[i] && copy_in(s.in[i], addr[i], bytes) < 0)
            result = -EFAULT;
        if (n % 64)
            s.in[i][s.words - 1] &= (1UL << (n % 64)) - 1;
    }
    if (result == 0)
        result = wait_rounds(select_round, &s, n, deadline);
    for (int i = 0; i < 3 && result >= 0; i++)
        if (addr[i] && copy_out(addr[i], s.out[i], bytes) < 0)
            result = -EFAULT;
    if (memory != small)
        kfree(memory);
    return result;
}

long sys_select(uint64_t count, uint64_t in, uint64_t out, uint64_t ex, uint64_t timeout) {
    nsec_t deadline;
    const uaddr_t sets[3] = {in, out, ex};
    long err = deadline_from_user_timeval(timeout, &deadline);
    if (err < 0)
        return err;
    long result = select_user(count, sets, deadline);
    result = deadline_left_to_user_timeval(timeout, deadline, result);
    return result;
}

long sys_pselect6(uint64_t count, uint64_t in, uint64_t out, uint64_t ex, uint64_t timeout, uint64_t mask_arg) {
    nsec_t deadline;
    const uaddr_t sets[3] = {in, out, ex};
    uint64_t mask[2] = {0, 0}; // address and size
    if (mask_arg && copy_in(mask, mask_arg, sizeof(mask)) < 0)
        return -EFAULT;
    long err = deadline_from_user(timeout, &deadline);
    if (err < 0 || (err = sigmask_begin(mask[0], mask[1])) < 0)
        return err;
    long result = select_user(count, sets, deadline);
    result = deadline_left_to_user(timeout, deadline, result);
    return sigmask_end(mask[0], result);
}
