// POSIX message queues, mq_overview(7): files of the file system "mqueue".
// Locks: the file system's root inode.lock (names) > mqueue.lock (contents).
#ifndef FS_MQUEUE_H
#define FS_MQUEUE_H

#include "fs/vfs.h"

struct message; // kernel/ipc/msg.h: its type is the priority

struct mqueue_attributes {
    int64_t max_messages, message_size, messages;
};
struct mqueue_limits { // /proc/sys/fs/mqueue
    int queues, messages, message_size, messages_default, message_size_default;
};
extern struct mqueue_limits mqueue_limits;

#define MQUEUE_PRIORITIES 32768

// mq_open(2): attributes may be NULL. ERR_PTR.
struct file *mqueue_open(const char *name, unsigned flags, uint32_t mode, const struct mqueue_attributes *attributes);
int mqueue_unlink(const char *name);
bool mqueue_is(const struct file *f);
void mqueue_get_attributes(struct file *f, struct mqueue_attributes *out);
// `deadline` in realtime; NSEC_MAX: none. Takes over the message when it returns 0. -EAGAIN, -ETIMEDOUT, -ERESTARTSYS.
int mqueue_send(struct file *f, struct message *m, nsec_t deadline);
struct message *mqueue_receive(struct file *f, nsec_t deadline); // ERR_PTR; the message is the caller's

// mq_notify(2). kind: SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD. NULL: no more. 0 or -EBUSY. A reference on the socket is taken over with 0.
#define MQUEUE_COOKIE 32
struct mqueue_notification {
    int kind, signal;
    uint64_t value;
    struct socket *socket; // SIGEV_THREAD: a netlink socket that is sent the cookie; else NULL
    uint8_t cookie[MQUEUE_COOKIE];
};
void mqueue_notification_end(struct mqueue_notification *n, bool woken); // tells the socket, if there is one, and lets it go
int mqueue_notify(struct file *f, const struct mqueue_notification *n);

// --- Between mqueue.c and mqueue_fs.c ---
#define STATUS_SIZE 80  // of the file that a queue looks like
struct mqueue {
    struct inode inode;
    struct list all_link; // of all queues, under all_lock
    uint64_t cost;        // against the limit of its maker, inode.uid
    struct spinlock lock;
    struct list messages; // the highest priority first
    struct list receivers, senders;
    int64_t max_messages, message_size, count;
    uint64_t bytes;
    struct waitq wait; // poll
    struct process *notify_owner;
    struct mqueue_notification notification;
};
static inline struct mqueue *mqueue_of(struct inode *i) { return container_of(i, struct mqueue, inode); }
extern const struct file_ops mqueue_file_ops;

#endif
