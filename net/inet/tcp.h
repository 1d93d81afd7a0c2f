// SOCK_STREAM of AF_INET and AF_INET6. A connection's other end is a socket of this machine (local.c: bytes lie in the receiver's
// queue, nothing of TCP runs) or a connection of lwIP (tcp_pcb.c: bytes to be sent lie in the socket's queue until they are acknowledged, received
// ones in pbufs). tcp.c has the file's operations, tcp_connect.c and tcp_listen.c how connections come about, tcp_send.c and tcp_receive.c
// the two loops that both kinds share.
// Locks: bytes.write_lock, bytes.read_lock (mutexes) > core lock > table of ports, socket.lock > wait queues. What a connection is (state,
// shutdown, peer, pcb, queues of a listener) is under the core lock and may be looked at without; peer also under socket.lock. bytes.write_lock: who
// adds to `bytes`; bytes.read_lock: who takes from them, of a connection through lwIP who takes from what was received.
#ifndef NET_INET_TCP_H
#define NET_INET_TCP_H

#include "fs/vfs.h"
#include "lwip/pbuf.h"
#include "net/bytequeue.h"
#include "net/inet/inet.h"
#include "net/inet/sysctl.h"

struct tcp_pcb;
struct tcp_info;

enum tcps { // states as Linux counts them
    TCPS_ESTABLISHED = 1, TCPS_SYN_SENT, TCPS_SYN_RECV, TCPS_FIN_WAIT1, TCPS_FIN_WAIT2, TCPS_TIME_WAIT, TCPS_CLOSE, TCPS_CLOSE_WAIT,
    TCPS_LAST_ACK, TCPS_LISTEN, TCPS_CLOSING,
};

enum tcp_progress { TCP_UNCONNECTED, TCP_CONNECTING, TCP_CONNECTED }; // of connect(2); what came from accept(2) is connected

struct tcp_options { // of IPPROTO_TCP, as they were set; inherited by accepted sockets
    bool nodelay, cork, quickack, thin_linear, thin_dupack, inq;
    uint8_t save_syn, syn_count, keep_count;   // counts: 0: the system's
    uint8_t defer_accept;                      // TCP_DEFER_ACCEPT, in SYN-ACKs that would be sent meanwhile
    int16_t linger2;                           // seconds in FIN-WAIT-2 without a file; 0: the system's, -1: none
    uint16_t mss;                              // 0: not set
    uint32_t keep_idle, keep_interval;         // seconds; 0: the system's
    uint32_t user_timeout, notsent, clamp;     // ms; bytes, 0: none
};

struct tcp_socket {
    struct inet_socket inet; // first
    uint8_t state;    // TCPS_*
    uint8_t shutdown; // SHUTDOWN_*: RECEIVE also when the peer has sent its FIN
    uint8_t progress;
    bool done;        // the peer's FIN has come: the end of what is received is the end
    bool dead;        // no file refers to it any more
    bool local;       // the other end is a socket of this machine
    bool is_deferred; // it is in its listener's `deferred`, and its capacity is 0
    // Listening: connections that wait for accept(2), by accept_link; sockets of this machine for which there was no room, by accept_link.
    // `deferred`: connections of this machine that wait for their first byte (TCP_DEFER_ACCEPT).
    struct list queue, waiting, deferred, accept_link;
    unsigned queue_count, queue_max;
    struct tcp_socket *listener; // of one that is in `waiting` or `deferred`, referenced
    struct list patience_link;   // in `waiting` or `deferred`: in the list of those whose time will be over
    nsec_t patience;             // and when
    // Local: the other end, referenced. `bytes` are those received, capacity how many may lie there; its sender is writable below
    // `writable_below`.
    struct tcp_socket *peer;
    struct bytequeue bytes;
    uint32_t capacity, writable_below;
    struct landing *landing; // of a reader that waits, or NULL
    uint64_t landed;         // bytes that came past the queue: write_lock
    // Through lwIP. `bytes` are those to be sent or not acknowledged, written those of them that lwIP has.
    struct tcp_pcb *pcb; // holds a reference to the socket
    uint64_t written;
    struct bytequeue_piece *written_piece; // with the byte before `written`, or NULL
    bool fin_wanted;           // as soon as all bytes are lwIP's
    bool more;                 // the last send said MSG_MORE
    bool no_space;             // somebody found no room to send, and is to be told of it
    struct pbuf *input, **input_end; // received, and not taken yet
    struct pbuf *gathering;          // the last of them, when there is room for small segments; or NULL
    struct pbuf *reading;            // taken by the reader: under read_lock
    uint32_t reading_offset;         // in its first pbuf
    uint64_t received, consumed;     // bytes, since the beginning
    uint32_t unannounced;            // consumed, and the window has not been told
    uint32_t withheld, owed;         // by so much the window is kept below lwIP's, is still to be made smaller
    nsec_t stalled;                  // since when nothing was acknowledged (TCP_USER_TIMEOUT); 0: it is
    nsec_t corked;                   // since when less than a segment is kept (TCP_CORK, MSG_MORE); 0: none is
    struct net_tcp_counts counts;
    uint32_t receive_grown;          // what the receive buffer has become by itself on a long path; 0: it has not
    nsec_t round_since;              // of the reader, in round trips: when this one began,
    uint64_t round_consumed;         // and at which byte
    uint8_t soft_error;              // ICMP's, of no consequence yet: errno
    uint64_t soft_error_at;          // bytes.tail then: what is acknowledged later takes it back
    struct tcp_options options;
};
static inline struct tcp_socket *tcp_of(struct socket *s) { return container_of(s, struct tcp_socket, inet.socket); }
static inline struct tcp_socket *tcp_of_inet(struct inet_socket *s) { return container_of(s, struct tcp_socket, inet); }
static inline void tcp_ref(struct tcp_socket *t) { socket_ref(&t->inet.socket); }
static inline void tcp_unref(struct tcp_socket *t) { socket_unref(&t->inet.socket); }

