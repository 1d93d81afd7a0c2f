// Sockets: what all protocol families share. A socket is a file (S_IFSOCK); what it does is its family's table of operations.
// net/socket.c has the file and its reads and writes, net/option.c the options of SOL_SOCKET, net/scm.c descriptors and credentials
// that travel with messages; net/unix*.c is AF_UNIX.
// Locks: socket.lock (spinlock, a leaf but for wait queues) protects file, error and what the family puts under it. Families never
// hold it while they copy or sleep.
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include "fs/file.h"
#include "kernel/threads/lock.h"
#include "kernel/threads/wait.h"
#include "kernel/types.h"
#include <linux/net.h>    // SOCK_*, SO_* come with it
#include <linux/socket.h> // struct __kernel_sockaddr_storage

struct socket;
struct group_list;

// What <sys/socket.h> has and linux-libc-dev has not.
#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define AF_MAX 46
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define SOCK_SEQPACKET 5
#define SOCK_TYPE_MASK 0xf
#define SOCK_TYPE_MAX 11
#define SOCK_CLOEXEC O_CLOEXEC
#define SOCK_NONBLOCK O_NONBLOCK
#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define SCM_CREDENTIALS 2
#define MSG_OOB 0x1
#define MSG_PEEK 0x2
#define MSG_CTRUNC 0x8
#define MSG_TRUNC 0x20
#define MSG_DONTWAIT 0x40
#define MSG_EOR 0x80
#define MSG_WAITALL 0x100
#define MSG_NOSIGNAL 0x4000
#define MSG_MORE 0x8000
#define MSG_WAITFORONE 0x10000
#define MSG_CMSG_CLOEXEC 0x40000000
#define SHUTDOWN_RECEIVE 1 // bits of a family's shutdown state: how + 1 of shutdown(2)
#define SHUTDOWN_SEND 2
#define SHUTDOWN_BOTH 3

#define SOCKET_ADDRESS_MAX 128 // sizeof(struct sockaddr_storage)

struct socket_address {
    unsigned len; // 0: none. Of an address that a call returns it may not be more than SOCKET_ADDRESS_MAX
    union {
        uint16_t family;
        char data[SOCKET_ADDRESS_MAX];
    };
};

// What a sendmsg(2) or recvmsg(2) carries besides the bytes. Plain reads and writes have none (NULL).
struct socket_message {
    struct socket_address *name; // send: the destination, NULL: none. Receive: filled in with the sender, NULL: not wanted
    char *control;               // kernel memory in cmsg(3)'s form. Send: what to send with it. Receive: kmalloc'ed by message_put_control
    size_t control_len;          // bytes in it
    size_t control_max;          // receive: room that the application has
    int flags;                   // receive: MSG_TRUNC, MSG_CTRUNC, MSG_EOR, MSG_OOB to be told
};
// Appends a control message for the application; without room it is cut and MSG_CTRUNC set.
void message_put_control(struct socket_message *m, int level, int type, const void *data, size_t len);

// Everything returns 0 or more, or -errno; a function that is NULL answers -EOPNOTSUPP, but where [else] stands. Calls come without
// locks, with a reference on the socket, in the context of the calling process. Calls that wait follow signal(7): they return
// socket_interrupted() when a signal ends them.
struct socket_ops {
    void (*release)(struct socket *s); // the file is gone; the last reference (free) may be later
    void (*free)(struct socket *s);    // nobody refers to it any more: family's resources and the memory
    int (*bind)(struct socket *s, const struct socket_address *a);
    int (*connect)(struct socket *s, const struct socket_address *a, bool nonblock);
    int (*listen)(struct socket *s, int backlog);
    struct socket *(*accept)(struct socket *s, bool nonblock); // without a file, referenced. ERR_PTR
    int (*pair)(struct socket *a, struct socket *b);
    int (*name)(struct socket *s, struct socket_address *a, bool peer); // -ENOTCONN
    int (*shutdown)(struct socket *s, int bits);                         // SHUTDOWN_*
    // MSG_* flags as the application gave them, MSG_DONTWAIT added for O_NONBLOCK. The bytes; MSG_TRUNC: the message's whole length.
    int64_t (*send)(struct socket *s, struct uio *u, struct socket_message *m, int flags);
    int64_t (*receive)(struct socket *s, struct uio *u, struct socket_message *m, int flags);
    uint32_t (*poll)(struct socket *s, struct file *f, struct poll_table *pt);
    long (*ioctl)(struct socket *s, unsigned cmd, uaddr_t arg); // [-ENOTTY] FIONREAD and the like; user memory is its own business
    // Options of other levels than SOL_SOCKET, the value in kernel memory. get: *len is the room, then the length.
    int (*set_option)(struct socket *s, int level, int name, const void *value, unsigned len);
    int (*get_option)(struct socket *s, int level, int name, void *value, unsigned *len);
    // An option of SOL_SOCKET has changed that the family acts on: SO_SNDBUF, SO_RCVBUF, SO_KEEPALIVE, ... [nothing]
    void (*option_changed)(struct socket *s, int name);
    bool passes_control;  // knows SCM_RIGHTS, SO_PEERCRED, and
    bool peeks_at_offset; // SO_PEEK_OFF
};

