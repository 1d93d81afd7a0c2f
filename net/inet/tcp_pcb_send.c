// What is sent on connections of lwIP's: bytes lie in the socket's queue until they are acknowledged, and lwIP's segments refer to them.
// See net/inet/tcp.h.
#include "kernel/time.h"
#include "net/inet/tcp_pcb.h"
#include <asm/socket.h>

#define NEIGHBOUR_TIME 2900 // ms: three questions, a second each, and before those of IPv6 begin anew
#define CORK_TIME (200 * NSEC_PER_MSEC)

// More is to come: how many bytes before `end` are not sent yet, so that whole segments go; the largest that there are while many others are
// on their way. A full buffer waits for nobody.
static uint32_t to_keep(const struct tcp_socket *t, uint64_t end) {
    const struct tcp_pcb *pcb = t->pcb;
    uint64_t n = end - t->written, limit = tcp_send_limit(t), under_way = t->written - t->bytes.tail;
    bool full = end - t->bytes.tail >= limit;
    uint32_t kept = (uint32_t)(n % (!full && under_way >= limit / 2 ? net_tcp_largest(pcb) : tcp_mss(pcb)));
    return full && !under_way && kept == n ? 0 : kept;
}

void pcb_push(struct tcp_socket *t) {
    struct tcp_pcb *pcb = t->pcb;
    if (!pcb)
        return;
    uint64_t end = load_acquire(&t->bytes.head);
    uint32_t kept = 0;
    if (unlikely((t->options.cork || t->more) && !t->fin_wanted))
        kept = to_keep(t, end);
    t->corked = !kept ? 0 : t->corked ? t->corked : time_monotonic();
    end -= kept;
    tcp_bucket_enter_pcb(pcb);
    err_t err = ERR_OK;
    while (t->written < end) {
        const char *data;
        struct bytequeue_piece *piece = t->written_piece;
        size_t n = bytequeue_look(&t->bytes, &piece, t->written, end - t->written, &data);
        n = MIN(MIN(n, (size_t)pcb->snd_buf), 0xfffful); // what a call takes
        if (!n || (err = net_tcp_write(pcb, data, n, t->written + n < end ? TCP_WRITE_FLAG_MORE : 0)) != ERR_OK)
            break;
        t->written += n;
        t->written_piece = piece;
    }
    if (t->fin_wanted && t->written == t->bytes.head) {
        t->fin_wanted = false;
        tcp_shutdown(pcb, 0, 1);
    }
    net_tcp_output(pcb);
    bool waits = t->written < t->bytes.head || t->options.user_timeout || pcb->state == SYN_SENT;
    if (waits != (pcb->poll != NULL))
        tcp_poll(pcb, waits ? pcb_on_poll : NULL, waits ? PCB_POLL_INTERVAL : 0);
    tcp_bucket_leave();
}

int64_t pcb_put(struct tcp_socket *t, struct uio *u, size_t n) {
    mutex_lock(&t->bytes.write_lock);
    size_t used = bytequeue_used(&t->bytes), limit = tcp_send_limit(t);
    int64_t done = 0;
    if (used >= limit && tcp_no_space(t))
        used = bytequeue_used(&t->bytes);
    if (used < limit) {
        if (n > limit - used) {
            n = limit - used;
            t->more = false; // it has to wait, and these bytes have not
        }
        int err = bytequeue_put(&t->bytes, u, n);
        done = err < 0 ? err : (int64_t)n;
    }
    if (done > 0) {
        net_lock();
        pcb_push(t);
        net_unlock();
    }
    mutex_unlock(&t->bytes.write_lock);
    return done;
}

// --- Callbacks: under the core lock, in the connection's bucket ---
err_t pcb_on_sent(void *arg, struct tcp_pcb *pcb, u16_t n) {
    struct tcp_socket *t = arg;
    struct socket *s = &t->inet.socket;
    bytequeue_drop(&t->bytes, MIN((size_t)n, t->written - t->bytes.tail));
    __atomic_thread_fence(__ATOMIC_SEQ_CST); // there is room, and then the look at no_space: as tcp_no_space has it
    t->stalled = 0;
    if (t->written < t->bytes.head || t->fin_wanted)
        pcb_push(t);
    if (t->dead && pcb_all_acknowledged(t)) {
        socket_wake_state(s);
        pcb_closed(t);
    } else if (t->no_space && tcp_socket_writable(t)) {
        t->no_space = false;
        socket_wake_writable(s, POLLOUT | POLLWRNORM);
    }
    return ERR_OK;
}

// Twice a second, while something waits: corked bytes are sent, what lwIP had no memory for is tried again.
err_t pcb_on_poll(void *arg, struct tcp_pcb *pcb) {
    struct tcp_socket *t = arg;
    if (!t)
        return ERR_OK;
    if (pcb->state == SYN_SENT) {
        // lwIP asks for a neighbour longer than Linux; meanwhile the SYN waits in its queue, and no other is sent.
        bool waits = pcb->unacked && pcb->unacked->p->ref != 1;
        if (waits && (u32_t)(tcp_ticks - pcb->tmr) >= NEIGHBOUR_TIME / TCP_SLOW_INTERVAL) {
            tcp_socket_end(t, EHOSTUNREACH);
            pcb_abort(t);
            return ERR_ABRT;
        }
        unsigned retries = t->options.syn_count ? t->options.syn_count : net_settings.tcp_syn_retries;
        if (pcb->nrtx < retries || pcb->rtime + 1 < pcb->rto)
            return ERR_OK;
        pcb_abort(t); // in place of one more SYN
        tcp_socket_end(t, ETIMEDOUT);
        return ERR_ABRT;
    }
    if (t->options.user_timeout && t->bytes.head != t->bytes.tail) {
        nsec_t now = time_monotonic();
        if (!t->stalled) {
            t->stalled = now;
        } else if (now - t->stalled >= t->options.user_timeout * NSEC_PER_MSEC) {
            tcp_socket_end(t, tcp_timeout_error(t));
            pcb_abort(t); // a closed socket's last reference
            return ERR_ABRT;
        }
    }
    bool cork = t->options.cork;
    if (t->corked && time_monotonic() - t->corked >= CORK_TIME)
        t->options.cork = t->more = false;
    pcb_push(t);
    t->options.cork = cork;
    return ERR_OK;
}