#define TCP_TIME_WAIT_TIME (60 * NSEC_PER_SEC)

// --- tcp.c ---
struct tcp_socket *tcp_socket_alloc(int family); // refs 1. NULL: no memory
// SO_SNDBUF, or what it grows to by itself: less when there are many connections, so that these do not take all memory.
uint32_t tcp_send_limit(const struct tcp_socket *t);
extern unsigned tcp_pcb_count; // connections of lwIP's with a socket
uint32_t tcp_receive_limit(const struct tcp_socket *t);
bool tcp_socket_writable(struct tcp_socket *t);         // a third of the send buffer is free, as Linux has it
// There is no room: who waits is woken when there is. Ordered before another look at whether there is. True.
static inline bool tcp_no_space(struct tcp_socket *t) {
    (void)atomic_xchg(&t->no_space, true);
    return true;
}
// The rest under the core lock.
void tcp_set_state(struct tcp_socket *t, enum tcps state); // keeps the list for /proc/net/tcp
// The connection ends with an error (0: none): nothing more comes or goes; wakes.
void tcp_socket_end(struct tcp_socket *t, int error);
int tcp_reset_error(const struct tcp_socket *t); // what a RST means in this state
static inline int tcp_timeout_error(const struct tcp_socket *t) { // what is said of a peer that did not answer
    return t->soft_error && t->soft_error_at == t->bytes.tail ? t->soft_error : ETIMEDOUT;
}
void tcp_socket_disconnect(struct tcp_socket *t); // connect(AF_UNSPEC), a failed connect. Takes the core lock itself
struct tcp_socket *tcp_next(struct tcp_socket *t); // of those that are not closed. NULL starts; NULL: no more

// --- tcp_connect.c, tcp_listen.c ---
int tcp_socket_connect(struct socket *s, const struct socket_address *a, bool nonblock);
int tcp_socket_listen(struct socket *s, int backlog);
struct socket *tcp_socket_accept(struct socket *s, bool nonblock);
void tcp_stop_listening(struct tcp_socket *t); // refuses what waits. Takes the core lock itself
// Under the core lock:
struct tcp_socket *tcp_find_listener(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote, uint16_t remote_port,
                                     int interface); // referenced, or NULL
static inline bool tcp_queue_full(const struct tcp_socket *l) { return l->queue_count > l->queue_max; }
void tcp_inherit(struct tcp_socket *t, const struct tcp_socket *listener); // options, and its port
void tcp_enqueue(struct tcp_socket *listener, struct tcp_socket *t);       // for accept(2), which takes the reference over; wakes
void tcp_room(struct tcp_socket *listener);  // there is room: who waits is connected, or goes on to accept(2)
// t, the other end of a connection within this machine, is for accept(2): at once, or with its first byte.
void tcp_offer(struct tcp_socket *listener, struct tcp_socket *t);
void tcp_first_byte(struct tcp_socket *t);   // something has come for one that is_deferred, or its end
void tcp_drop_deferred(struct tcp_socket *t); // its connection was reset
// In the listener's `waiting`, with a reference to the listener: for as long as SYNs would be sent.
void tcp_wait_for_room(struct tcp_socket *t, struct tcp_socket *listener);
void tcp_drop(struct tcp_socket *t);         // that nobody has accepted: with RST. No lock
void tcp_wait_end(struct tcp_socket *t);     // it is in `waiting` or `deferred` no more; the listener's reference is given back

