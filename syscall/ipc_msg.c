// msgget(2), msgsnd(2), msgrcv(2), msgctl(2).
#include "kernel/ipc/msg.h"
#include "syscall/ipc.h"
#include "syscall/syscall.h"
#include <linux/msg.h>

_Static_assert(sizeof(struct msqid64_ds) == 120, "the ABI's");

long sys_msgget(uint64_t key, uint64_t flags) { return msg_get((int)key, (unsigned)flags); }

long sys_msgsnd(uint64_t id, uint64_t buf, uint64_t size, uint64_t flags) {
    long type;
    if (copy_in_obj(&type, buf) < 0)
        return -EFAULT;
    if (size > (uint64_t)msg_limits.message || (int)id < 0 || type < 1)
        return -EINVAL;
    struct message *m = message_alloc(type, size);
    if (!m)
        return -ENOMEM;
    long err = copy_in(m->data, buf + sizeof(type), size);
    if (err == 0)
        err = msg_send((int)id, m, (unsigned)flags);
    if (err < 0)
        message_free(m);
    return err;
}

long sys_msgrcv(uint64_t id, uint64_t buf, uint64_t size, uint64_t type, uint64_t flags) {
    if ((int)id < 0 || (int64_t)size < 0)
        return -EINVAL;
    if (flags & MSG_COPY)
        return (flags & MSG_EXCEPT) || !(flags & IPC_NOWAIT) ? -EINVAL : -ENOSYS;
    struct message *m = msg_receive((int)id, (long)type, size, (unsigned)flags);
    if (IS_ERR(m))
        return PTR_ERR(m);
    // A message that cannot be stored is lost, as on Linux.
    long n = (long)MIN(m->size, size);
    if (copy_out_obj(buf, &m->type) < 0 || copy_out(buf + sizeof(m->type), m->data, (size_t)n) < 0)
        n = -EFAULT;
    message_free(m);
    return n;
}

static long stat(int n, enum ipc_by by, uaddr_t out) {
    struct msg_status st;
    long result = msg_status(n, by, &st);
    if (result < 0)
        return result;
    struct msqid64_ds ds = {.msg_stime = st.stime / NSEC_PER_SEC,
                            .msg_rtime = st.rtime / NSEC_PER_SEC,
                            .msg_ctime = st.ipc.ctime / NSEC_PER_SEC,
                            .msg_cbytes = st.bytes,
                            .msg_qnum = st.count,
                            .msg_qbytes = st.max_bytes,
                            .msg_lspid = st.send_pid,
                            .msg_lrpid = st.receive_pid};
    ipc_perm_out(&ds.msg_perm, &st.ipc);
    if (copy_out_obj(out, &ds) < 0)
        return -EFAULT;
    return by == IPC_BY_ID ? 0 : result;
}

static long info(uaddr_t out, bool current) {
    struct msginfo i = {.msgpool = MSGPOOL,
                        .msgmap = MSGMAP,
                        .msgmax = msg_limits.message,
                        .msgmnb = msg_limits.queue,
                        .msgmni = msg_limits.queues,
                        .msgssz = MSGSSZ,
                        .msgtql = MSGTQL,
                        .msgseg = (unsigned short)MSGSEG};
    if (current) {
        unsigned messages, bytes;
        msg_totals(&messages, &bytes);
        i.msgpool = (int)READ_ONCE(msg_ids.used);
        i.msgmap = (int)messages;
        i.msgtql = (int)bytes;
    }
    return copy_out_obj(out, &i) < 0 ? -EFAULT : MAX(ipc_highest(&msg_ids), 0);
}

static long set(int id, uaddr_t in) {
    struct msqid64_ds ds;
    if (copy_in_obj(&ds, in) < 0)
        return -EFAULT;
    return msg_change(id, &(struct msg_change){{ds.msg_perm.uid, ds.msg_perm.gid, ds.msg_perm.mode}, ds.msg_qbytes});
}

long sys_msgctl(uint64_t id64, uint64_t cmd, uint64_t buf) {
    int id = (int)id64;
    if (id < 0 || (int)cmd < 0)
        return -EINVAL;
    switch ((int)cmd) {
    case IPC_INFO:
    case MSG_INFO: return info(buf, (int)cmd == MSG_INFO);
    case IPC_STAT: return stat(id, IPC_BY_ID, buf);
    case MSG_STAT: return stat(id, IPC_BY_SLOT, buf);
    case MSG_STAT_ANY: return stat(id, IPC_BY_SLOT_ANY, buf);
    case IPC_SET: return set(id, buf);
    case IPC_RMID: return msg_remove(id);
    default: return -EINVAL;
    }
}
