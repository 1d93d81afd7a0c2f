// AF_UNIX: what the files net/unix*.c share.
// Locks: bind_lock (mutex) > a bucket of names (spinlock) ; in.write_lock, in.read_lock (mutexes) ; inflight_mutex > socket.lock
// (spinlock; of a listening socket before those of the connections that it has not handed out; of two others: the lower address
// first) > wait queues.
#ifndef NET_UNIX_H
#define NET_UNIX_H

#include "fs/file.h"
#include "kernel/list.h"
#include "net/bytequeue.h"
#include "net/scm.h"
#include "net/socket.h"
#include <linux/un.h>

struct seqbuf;

#define UNIX_QUEUE_DEFAULT 10 // net.unix.max_dgram_qlen
#define UNIX_HEADER 2         // offsetof(struct sockaddr_un, sun_path)

enum unix_state { UNIX_CLOSED, UNIX_LISTENING, UNIX_CONNECTED };

// What lies beside the bytes of a stream from `at` on: whoever wrote them, and files that the first read of them takes.
struct unix_mark {
    struct list link; // in the order of `at`
    uint64_t at, end; // with files, and of urgent data: a read that begins here ends at `end`
    struct scm scm;
    enum { MARK_PLAIN, MARK_URGENT, MARK_TAKEN } kind; // a byte sent with MSG_OOB, and one that was received so
};

// A datagram, or a record of SOCK_SEQPACKET.
struct unix_packet {
    struct list link;
    uint32_t refs;             // MSG_PEEK holds one
    struct unix_socket *from;  // referenced; it is charged until the packet is gone
    uint32_t len, charge;
    struct scm scm;
    struct bytequeue *large;   // or the bytes lie in `data`
    char data[];
};

struct unix_socket {
    struct socket socket; // first
    // Under socket.lock:
    enum unix_state state;
    uint8_t shutdown; // SHUTDOWN_*
    bool dead;        // its file is gone
    bool named;       // in the table by its name; the ends that accept(2) gives only show their listener's
    struct unix_socket *peer;  // referenced. A stream's does not change once it is there, until the socket is dead
    struct list queue;         // packets; connections that wait for accept(2), by accept_link
    unsigned queue_count, queue_max;
    struct list accept_link;
    struct list marks;
    struct unix_mark *urgent;  // the byte that recv(MSG_OOB) would get, or NULL
    // A stream's bytes, see there.
    struct bytequeue in;
    struct landing *landing; // of a reader that waits for them, or NULL
    struct scm_credentials read_cred, write_cred; // of the bytes at in.tail (in.read_lock) and of the last written (in.write_lock)
    uint32_t charged;                             // bytes of packets that it sent and nobody has read; atomic
    struct waitq room;                            // there is room in `queue`
    struct waiter peer_room;                      // in the peer's `room`, for poll
    // Its name. address is set once, with bind_lock held.
    struct mutex bind_lock;
    struct unix_address *address; // NULL: none
    struct path path;             // of its file in the tree; dentry NULL: none
    struct unix_bucket *bucket;
    struct unix_socket *name_next, **name_link; // in the bucket
    // net/unix_gc.c, under inflight_mutex.
    struct list inflight_link;
    unsigned inflight, outside;
    bool candidate;
};

struct unix_address {
    uint32_t refs;
    unsigned len;
    union {
        uint16_t family;
        char data[sizeof(struct sockaddr_un) + 1];
    };
};

static inline struct unix_socket *unix_of(struct socket *s) { return container_of(s, struct unix_socket, socket); }
static inline struct unix_socket *unix_ref(struct unix_socket *u) {
    socket_ref(&u->socket);
    return u;
}
static inline void unix_unref(struct unix_socket *u) { socket_unref(&u->socket); }
static inline bool unix_is_stream(const struct unix_socket *u) { return u->socket.type == SOCK_STREAM; }
static inline bool unix_connects(const struct unix_socket *u) { return u->socket.type != SOCK_DGRAM; }
static inline bool unix_queue_full(const struct unix_socket *u) { return READ_ONCE(u->queue_count) > READ_ONCE(u->queue_max); }

// --- unix.c ---
struct unix_socket *unix_alloc(int type); // refs 1, known to /proc/net/unix. NULL: no memory
void unix_close(struct unix_socket *u, bool unaccepted);
struct unix_socket *unix_peer_get(struct unix_socket *u); // referenced, or NULL
void unix_lock_two(struct unix_socket *a, struct unix_socket *b); // they may be the same
void unix_unlock_two(struct unix_socket *a, struct unix_socket *b);
bool unix_writable(struct unix_socket *u);

// --- unix_name.c ---
int unix_bind(struct socket *s, const struct socket_address *a);
int unix_autobind(struct unix_socket *u); // if it has no name
int unix_name(struct socket *s, struct socket_address *a, bool peer);
void unix_copy_address(const struct unix_socket *u, struct socket_address *a); // len 0 when it has none
void unix_name_add(struct unix_socket *u);    // to the table, without a name
void unix_name_remove(struct unix_socket *u); // from the table
void unix_address_unref(struct unix_address *a);
// The socket that has this name, referenced. ERR_PTR(-EINVAL, -ECONNREFUSED, -EPROTOTYPE, -EACCES, and those of path lookup).
struct unix_socket *unix_find(const struct socket_address *a, int type);
int unix_show(struct seqbuf *out); // /proc/net/unix

// --- unix_connect.c ---
int unix_listen(struct socket *s, int backlog);
struct socket *unix_accept(struct socket *s, bool nonblock);
int unix_connect(struct socket *s, const struct socket_address *a, bool nonblock);        // SOCK_STREAM, SOCK_SEQPACKET
int unix_connect_packets(struct socket *s, const struct socket_address *a, bool nonblock); // SOCK_DGRAM

// --- unix_stream.c, unix_packet.c ---
int64_t unix_stream_send(struct socket *s, struct uio *u, struct socket_message *m, int flags);
int64_t unix_stream_receive(struct socket *s, struct uio *u, struct socket_message *m, int flags);
void unix_stream_free(struct unix_socket *u); // what it received; it is dead
bool unix_stream_at_mark(struct unix_socket *u); // SIOCATMARK
int64_t unix_packet_send(struct socket *s, struct uio *u, struct socket_message *m, int flags);
int64_t unix_packet_receive(struct socket *s, struct uio *u, struct socket_message *m, int flags);
void unix_packets_free(struct unix_socket *u);
void unix_packets_disconnected(struct unix_socket *u, struct unix_socket *old); // u is no longer connected to old
bool unix_packet_room(struct unix_socket *u, struct unix_socket *peer);         // for poll; when not: u->writable is woken later
void unix_packet_room_forget(struct unix_socket *u);

// --- unix_gc.c: sockets in flight ---
extern struct mutex inflight_mutex; // held while files in messages get another reference (MSG_PEEK)
int inflight_attach(struct scm_files *f);  // they go into a message. 0 or -ETOOMANYREFS
void inflight_detach(struct scm_files *f); // they have left it
void unix_collect(void);                   // closes sockets that only messages of each other refer to
void unix_collect_if_many(void);
static inline void unix_files_drop(struct scm_files *f) { // out of a message that nobody will read
    if (f) {
        inflight_detach(f);
        scm_files_drop(f);
    }
}

#endif