// The peer's credentials as they were when the connection was made. Shared and counted; the groups are those of SO_PEERGROUPS.
struct peer_credentials {
    uint32_t refs;
    int pid;
    uint32_t uid, gid;
    struct group_list *groups; // NULL: none
};
struct peer_credentials *peer_credentials_current(void); // of the current process; NULL: no memory
void peer_credentials_unref(struct peer_credentials *c); // NULL is allowed

enum socket_bit { // socket.bits: options that are on or off, as 1 << SOCKET_...
    SOCKET_DEBUG, SOCKET_REUSEADDR, SOCKET_REUSEPORT, SOCKET_DONTROUTE, SOCKET_BROADCAST, SOCKET_KEEPALIVE, SOCKET_OOBINLINE,
    SOCKET_NO_CHECK, SOCKET_PASSCRED, SOCKET_PASSSEC, SOCKET_TIMESTAMP, SOCKET_TIMESTAMPNS, SOCKET_RXQ_OVFL, SOCKET_LINGER,
    SOCKET_NOFCS, SOCKET_SELECT_ERR_QUEUE, SOCKET_LOCK_FILTER, SOCKET_SNDBUF_LOCKED, SOCKET_RCVBUF_LOCKED,
    SOCKET_TIMESTAMP_NEW,
};

struct socket {
    const struct socket_ops *ops;
    uint32_t refs;
    struct spinlock lock;
    struct file *file; // under lock; NULL: not accepted yet, or closed
    uint16_t family;
    uint8_t type;
    bool listening; // SO_ACCEPTCONN
    int protocol;
    int error;      // SO_ERROR: a positive errno, taken by socket_error
    uint32_t bits;
    uint32_t send_buffer, receive_buffer; // bytes, as getsockopt shows them
    int low_water, priority, peek_offset; // SO_RCVLOWAT, SO_PRIORITY, SO_PEEK_OFF (-1: off)
    uint32_t mark;
    int linger;                           // seconds
    nsec_t receive_timeout, send_timeout; // NSEC_MAX: none
    uint64_t cookie;                      // 0: not asked for yet
    struct peer_credentials *peer;        // under lock; NULL: none
    struct waitq readable, writable;      // data or a connection has come; there is room. Both: errors and hang-ups
};

struct socket_family {
    int family;
    // A new socket without a file, refs 1; checks type and protocol. ERR_PTR(-EPROTONOSUPPORT, -ESOCKTNOSUPPORT, -ENOMEM, ...).
    struct socket *(*create)(int type, int protocol);
};
extern const struct socket_family unix_family, inet_family, inet6_family, netlink_family;

// --- For syscall/ ---
struct socket *socket_create(int family, int type, int protocol); // socket(2) without the file. ERR_PTR
// The file of a new socket; takes over the reference (also on failure). flags: O_NONBLOCK. ERR_PTR.
struct file *socket_file(struct socket *s, unsigned flags);
struct socket *file_socket(struct file *f); // NULL: it is no socket
int64_t socket_send(struct file *f, struct uio *u, struct socket_message *m, int flags);
int64_t socket_receive(struct file *f, struct uio *u, struct socket_message *m, int flags);
// SOL_SOCKET's and the family's options. get: *len is the room, then the length; `value` has room for SOCKET_OPTION_MAX bytes.
#define SOCKET_OPTION_MAX 512
int socket_set_option(struct socket *s, int level, int name, const void *value, unsigned len);
int socket_get_option(struct socket *s, int level, int name, void *value, unsigned *len);

