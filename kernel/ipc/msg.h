// System V message queues. Locks: the queue's (ipc_object.lock).
#ifndef KERNEL_IPC_MSG_H
#define KERNEL_IPC_MSG_H

#include "kernel/ipc/ids.h"
#include "kernel/list.h"

struct message {
    struct list link;
    long type;
    size_t size;
    char data[];
};
struct msg_limits {
    int message, queue, queues; // MSGMAX, MSGMNB (bytes), MSGMNI
};
extern struct msg_limits msg_limits;
extern struct ipc_ids msg_ids;

struct message *message_alloc(long type, size_t size); // NULL: no memory
void message_free(struct message *m);

long msg_get(int key, unsigned flags); // msgget(2)
// msgsnd(2): takes over the message when it returns 0. flags: IPC_NOWAIT.
long msg_send(int id, struct message *m, unsigned flags);
// msgrcv(2): the message, now the caller's, or ERR_PTR. Its size may exceed `size` with MSG_NOERROR.
struct message *msg_receive(int id, long type, size_t size, unsigned flags);
struct msg_status {
    struct ipc_info ipc;
    nsec_t stime, rtime;
    uint64_t bytes, count, max_bytes;
    int send_pid, receive_pid;
};
long msg_status(int n, enum ipc_by by, struct msg_status *out);
struct msg_change {
    struct ipc_change ipc;
    uint64_t max_bytes;
};
long msg_change(int id, const struct msg_change *c);
long msg_remove(int id);
void msg_totals(unsigned *messages, unsigned *bytes);

// Which message a receiver wants: for msg.c and its unit test.
enum msg_mode { MSG_WANT_ANY, MSG_WANT_TYPE, MSG_WANT_OTHER, MSG_WANT_LOWEST };
enum msg_mode msg_mode(long *type, unsigned flags); // *type becomes the number to compare with
struct message *msg_select(struct list *messages, long type, enum msg_mode mode); // NULL: there is none

#endif
