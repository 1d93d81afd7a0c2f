// TCP's way out. Where the device cuts large segments (TSO), tcp_write is given a multiple of the real MSS while it makes segments, and
// tcp_output an interface without MTU, so that nothing is fragmented on the way; the device is told the real size (NET_PBUF_GSO).
//
// lwIP sends a segment when it fits into the window whole, so a large one is cut here, by reference to the same pages, when only a part
// of it fits: when nothing else is on its way (also for the first segment after a timeout, when the window is one MSS), or when
// the part is worth it. All of lwIP but tcp_out.c itself calls this tcp_output (Makefile). In the connection's bucket.
#include "kernel/string.h"
#include "lwip/ip.h"
#include "lwip/memp.h"
#include "lwip/nd6.h"
#include "lwip/priv/tcp_priv.h"
#include "net/lwip/stack.h"

#define LARGE 65000u // bytes of a large segment at most, such that all headers and lengths fit into 16 bits

err_t lwip_tcp_output(struct tcp_pcb *pcb);

static unsigned option_length(const struct tcp_pcb *pcb) { return pcb->flags & TF_TIMESTAMP ? LWIP_TCP_OPT_LEN_TS_OUT : 0; }

// Bytes of payload in a packet.
static unsigned payload(const struct tcp_pcb *pcb) {
    unsigned options = option_length(pcb);
    return pcb->mss > options ? pcb->mss - options : 1;
}

static struct netif *route(const struct tcp_pcb *pcb) {
    if (pcb->netif_idx != NETIF_NO_INDEX)
        return netif_get_by_index(pcb->netif_idx);
    return ip_route(&pcb->local_ip, &pcb->remote_ip);
}

static bool cuts(const struct tcp_pcb *pcb, struct netif *n) {
    const struct net_device *dev = n ? netif_interface(n)->device : NULL;
    return dev && (IP_IS_V6_VAL(pcb->remote_ip) ? dev->gso6 : dev->gso4);
}

static void mark(const struct tcp_pcb *pcb, struct tcp_seg *s) {
    if (s->len > payload(pcb)) {
        s->p->flags |= NET_PBUF_GSO;
        s->p->gso_size = (u16_t)payload(pcb);
    } else {
        s->p->flags &= (u8_t)~NET_PBUF_GSO;
    }
}

unsigned net_tcp_largest(const struct tcp_pcb *pcb) {
    unsigned one = payload(pcb), most = 1;
    if (pcb->state >= ESTABLISHED && cuts(pcb, route(pcb)))
        most = MIN(LARGE, pcb->snd_wnd_max / 2) / one;
    return MAX(most, 1u) * one;
}

err_t net_tcp_write(struct tcp_pcb *pcb, const void *data, size_t n, uint8_t flags) {
    u16_t mss = pcb->mss;
    struct tcp_seg *last = pcb->unsent;
    while (last && last->next)
        last = last->next;
    unsigned largest = net_tcp_largest(pcb);
    if (largest > payload(pcb))
        pcb->mss = (u16_t)(largest + option_length(pcb));
    // lwIP relies on it that the last segment is not longer than what it makes now; the MSS may have become smaller.
    if (last && last->len + LWIP_TCP_OPT_LENGTH(last->flags) > pcb->mss)
        pcb->mss = (u16_t)(last->len + LWIP_TCP_OPT_LENGTH(last->flags));
    err_t err = tcp_write(pcb, data, (u16_t)n, flags);
    pcb->mss = mss;
    if (err == ERR_OK)
        for (struct tcp_seg *s = last ? last : pcb->unsent; s; s = s->next)
            mark(pcb, s);
    return err;
}

// --- Cutting ---
// What lies behind `o` bytes of q, and the rest of its chain. NULL: no memory.
static struct pbuf *detach_behind(struct pbuf *q, u16_t o) {
    struct pbuf *rest = q->next, *piece;
    u16_t n = (u16_t)(q->len - o);
    if (!n)
        return rest;
    if (q->type_internal & PBUF_TYPE_FLAG_STRUCT_DATA_CONTIGUOUS) { // lwIP's own copy
        piece = pbuf_alloc(PBUF_RAW, n, PBUF_RAM);
        if (piece)
            memcpy(piece->payload, (const char *)q->payload + o, n);
    } else {
        piece = pbuf_alloc(PBUF_RAW, n, PBUF_ROM);
        if (piece)
            piece->payload = (char *)q->payload + o;
    }
    if (!piece)
        return NULL;
    piece->next = rest;
    piece->tot_len = (u16_t)(n + (rest ? rest->tot_len : 0));
    return piece;
}

