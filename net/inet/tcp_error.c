// What ICMP says of segments that were sent, in the steps of Linux' tcp_v4_err and tcp_v6_err: a connection on its way ends, one that stands
// remembers it for the case that nothing is heard of the peer any more, or (IP_RECVERR) tells it; a smaller path makes smaller segments. Messages
// that quote what is not in flight are forged or late, and ignored. Under the core lock.
#include "lwip/priv/tcp_priv.h"
#include "net/inet/datagram.h"
#include "net/inet/icmp.h"
#include "net/inet/tcp.h"
#include <linux/icmpv6.h>

#define MTU4_MIN 552u // min_pmtu

static bool is_too_large(const struct icmp_error *e) {
    return e->v6 ? e->type == ICMPV6_PKT_TOOBIG : e->type == ICMP_DEST_UNREACH && e->code == ICMP_FRAG_NEEDED;
}

static void smaller_path(struct tcp_pcb *pcb, const struct icmp_error *e) {
    u16_t before = pcb->mss;
    if (e->v6 && e->info < IP6_MIN_MTU_LENGTH)
        return; // RFC 8201, 4
    net_tcp_path_mtu(pcb, e->v6 ? e->info : MAX(e->info, MTU4_MIN));
    if (pcb->mss == before || pcb->state < ESTABLISHED || !pcb->unacked)
        return;
    if (tcp_rexmit_rto_prepare(pcb) == ERR_OK)
        net_tcp_output(pcb);
    else
        pcb->rtime = pcb->rto; // the device has not sent all of it yet: at the next tick
}

// A handshake without a socket ends when there is no way to the peer.
static void half_open(struct tcp_pcb *pcb, int error) {
    if (error == ENETUNREACH || error == EHOSTUNREACH)
        tcp_abandon(pcb, 0);
}

static void to_socket(struct tcp_socket *t, const struct icmp_error *e, int error) {
    const struct inet_options *o = &t->inet.options;
    if (t->state == TCPS_SYN_SENT) {
        tcp_socket_end(t, error);
        pcb_abort(t);
    } else if (e->v6 ? o->recverr6 : o->recverr) {
        socket_set_error(&t->inet.socket, error);
        socket_wake_state(&t->inet.socket);
    } else {
        t->soft_error = (uint8_t)error;
        t->soft_error_at = t->bytes.tail;
    }
}

void tcp_error(const struct datagram *quoted, uint32_t sequence, const struct icmp_error *e) {
    bool hard;
    int error = icmp_errno(e, &hard);
    if (!e->v6 && e->type == ICMP_DEST_UNREACH && e->code > ICMP_PREC_CUTOFF)
        return;
    tcp_bucket_enter(&quoted->from, quoted->from_port, &quoted->to, quoted->to_port);
    struct tcp_pcb *pcb = tcp_bucket_find(&quoted->from, quoted->from_port, &quoted->to, quoted->to_port);
    if (pcb && TCP_SEQ_BETWEEN(sequence, pcb->lastack, pcb->snd_nxt)) {
        if (is_too_large(e))
            smaller_path(pcb, e);
        else if (pcb->state == SYN_RCVD)
            half_open(pcb, error);
        else if (pcb->callback_arg)
            to_socket(pcb->callback_arg, e, error);
    }
    tcp_bucket_leave();
}
