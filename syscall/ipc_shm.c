// shmget(2), shmat(2), shmdt(2), shmctl(2).
#include "kernel/ipc/shm.h"
#include "syscall/ipc.h"
#include "syscall/syscall.h"
#include <linux/shm.h>

_Static_assert(sizeof(struct shmid64_ds) == 112, "the ABI's");

long sys_shmget(uint64_t key, uint64_t size, uint64_t flags) { return shm_get((int)key, size, (unsigned)flags); }

long sys_shmat(uint64_t id, uint64_t address, uint64_t flags) { return shm_attach((int)id, address, (unsigned)flags); }

long sys_shmdt(uint64_t address) { return shm_detach(address); }

static long stat(int n, enum ipc_by by, uaddr_t out) {
    struct shm_status st;
    long result = shm_status(n, by, &st);
    if (result < 0)
        return result;
    struct shmid64_ds ds = {.shm_segsz = st.size,
                            .shm_atime = st.atime / NSEC_PER_SEC,
                            .shm_dtime = st.dtime / NSEC_PER_SEC,
                            .shm_ctime = st.ipc.ctime / NSEC_PER_SEC,
                            .shm_cpid = st.creator_pid,
                            .shm_lpid = st.last_pid,
                            .shm_nattch = st.attached};
    ipc_perm_out(&ds.shm_perm, &st.ipc);
    if (copy_out_obj(out, &ds) < 0)
        return -EFAULT;
    return by == IPC_BY_ID ? 0 : result;
}

static long limits(uaddr_t out) {
    struct shminfo64 i = {.shmmax = shm_limits.segment,
                          .shmmin = SHMMIN,
                          .shmmni = (unsigned)shm_limits.segments,
                          .shmseg = (unsigned)shm_limits.segments,
                          .shmall = shm_limits.pages};
    return copy_out_obj(out, &i) < 0 ? -EFAULT : MAX(ipc_highest(&shm_ids), 0);
}

static long usage(uaddr_t out) {
    struct shm_info i = {.used_ids = (int)READ_ONCE(shm_ids.used)};
    uint64_t total, resident;
    shm_totals(&total, &resident);
    i.shm_tot = total;
    i.shm_rss = resident;
    return copy_out_obj(out, &i) < 0 ? -EFAULT : MAX(ipc_highest(&shm_ids), 0);
}

static long set(int id, uaddr_t in) {
    struct shmid64_ds ds;
    if (copy_in_obj(&ds, in) < 0)
        return -EFAULT;
    return shm_change(id, &(struct ipc_change){ds.shm_perm.uid, ds.shm_perm.gid, ds.shm_perm.mode});
}

long sys_shmctl(uint64_t id64, uint64_t cmd, uint64_t buf) {
    int id = (int)id64;
    if (id < 0 || (int)cmd < 0)
        return -EINVAL;
    switch ((int)cmd) {
    case IPC_INFO: return limits(buf);
    case SHM_INFO: return usage(buf);
    case IPC_STAT: return stat(id, IPC_BY_ID, buf);
    case SHM_STAT: return stat(id, IPC_BY_SLOT, buf);
    case SHM_STAT_ANY: return stat(id, IPC_BY_SLOT_ANY, buf);
    case IPC_SET: return set(id, buf);
    case IPC_RMID: return shm_remove(id);
    case SHM_LOCK:
    case SHM_UNLOCK: return shm_lock(id, (int)cmd == SHM_LOCK);
    default: return -EINVAL;
    }
}
