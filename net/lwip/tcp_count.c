// What TCP_INFO tells of a connection and lwIP does not count: segments, what was sent again, the round trip time in microseconds (RFC 6298, by one
// segment at a time, none that was sent again). lwIP's hooks for what comes and goes call these; the counts are in the connection's socket.
// Under the core lock.
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "net/lwip/hooks.h"
#include "net/lwip/stack.h"

static struct net_tcp_counts *counts_of(const struct tcp_pcb *pcb) { return pcb->ext_args[NET_TCP_COUNTS].data; }

void net_tcp_count_into(struct tcp_pcb *pcb, struct net_tcp_counts *c) { tcp_ext_arg_set(pcb, NET_TCP_COUNTS, c); }

u32_t *net_tcp_goes(const struct pbuf *p, const struct tcp_hdr *h, const struct tcp_pcb *pcb, u32_t *options) {
    struct net_tcp_counts *c = pcb ? counts_of(pcb) : NULL;
    if (!c)
        return options;
    uint32_t len = p->tot_len - TCPH_HDRLEN_BYTES(h), sequence = lwip_ntohl(h->seqno);
    uint32_t n = p->flags & NET_PBUF_GSO && p->gso_size ? DIV_ROUND_UP(len, p->gso_size) : 1;
    c->segments_out += n;
    if (TCPH_FLAGS(h) & TCP_SYN)
        len = 1;
    else if (len)
        c->data_out += n;
    if (!len)
        return options;
    c->last_sent = net_now();
    if (TCP_SEQ_LT(sequence, pcb->snd_nxt)) {
        c->resent += n;
        c->bytes_resent += len;
        c->timing = false; // of which of them would the answer be?
    } else if (!c->timing) {
        c->timing = true;
        c->timed = sequence + len;
        c->timed_since = net_now();
    }
    return options;
}

static void sample(struct net_tcp_counts *c, uint32_t us) {
    us = MAX(us, 1u);
    if (!c->rtt) {
        c->rtt = c->least_rtt = us;
        c->rtt_variation = us / 2;
        return;
    }
    uint32_t off = us > c->rtt ? us - c->rtt : c->rtt - us;
    c->rtt_variation = (uint32_t)((3ull * c->rtt_variation + off) / 4);
    c->rtt = (uint32_t)((7ull * c->rtt + us) / 8);
    c->least_rtt = MIN(c->least_rtt, us);
}

// What the peer's timestamp says: it echoes the clock of the last that it saw of us. In the form in which everybody sends it.
static void look_at_echo(struct net_tcp_counts *c, const struct tcp_hdr *h) {
    const uint32_t *options = (const uint32_t *)(h + 1);
    if (TCPH_HDRLEN_BYTES(h) < TCP_HLEN + 12 || options[0] != PP_HTONL(0x0101080a))
        return;
    uint32_t ms = sys_now() - lwip_ntohl(options[2]);
    if (options[2] && ms < 60000)
        c->rtt_in = MIN(c->rtt_in, ms);
}

void net_tcp_comes(const struct tcp_pcb *pcb, const struct tcp_hdr *h, const struct pbuf *p) {
    struct net_tcp_counts *c = counts_of(pcb);
    if (!c)
        return;
    c->segments_in++;
    if (p->tot_len) {
        c->data_in++;
        c->last_received = net_now();
        if (c->data_in % 16 == 1)
            look_at_echo(c, h);
    }
    if (!(TCPH_FLAGS(h) & TCP_ACK))
        return;
    c->last_ack = net_now();
    if (c->timing && TCP_SEQ_GEQ(h->ackno, c->timed)) {
        c->timing = false;
        sample(c, (uint32_t)MIN((net_now() - c->timed_since) / NSEC_PER_USEC, (nsec_t)UINT32_MAX));
    }
}
