// adjtimex(2), clock_adjtime(2).
#include "kernel/memory/usercopy.h"
#include "kernel/process/process.h"
#include "kernel/time_adjust.h"
#include "syscall/syscall.h"
#include <linux/capability.h>
#include <linux/timex.h>

_Static_assert(sizeof(struct __kernel_timex) == 208, "the ABI's");

#define CLOCK_REALTIME_ 0
#define CLOCK_LAST 11 // CLOCK_TAI
#define FREQUENCY_MAX (500L << 16)
#define OFFSET_MAX (500 * NSEC_PER_MSEC)

static int check(const struct __kernel_timex *tx) {
    bool may = current_cred()->cap_effective >> CAP_SYS_TIME & 1;
    if (tx->modes & 0x8000) { // adjtime(3)
        if (!(tx->modes & ADJ_OFFSET))
            return -EINVAL;
        return !(tx->modes & 0x2000) && !may ? -EPERM : 0;
    }
    if (tx->modes && !may)
        return -EPERM;
    if ((tx->modes & ADJ_TICK) && (tx->tick < 9000 || tx->tick > 11000))
        return -EINVAL;
    if ((tx->modes & ADJ_SETOFFSET) &&
        (tx->time.tv_usec < 0 || tx->time.tv_usec >= (tx->modes & ADJ_NANO ? NSEC_PER_SEC : 1000000)))
        return -EINVAL;
    return 0;
}

static int set_offset(const struct __kernel_timex *tx) {
    nsec_t change;
    if (__builtin_mul_overflow(tx->time.tv_sec, NSEC_PER_SEC, &change) ||
        __builtin_add_overflow(change, tx->time.tv_usec * (tx->modes & ADJ_NANO ? 1 : NSEC_PER_USEC), &change))
        return -EINVAL;
    int err = time_shift_realtime(change);
    if (!err)
        waitq_wake_all(&clock_set_wait);
    return err;
}

static void apply(const struct __kernel_timex *tx, struct time_adjustment *a) {
    const int read_only =
        STA_PPSSIGNAL | STA_PPSJITTER | STA_PPSWANDER | STA_PPSERROR | STA_CLOCKERR | STA_NANO | STA_MODE | STA_CLK;
    if (tx->modes & ADJ_STATUS)
        a->status = (a->status & read_only) | (tx->status & ~read_only);
    if (tx->modes & ADJ_NANO)
        a->status |= STA_NANO;
    if (tx->modes & ADJ_MICRO)
        a->status &= ~STA_NANO;
    if (tx->modes & ADJ_FREQUENCY)
        a->frequency = MIN(MAX(tx->freq, -FREQUENCY_MAX), FREQUENCY_MAX);
    if (tx->modes & ADJ_MAXERROR)
        a->max_error = tx->maxerror;
    if (tx->modes & ADJ_ESTERROR)
        a->estimated_error = tx->esterror;
    if (tx->modes & ADJ_TIMECONST)
        a->constant = MIN(MAX(tx->constant + (a->status & STA_NANO ? 0 : 4), 0), 10);
    if ((tx->modes & ADJ_TAI) && tx->constant >= 0)
        a->tai = (int)tx->constant;
    if ((tx->modes & ADJ_OFFSET) && (a->status & STA_PLL)) {
        nsec_t limit = a->status & STA_NANO ? OFFSET_MAX : OFFSET_MAX / NSEC_PER_USEC;
        nsec_t offset = MIN(MAX(tx->offset, -limit), limit);
        a->offset = a->status & STA_NANO ? offset : offset * NSEC_PER_USEC;
    }
    if (tx->modes & ADJ_TICK)
        a->tick = tx->tick;
}

static long adjust(uaddr_t addr) {
    struct __kernel_timex tx;
    struct time_adjustment a;
    if (copy_in_obj(&tx, addr) < 0)
        return -EFAULT;
    int err = check(&tx);
    if (err == 0 && (tx.modes & (ADJ_SETOFFSET | 0x8000)) == ADJ_SETOFFSET)
        err = set_offset(&tx);
    if (err < 0)
        return err;
    time_adjustment_get(&a);
    if (tx.modes & 0x8000) {
        nsec_t old = a.one_shot;
        if (!(tx.modes & 0x2000)) {
            a.one_shot = MIN(MAX(tx.offset, -1000000000L), 1000000000L) * NSEC_PER_USEC;
            time_adjustment_set(&a);
        }
        tx.offset = old / NSEC_PER_USEC;
    } else {
        if (tx.modes) {
            apply(&tx, &a);
            time_adjustment_set(&a);
        }
        tx.offset = a.status & STA_NANO ? a.offset : a.offset / NSEC_PER_USEC;
    }
    nsec_t now = time_realtime();
    tx.freq = a.frequency;
    tx.maxerror = a.max_error;
    tx.esterror = a.estimated_error;
    tx.status = a.status;
    tx.constant = a.constant;
    tx.precision = 1;
    tx.tolerance = FREQUENCY_MAX;
    tx.tick = a.tick;
    tx.tai = a.tai;
    tx.ppsfreq = tx.jitter = tx.shift = tx.stabil = tx.jitcnt = tx.calcnt = tx.errcnt = tx.stbcnt = 0;
    tx.time.tv_sec = now / NSEC_PER_SEC;
    tx.time.tv_usec = a.status & STA_NANO ? now % NSEC_PER_SEC : now % NSEC_PER_SEC / NSEC_PER_USEC;
    if (copy_out_obj(addr, &tx) < 0)
        return -EFAULT;
    return a.status & (STA_UNSYNC | STA_CLOCKERR) ? TIME_ERROR : TIME_OK;
}

long sys_adjtimex(uint64_t buf) { return adjust(buf); }

long sys_clock_adjtime(uint64_t clock, uint64_t buf) {
    struct __kernel_timex tx;
    if ((int)clock == CLOCK_REALTIME_)
        return adjust(buf);
    if ((int)clock < 0 || (int)clock > CLOCK_LAST || (int)clock == 10)
        return -EINVAL;
    return copy_in_obj(&tx, buf) < 0 ? -EFAULT : -EOPNOTSUPP;
}