// To a netlink socket, as from the kernel (mq_notify(2)). 0, -EINVAL: it is another one; -ENOBUFS, -ENOMEM.
int netlink_send_to(struct socket *s, const void *data, size_t len);

// --- For the families ---
// Fills in what all sockets have: refs 1, Linux's defaults.
void socket_init(struct socket *s, const struct socket_ops *ops, int family, int type, int protocol);
static inline struct socket *socket_ref(struct socket *s) { atomic_add(&s->refs, 1); return s; }
void socket_free(struct socket *s); // the last reference is gone
static inline void socket_unref(struct socket *s) {
    if (atomic_sub(&s->refs, 1) == 1)
        socket_free(s);
}
static inline bool socket_bit(const struct socket *s, enum socket_bit bit) { return READ_ONCE(s->bits) >> bit & 1; }
int socket_error(struct socket *s); // takes the pending error: 0 or -errno
void socket_set_error(struct socket *s, int error);
// Data, room, or (both) another state: wakes who waits, pollers with these POLL* bits, and sends SIGIO to who asked for it.
void socket_wake_readable(struct socket *s, uint32_t key);
// Data came straight to a reader that waited: an event for other pollers too, but no SIGIO.
void socket_landed(struct socket *s);
void socket_wake_writable(struct socket *s, uint32_t key);
void socket_wake_state(struct socket *s);
// SO_TIMESTAMP and its like: the control message, where the socket wants one. stamp: of CLOCK_REALTIME; 0: now.
void socket_put_timestamp(const struct socket *s, struct socket_message *m, nsec_t stamp);
void socket_send_sigurg(struct socket *s); // urgent data has come
// When a wait that began now with this timeout ends; 0 when it must not wait.
nsec_t socket_deadline(nsec_t timeout, bool nonblock);
// What a call answers whose wait ended with `err`: -EAGAIN at the timeout; a signal: restarted only when there was no timeout.
static inline int socket_interrupted(int err, nsec_t timeout) {
    return err == -ETIMEDOUT ? -EAGAIN : err == -ERESTARTSYS && timeout != NSEC_MAX ? -EINTR : err;
}
// Waits on a queue as the only one of its kind to be woken: readers of messages, accept(2). As wait_event_until.
#define socket_wait_exclusive(wqp, cond, deadline)                                                                     \
    ({                                                                                                                 \
        int result_ = 0;                                                                                               \
        struct waiter entry_;                                                                                          \
        waiter_init(&entry_);                                                                                          \
        entry_.exclusive = true;                                                                                       \
        for (;;) {                                                                                                     \
            waitq_prepare((wqp), &entry_, true);                                                                       \
            if (cond)                                                                                                  \
                break;                                                                                                 \
            result_ = thread_sleep_until(deadline);                                                                    \
            if (cond) {                                                                                                \
                result_ = 0;                                                                                           \
                break;                                                                                                 \
            }                                                                                                          \
            if (result_ < 0)                                                                                           \
                break;                                                                                                 \
        }                                                                                                              \
        waitq_finish(&entry_);                                                                                         \
        result_;                                                                                                       \
    })

// --- What net/inet/ answers for all sockets, so that nothing above knows lwIP ---
long inet_ioctl(struct socket *s, unsigned cmd, uaddr_t arg); // SIOCGIF* and the like, for any socket: ioctl.c. -ENOTTY: none of them
// SO_BINDTODEVICE, SO_BINDTOIFINDEX: device.c. -ENOPROTOOPT: not of the family, -EPERM, -ENODEV, -EINVAL
int socket_set_interface(struct socket *s, int index);
int socket_set_interface_name(struct socket *s, const void *value, unsigned len);
int socket_get_interface_name(struct socket *s, void *value, unsigned *len);
int socket_get_interface(struct socket *s); // the index, 0: none

#endif
