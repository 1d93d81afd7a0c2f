// /proc/sysvipc, and the limits of IPC and inotify in /proc/sys.
#include "fs/inotify.h"
#include "fs/mqueue.h"
#include "fs/procfs.h"
#include "kernel/ipc/msg.h"
#include "kernel/ipc/sem.h"
#include "kernel/ipc/shm.h"
#include "kernel/string.h"

// --- Limits ---

static const struct limit {
    const char *name;
    void *value; // of int, or of uint64_t when `wide`
    uint64_t max;
    uint8_t count; // of values in the file, one behind the other
    bool wide;
} limits[] = {
    {"sem", &sem_limits, INT32_MAX, 4, false},
    {"msgmax", &msg_limits.message, INT32_MAX, 1, false},
    {"msgmnb", &msg_limits.queue, INT32_MAX, 1, false},
    {"msgmni", &msg_limits.queues, IPC_SLOTS, 1, false},
    {"shmmax", &shm_limits.segment, UINT64_MAX, 1, true},
    {"shmall", &shm_limits.pages, UINT64_MAX, 1, true},
    {"shmmni", &shm_limits.segments, IPC_SLOTS, 1, false},
    {"queues_max", &mqueue_limits.queues, INT32_MAX, 1, false},
    {"msg_max", &mqueue_limits.messages, 65536, 1, false},
    {"msgsize_max", &mqueue_limits.message_size, 16 << 20, 1, false},
    {"msg_default", &mqueue_limits.messages_default, 65536, 1, false},
    {"msgsize_default", &mqueue_limits.message_size_default, 16 << 20, 1, false},
    {"max_queued_events", &inotify_max_events, INT32_MAX, 1, false},
    {"max_user_instances", &inotify_max_instances, INT32_MAX, 1, false},
    {"max_user_watches", &inotify_max_watches, INT32_MAX, 1, false},
};

static const struct limit *limit_of(const struct proc_ref *r) {
    const struct limit *l = limits;
    while (strcmp(l->name, r->item->entry->name) != 0) // every PROC_LIMIT row has its line above
        l++;
    return l;
}

int proc_show_limit(struct seqbuf *s, struct proc_ref *r) {
    const struct limit *l = limit_of(r);
    for (unsigned i = 0; i < l->count; i++)
        seq_printf(s, "%lu%c", l->wide ? *(unsigned long *)l->value : (unsigned long)((int *)l->value)[i],
                   i + 1 < l->count ? '\t' : '\n');
    return 0;
}

long proc_store_limit(struct proc_ref *r, const char *text, size_t len) {
    const struct limit *l = limit_of(r);
    uint64_t values[4];
    unsigned count = 0;
    while (count < l->count) {
        while (*text == ' ' || *text == '\t' || *text == '\n')
            text++;
        if (!*text)
            break;
        uint64_t n = 0;
        const char *start = text;
        for (; *text >= '0' && *text <= '9'; text++)
            if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
                return -EINVAL;
        if (text == start || n > l->max)
            return -EINVAL;
        values[count++] = n;
    }
    if (!count)
        return -EINVAL;
    for (unsigned i = 0; i < count; i++) {
        if (l->wide)
            WRITE_ONCE(*(uint64_t *)l->value, values[i]);
        else
            WRITE_ONCE(((int *)l->value)[i], (int)values[i]);
    }
    return 0;
}

const struct proc_entry proc_mqueue_entries[] = {
    PROC_LIMIT("msg_default"), PROC_LIMIT("msg_max"),    PROC_LIMIT("msgsize_default"),
    PROC_LIMIT("msgsize_max"), PROC_LIMIT("queues_max"), {.name = NULL},
};

const struct proc_entry proc_inotify_entries[] = {
    PROC_LIMIT("max_queued_events"),
    PROC_LIMIT("max_user_instances"),
    PROC_LIMIT("max_user_watches"),
    {.name = NULL},
};

// --- /proc/sysvipc ---

static long seconds(nsec_t ns) { return (long)(ns / NSEC_PER_SEC); }

static int show_sem(struct seqbuf *s, struct proc_ref *r) {
    struct sem_status st;
    seq_puts(s, "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n");
    for (int i = 0, last = ipc_highest(&sem_ids); i <= last; i++)
        if (sem_status(i, IPC_BY_SLOT_ANY, &st) >= 0)
            seq_printf(s, "%10d %10d  %4o %10u %5u %5u %5u %5u %10ld %10ld\n", st.ipc.key, st.ipc.id, st.ipc.mode,
                       st.count, st.ipc.uid, st.ipc.gid, st.ipc.cuid, st.ipc.cgid, seconds(st.otime),
                       seconds(st.ipc.ctime));
    return 0;
}

static int show_msg(struct seqbuf *s, struct proc_ref *r) {
    struct msg_status st;
    seq_puts(s,
             "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      "
             "rtime      ctime\n");
    for (int i = 0, last = ipc_highest(&msg_ids); i <= last; i++)
        if (msg_status(i, IPC_BY_SLOT_ANY, &st) >= 0)
            seq_printf(s, "%10d %10d  %4o  %10lu %10lu %5d %5d %5u %5u %5u %5u %10ld %10ld %10ld\n", st.ipc.key,
                       st.ipc.id, st.ipc.mode, (unsigned long)st.bytes, (unsigned long)st.count, st.send_pid,
                       st.receive_pid, st.ipc.uid, st.ipc.gid, st.ipc.cuid, st.ipc.cgid, seconds(st.stime),
                       seconds(st.rtime), seconds(st.ipc.ctime));
    return 0;
}

static int show_shm(struct seqbuf *s, struct proc_ref *r) {
    struct shm_status st;
    seq_puts(s, "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      "
                "atime      dtime      ctime                   rss                  swap\n");
    for (int i = 0, last = ipc_highest(&shm_ids); i <= last; i++)
        if (shm_status(i, IPC_BY_SLOT_ANY, &st) >= 0)
            seq_printf(s, "%10d %10d  %4o %21lu %5d %5d  %5lu %5u %5u %5u %5u %10ld %10ld %10ld %21lu %21d\n",
                       st.ipc.key, st.ipc.id, st.ipc.mode, (unsigned long)st.size, st.creator_pid, st.last_pid,
                       (unsigned long)st.attached, st.ipc.uid, st.ipc.gid, st.ipc.cuid, st.ipc.cgid, seconds(st.atime),
                       seconds(st.dtime), seconds(st.ipc.ctime), (unsigned long)(st.resident * PAGE_SIZE), 0);
    return 0;
}

const struct proc_entry proc_sysvipc_entries[] = {
    PROC_FILE("msg", show_msg),
    PROC_FILE("sem", show_sem),
    PROC_FILE("shm", show_shm),
    {.name = NULL},
};
