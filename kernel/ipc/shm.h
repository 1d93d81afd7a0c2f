// System V shared memory: segments as backings of mappings. Locks: aspace.lock > the segment's (ipc_object.lock).
#ifndef KERNEL_IPC_SHM_H
#define KERNEL_IPC_SHM_H

#include "kernel/ipc/ids.h"

struct shm_limits {
    uint64_t segment, pages; // SHMMAX (bytes), SHMALL
    int segments;            // SHMMNI
};
extern struct shm_limits shm_limits;
extern struct ipc_ids shm_ids;

long shm_get(int key, uint64_t size, unsigned flags);       // shmget(2)
long shm_attach(int id, uaddr_t address, unsigned flags);   // shmat(2): where
long shm_detach(uaddr_t address);                           // shmdt(2)
struct shm_status {
    struct ipc_info ipc;
    nsec_t atime, dtime;
    uint64_t size, attached, resident; // bytes, mappings, pages
    int creator_pid, last_pid;
};
long shm_status(int n, enum ipc_by by, struct shm_status *out);
long shm_change(int id, const struct ipc_change *c);
long shm_remove(int id);
long shm_lock(int id, bool on); // SHM_LOCK, SHM_UNLOCK
void shm_totals(uint64_t *pages, uint64_t *resident);

#endif