// --- tcp_patience.c: waits that end by themselves. Under the core lock ---
void tcp_patience_begin(struct tcp_socket *t, nsec_t until);
void tcp_patience_end(struct tcp_socket *t);
unsigned tcp_retries_seconds(unsigned n);    // how long n retransmissions of a SYN or SYN-ACK take: 1 + 2 + 4 + ..., with the last wait

// --- tcp_send.c, tcp_receive.c ---
int64_t tcp_socket_send(struct socket *s, struct uio *u, struct socket_message *m, int flags);
int64_t tcp_socket_receive(struct socket *s, struct uio *u, struct socket_message *m, int flags);
size_t tcp_available(const struct tcp_socket *t); // bytes that may be read
size_t tcp_unsent(struct tcp_socket *t);          // bytes that the other end does not have yet: SIOCOUTQ

// --- local.c: both ends in this machine ---
// Under the core lock: t connects to its `remote`, which is an address of this machine. `other` becomes the other end, when it is
// taken (0). 1: it waits for room in the listener's queue; -ECONNREFUSED.
int local_connect(struct tcp_socket *t, struct tcp_socket *other);
// t has waited for room, and is connected. False: no memory for the other end. Core lock
bool local_connect_waiting(struct tcp_socket *t, struct tcp_socket *listener);
void local_fin(struct tcp_socket *t);          // t sends no more. Core lock
void local_limits(struct tcp_socket *t);       // SO_SNDBUF or SO_RCVBUF has changed. Core lock
void local_close(struct tcp_socket *t, bool reset); // t has no more to do with the connection. Core lock
struct tcp_socket *local_peer(struct tcp_socket *t); // referenced, or NULL. No lock
// A piece of at most n bytes to the peer. The bytes, 0: no room now, -EPIPE: the connection is no more, -EFAULT, -ENOMEM.
int64_t local_put(struct tcp_socket *t, struct tcp_socket *peer, struct uio *u, size_t n);
void local_consumed(struct tcp_socket *t, size_t n); // n bytes have left t->bytes: who waits to send is woken. No lock

// --- tcp_pcb.c: connections of lwIP. Under the core lock, but pcb_put and pcb_take ---
int pcb_connect(struct tcp_socket *t); // to its `remote`. 0: on its way; -errno
int pcb_listen(struct tcp_socket *t);  // lwIP listens at its port. 0 or -ENOMEM
void pcb_unlisten(struct tcp_socket *t);
void pcb_push(struct tcp_socket *t);   // hands lwIP what it may have now
void pcb_fin(struct tcp_socket *t);    // behind all bytes
void pcb_abort(struct tcp_socket *t);  // with RST; the pcb is gone
void pcb_close(struct tcp_socket *t);  // the socket is gone, what is to be sent is still sent
void pcb_options(struct tcp_socket *t);
void pcb_window(struct tcp_socket *t); // SO_RCVBUF has changed
void pcb_info(struct tcp_socket *t, struct tcp_info *info);
enum tcps pcb_state(const struct tcp_pcb *pcb);
int64_t pcb_put(struct tcp_socket *t, struct uio *u, size_t n); // as local_put; write_lock not held
void pcb_take(struct tcp_socket *t);   // moves what has come to `reading`. read_lock held
size_t pcb_copy(struct tcp_socket *t, struct uio *u, size_t offset, size_t n); // as bytequeue_peek
void pcb_drop(struct tcp_socket *t, size_t n);                                 // as bytequeue_drop
void pcb_free_input(struct tcp_socket *t); // all of it. Core lock

// --- tcp_error.c ---
struct datagram;
struct icmp_error;
// ICMP's answer to a segment with that sequence number, from quoted->from to quoted->to. Core lock
void tcp_error(const struct datagram *quoted, uint32_t sequence, const struct icmp_error *e);

// --- tcp_table.c: for inet_each ---
void tcp_each(bool (*fn)(void *ctx, const struct inet_row *row), void *ctx);

// --- tcp_option.c ---
int tcp_set_option(struct socket *s, int level, int name, const void *value, unsigned len);
int tcp_get_option(struct socket *s, int level, int name, void *value, unsigned *len);
void tcp_option_changed(struct socket *s, int name); // of SOL_SOCKET

#endif