// Cuts the first unsent segment behind `n` bytes of payload. False: no memory, or the device still has it.
static bool split(struct tcp_pcb *pcb, u16_t n) {
    struct tcp_seg *s = pcb->unsent;
    unsigned options = LWIP_TCP_OPT_LENGTH(s->flags);
    if (s->p->ref != 1 || pcb->snd_queuelen >= TCP_SND_QUEUELEN - 2)
        return false;
    u16_t rest = (u16_t)(s->len - n), o = (u16_t)(s->p->tot_len - rest);
    struct pbuf *q = s->p;
    while (o > q->len) {
        o -= q->len;
        q = q->next;
    }
    struct tcp_seg *t = memp_malloc(MEMP_TCP_SEG);
    struct pbuf *head = pbuf_alloc(PBUF_TRANSPORT, (u16_t)options, PBUF_RAM), *tail = NULL;
    if (t && head)
        tail = detach_behind(q, o);
    if (!tail) {
        memp_free(MEMP_TCP_SEG, t);
        if (head)
            pbuf_free(head);
        return false;
    }
    pcb->snd_queuelen = (u16_t)(pcb->snd_queuelen + 1 + (tail != q->next));
    for (struct pbuf *p = s->p;; p = p->next) {
        p->tot_len -= rest;
        if (p == q)
            break;
    }
    q->next = NULL;
    q->len = o;
    s->len = n;
    pbuf_cat(head, tail);
    pbuf_add_header(head, TCP_HLEN); // there is room: PBUF_TRANSPORT
    u8_t bits = TCPH_FLAGS(s->tcphdr);
    struct tcp_hdr *h = head->payload;
    *t = (struct tcp_seg){.next = s->next, .p = head, .len = rest, .flags = s->flags, .tcphdr = h};
    h->src = s->tcphdr->src;
    h->dest = s->tcphdr->dest;
    h->seqno = lwip_htonl(lwip_ntohl(s->tcphdr->seqno) + n);
    TCPH_HDRLEN_FLAGS_SET(h, 5 + options / 4, bits & (TCP_FIN | TCP_PSH));
    h->urgp = 0;
    TCPH_UNSET_FLAG(s->tcphdr, TCP_FIN | TCP_PSH);
    s->next = t;
    mark(pcb, s);
    mark(pcb, t);
    return true;
}

// Of a segment that is to be sent again, a part may have been acknowledged.
static bool trim(struct tcp_pcb *pcb) {
    struct tcp_seg *s = pcb->unsent;
    u16_t n = (u16_t)(pcb->lastack - lwip_ntohl(s->tcphdr->seqno));
    err_t err;
    if (n >= s->len || !split(pcb, n))
        return false;
    pcb->unsent = s->next;
    pcb->snd_queuelen = (u16_t)(pcb->snd_queuelen - pbuf_clen(s->p));
    pcb->snd_buf += n;
    tcp_seg_free(s);
    TCP_EVENT_SENT(pcb, n, err);
    return err == ERR_OK;
}

// Makes the first unsent segment one that can be sent, where it can.
static void fit(struct tcp_pcb *pcb, bool cutting) {
    const struct tcp_seg *s = pcb->unsent;
    unsigned one = payload(pcb);
    if (s->len <= one)
        return;
    if (unlikely(TCP_SEQ_LT(lwip_ntohl(s->tcphdr->seqno), pcb->lastack))) {
        if (!trim(pcb))
            return;
        s = pcb->unsent; // the socket was told, and may have sent what there is
        if (!s || s->len <= one)
            return;
    }
    u32_t window = MIN(pcb->snd_wnd, pcb->cwnd), before = lwip_ntohl(s->tcphdr->seqno) - pcb->lastack;
    u32_t room = before < window ? window - before : 0, most = cutting ? LARGE : one;
    if (s->len <= room && s->len <= most)
        return;
    room = MIN(room, most) / one * one;
    if (!pcb->unacked || room >= window / 4 || s->len > most)
        split(pcb, (u16_t)MAX(room, one)); // a part too long for the window waits, and lwIP's timer for closed windows looks after it
}

void net_tcp_path_mtu(struct tcp_pcb *pcb, unsigned mtu) {
    unsigned headers = (IP_IS_V6_VAL(pcb->remote_ip) ? IP6_HLEN : IP_HLEN) + TCP_HLEN;
    if (mtu <= headers || pcb->mss + headers <= mtu)
        return;
    pcb->mss = (u16_t)(mtu - headers);
    for (struct tcp_seg *s = pcb->unsent; s; s = s->next)
        mark(pcb, s);
    for (struct tcp_seg *s = pcb->unacked; s; s = s->next)
        mark(pcb, s);
}

// A router has said that less fits (icmp6_input, which knows the paths).
static void heed_path(struct tcp_pcb *pcb, struct netif *n) {
    if (!IP_IS_V6_VAL(pcb->remote_ip))
        return;
    u16_t mtu = nd6_get_destination_mtu(ip_2_ip6(&pcb->remote_ip), n);
    if (!mtu || pcb->mss + IP6_HLEN + TCP_HLEN <= mtu)
        return;
    net_tcp_path_mtu(pcb, mtu);
}

bool net_paths_known;

err_t tcp_output(struct tcp_pcb *pcb) {
    if (tcp_input_pcb == pcb || !pcb->unsent || pcb->state < ESTABLISHED)
        return lwip_tcp_output(pcb);
    struct netif *n = route(pcb);
    if (!n)
        return ERR_RTE;
    if (unlikely(net_paths_known))
        heed_path(pcb, n);
    if (unlikely(pcb->cwnd < 10u * pcb->mss) && pcb->ssthresh == TCP_SND_BUF)
        pcb->cwnd = 10u * pcb->mss; // RFC 6928, as long as nothing was lost
    u16_t mtu = n->mtu, mtu6 = n->mtu6;
    bool cutting = cuts(pcb, n);
    err_t err;
    const struct tcp_seg *first;
    do {
        fit(pcb, cutting);
        first = pcb->unsent;
        if (cutting)
            n->mtu = n->mtu6 = 0;
        err = lwip_tcp_output(pcb);
        n->mtu = mtu;
        n->mtu6 = mtu6;
    } while (err == ERR_OK && pcb->unsent && pcb->unsent != first);
    return err;
}

// lwIP's, which would call its own tcp_output. After a timeout.
void tcp_rexmit_rto_commit(struct tcp_pcb *pcb) {
    if (pcb->nrtx < UINT8_MAX)
        pcb->nrtx++;
    tcp_output(pcb);
}

err_t net_tcp_output(struct tcp_pcb *pcb) { return tcp_output(pcb); }
