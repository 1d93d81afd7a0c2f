// semget(2), semop(2), semtimedop(2), semctl(2).
#include "kernel/ipc/sem.h"
#include "kernel/memory/slab.h"
#include "kernel/time.h"
#include "syscall/ipc.h"
#include "syscall/syscall.h"
#include "syscall/timespec.h"
#include <linux/sem.h>

_Static_assert(sizeof(struct sembuf) == sizeof(struct sem_operation) &&
                   offsetof(struct sembuf, sem_op) == offsetof(struct sem_operation, change) &&
                   offsetof(struct sembuf, sem_flg) == offsetof(struct sem_operation, flags) &&
                   SEM_UNDO == SEM_FLAG_UNDO && IPC_NOWAIT == SEM_FLAG_NOWAIT && SEMVMX == SEM_VALUE_MAX,
               "the operations are copied as they are");
_Static_assert(sizeof(struct semid64_ds) == 104, "the ABI's");

#define OPS_SMALL 16

long sys_semget(uint64_t key, uint64_t count, uint64_t flags) { return sem_get((int)key, (int)count, (unsigned)flags); }

static long operate(int id, uaddr_t ops_addr, unsigned count, const struct __kernel_timespec *timeout) {
    struct sem_operation small[OPS_SMALL], *ops = small;
    nsec_t after, deadline = NSEC_MAX;
    if ((int)count > sem_limits.operations || (int)count < 0)
        return -E2BIG;
    if (count < 1)
        return -EINVAL;
    if (count > OPS_SMALL && !(ops = kmalloc(count * sizeof(*ops))))
        return -ENOMEM;
    long err = copy_in(ops, ops_addr, count * sizeof(*ops));
    if (err == 0 && id < 0)
        err = -EINVAL;
    if (err == 0 && timeout && (err = timespec_to_nsec(timeout, &after)) == 0)
        deadline = nsec_add(time_monotonic(), after);
    if (err == 0)
        err = sem_operate(id, ops, count, deadline);
    if (ops != small)
        kfree(ops);
    return err;
}

long sys_semop(uint64_t id, uint64_t ops, uint64_t count) { return operate((int)id, ops, (unsigned)count, NULL); }

long sys_semtimedop(uint64_t id, uint64_t ops, uint64_t count, uint64_t timeout) {
    struct __kernel_timespec ts;
    if (timeout && copy_in_obj(&ts, timeout) < 0)
        return -EFAULT;
    return operate((int)id, ops, (unsigned)count, timeout ? &ts : NULL);
}

static long stat(int n, enum ipc_by by, uaddr_t out) {
    struct sem_status st;
    long result = sem_status(n, by, &st);
    if (result < 0)
        return result;
    struct semid64_ds ds = {.sem_otime = st.otime / NSEC_PER_SEC, .sem_nsems = st.count};
    ds.sem_ctime = st.ipc.ctime / NSEC_PER_SEC;
    ipc_perm_out(&ds.sem_perm, &st.ipc);
    if (copy_out_obj(out, &ds) < 0)
        return -EFAULT;
    return by == IPC_BY_ID ? 0 : result;
}

static long info(uaddr_t out, bool current) {
    struct seminfo i = {
        .semmap = sem_limits.total,
        .semmni = sem_limits.sets,
        .semmns = sem_limits.total,
        .semmnu = SEMMNU,
        .semmsl = sem_limits.per_set,
        .semopm = sem_limits.operations,
        .semume = SEMUME,
        .semusz = current ? (int)READ_ONCE(sem_ids.used) : SEMUSZ,
        .semvmx = SEMVMX,
        .semaem = current ? (int)sem_total() : SEMAEM,
    };
    return copy_out_obj(out, &i) < 0 ? -EFAULT : MAX(ipc_highest(&sem_ids), 0);
}

static long get_all(int id, uaddr_t out) {
    uint16_t *values = NULL;
    long n = sem_get_all(id, &values);
    if (n < 0)
        return n;
    long err = copy_out(out, values, (size_t)n * sizeof(*values));
    kfree(values);
    return err;
}

static long set_all(int id, uaddr_t in) {
    long n = sem_count(id);
    if (n < 0)
        return n;
    uint16_t *values = kmalloc((size_t)n * sizeof(*values));
    if (!values)
        return -ENOMEM;
    long err = copy_in(values, in, (size_t)n * sizeof(*values));
    if (err == 0)
        err = sem_set_all(id, values, (unsigned)n);
    kfree(values);
    return err;
}

static long set(int id, uaddr_t in) {
    struct semid64_ds ds;
    if (copy_in_obj(&ds, in) < 0)
        return -EFAULT;
    return sem_change(id, &(struct ipc_change){ds.sem_perm.uid, ds.sem_perm.gid, ds.sem_perm.mode});
}

long sys_semctl(uint64_t id64, uint64_t number, uint64_t cmd, uint64_t arg) {
    int id = (int)id64;
    if (id < 0)
        return -EINVAL;
    switch ((int)cmd) {
    case IPC_INFO:
    case SEM_INFO: return info(arg, (int)cmd == SEM_INFO);
    case IPC_STAT: return stat(id, IPC_BY_ID, arg);
    case SEM_STAT: return stat(id, IPC_BY_SLOT, arg);
    case SEM_STAT_ANY: return stat(id, IPC_BY_SLOT_ANY, arg);
    case GETVAL: return sem_query(id, (int)number, SEM_GET_VALUE);
    case GETPID: return sem_query(id, (int)number, SEM_GET_PID);
    case GETNCNT: return sem_query(id, (int)number, SEM_GET_WAITING);
    case GETZCNT: return sem_query(id, (int)number, SEM_GET_WAITING_ZERO);
    case SETVAL: return sem_set_value(id, (int)number, (int)arg);
    case GETALL: return get_all(id, arg);
    case SETALL: return set_all(id, arg);
    case IPC_SET: return set(id, arg);
    case IPC_RMID: return sem_remove(id);
    default: return -EINVAL;
    }
}
