// TCP sockets that listen for connections through lwIP: see net/inet/tcp.h. Under the core lock.
#include "kernel/memory/slab.h"
#include "net/inet/tcp_pcb.h"
#include "net/lwip/hooks.h"

// Connections whose handshake is not over have no socket yet; they are known, so that a flood of SYNs pushes the oldest out.
struct half_open {
    struct list link; // by age
    struct tcp_pcb *pcb;
    unsigned deferred; // TCP_DEFER_ACCEPT keeps it until so many SYN-ACKs have been sent again; 0: not yet
};
static struct list half_open = LIST_INIT(half_open);
static unsigned half_open_count;
static struct slab_cache half_open_cache = SLAB_CACHE("tcp_half_open", sizeof(struct half_open), 8);

void pcb_forget_half_open(void *data) {
    struct half_open *h = (struct half_open *)((uintptr_t)data & ~PCB_HALF_OPEN);
    list_remove(&h->link);
    half_open_count--;
    slab_free(&half_open_cache, h);
}

// --- Listening: lwIP has one listener a port, for all addresses; who gets a connection is decided by ports.c ---
static int interface_of_input(void) {
    return ip_current_input_netif() ? netif_interface(ip_current_input_netif())->index : 0;
}

static struct tcp_socket *listener_of(const struct tcp_pcb *pcb) {
    return tcp_find_listener(&pcb->local_ip, pcb->local_port, &pcb->remote_ip, pcb->remote_port, interface_of_input());
}

static struct half_open *half_open_of(const struct tcp_pcb *pcb) {
    uintptr_t data = (uintptr_t)tcp_ext_arg_get(pcb, pcb_ext_arg);
    return data & PCB_HALF_OPEN ? (struct half_open *)(data & ~PCB_HALF_OPEN) : NULL;
}

static bool remember_half_open(struct tcp_pcb *pcb) {
    struct half_open *h = slab_alloc(&half_open_cache);
    if (!h)
        return false;
    h->pcb = pcb;
    h->deferred = 0;
    list_push_back(&half_open, &h->link);
    tcp_ext_arg_set_callbacks(pcb, pcb_ext_arg, &pcb_callbacks);
    tcp_ext_arg_set(pcb, pcb_ext_arg, (char *)h + PCB_HALF_OPEN);
    if (++half_open_count <= net_settings.tcp_max_syn_backlog)
        return true;
    struct tcp_pcb *oldest = list_first(&half_open, struct half_open, link)->pcb;
    tcp_bucket_enter_pcb(oldest);
    tcp_abandon(oldest, 0);
    tcp_bucket_leave();
    return true;
}

// A SYN has come. Anything but ERR_OK: it is dropped without an answer.
err_t pcb_on_syn(u8_t id, struct tcp_pcb_listen *lp, struct tcp_pcb *pcb) {
    struct tcp_socket *l = listener_of(pcb);
    if (!l || (tcp_queue_full(l) && net_settings.tcp_abort_on_overflow))
        tcp_rst(pcb, 0, pcb->rcv_nxt, &pcb->local_ip, &pcb->remote_ip, pcb->local_port, pcb->remote_port);
    if (!l)
        return ERR_CONN;
    err_t err = tcp_queue_full(l) ? ERR_MEM : ERR_OK;
    pcb->rcv_wnd = pcb->rcv_ann_wnd = TCP_WND_MAX(pcb) - pcb_to_withhold(l, pcb);
    tcp_unref(l);
    tcp_backlog_accepted(pcb); // it is counted here
    if (err == ERR_OK && !remember_half_open(pcb))
        err = ERR_MEM;
    return err;
}

// Whether the ACK that ends the handshake may do so.
static bool may_open(struct tcp_pcb *pcb, const struct tcp_socket *l, bool bare) {
    struct half_open *h = half_open_of(pcb);
    if (tcp_queue_full(l))
        return net_settings.tcp_abort_on_overflow; // on_accept refuses it
    if (!l->options.defer_accept || !bare || !h)
        return true;
    if (h->deferred)
        return pcb->nrtx >= h->deferred;
    h->deferred = pcb->nrtx + 1u;
    tcp_bucket_defer(pcb, tcp_retries_seconds(l->options.defer_accept - 1));
    return false;
}

// lwIP's hook: something has come for a connection in SYN-RCVD. Anything but ERR_OK: it is dropped, as if it had been lost.
err_t net_tcp_half_open(struct tcp_pcb *pcb, const struct tcp_hdr *h, const struct pbuf *p) {
    unsigned bits = TCPH_FLAGS(h);
    if ((bits & (TCP_ACK | TCP_SYN | TCP_RST)) != TCP_ACK || h->ackno != pcb->snd_nxt)
        return ERR_OK;
    struct tcp_socket *l = listener_of(pcb);
    bool may = !l || may_open(pcb, l, !p->tot_len && !(bits & TCP_FIN));
    if (l)
        tcp_unref(l);
    return may ? ERR_OK : ERR_MEM;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err) {
    if (!pcb)
        return ERR_OK;
    void *half = tcp_ext_arg_get(pcb, pcb_ext_arg);
    if ((uintptr_t)half & PCB_HALF_OPEN) {
        tcp_ext_arg_set(pcb, pcb_ext_arg, NULL);
        pcb_forget_half_open(half);
    }
    struct tcp_socket *l = listener_of(pcb);
    struct tcp_socket *t = l && !tcp_queue_full(l) ? tcp_socket_alloc(l->inet.socket.family) : NULL;
    if (t) {
        t->inet.local = pcb->local_ip;
        t->inet.local_port = pcb->local_port;
        t->inet.remote = pcb->remote_ip;
        t->inet.remote_port = pcb->remote_port;
        pcb->listener = NULL; // lwIP has no more use for it
        tcp_inherit(t, l);
        pcb_attach(t, pcb);
        t->withheld = TCP_WND_MAX(pcb) - pcb->rcv_wnd;
        tcp_set_state(t, TCPS_ESTABLISHED);
        tcp_enqueue(l, t);
    }
    if (l)
        tcp_unref(l);
    return t ? ERR_OK : ERR_MEM; // a RST
}

static struct tcp_pcb_listen *find_listening(uint16_t port) {
    struct tcp_pcb_listen *p = tcp_listen_pcbs.listen_pcbs;
    while (p && p->local_port != port)
        p = p->next;
    return p;
}

// How many sockets listen there is what callback_arg says.
static int listen_at(const struct tcp_socket *t) {
    struct tcp_pcb_listen *p = find_listening(t->inet.local_port);
    if (!p) {
        pcb_allocate_ext_arg();
        struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
        if (!pcb)
            return -ENOMEM;
        pcb->local_port = t->inet.local_port;
        tcp_ext_arg_set_callbacks(pcb, pcb_ext_arg, &pcb_callbacks);
        p = (struct tcp_pcb_listen *)tcp_listen_with_backlog(pcb, 0xff);
        if (!p) {
            tcp_close(pcb);
            return -ENOMEM;
        }
        p->callback_arg = NULL;
        tcp_accept((struct tcp_pcb *)p, on_accept);
    }
    p->callback_arg = (char *)p->callback_arg + 1;
    return 0;
}

static void unlisten(const struct tcp_socket *t) {
    struct tcp_pcb_listen *p = find_listening(t->inet.local_port);
    if (!p)
        return;
    p->callback_arg = (char *)p->callback_arg - 1;
    if (p->callback_arg)
        return;
    struct half_open *h;
    list_for_each (h, &half_open, link) // lwIP would look at one bucket only
        if (h->pcb->listener == p)
            h->pcb->listener = NULL;
    tcp_close((struct tcp_pcb *)p);
}

int pcb_listen(struct tcp_socket *t) {
    tcp_listeners_enter(t->inet.local_port);
    int err = listen_at(t);
    tcp_listeners_leave();
    return err;
}

void pcb_unlisten(struct tcp_socket *t) {
    tcp_listeners_enter(t->inet.local_port);
    unlisten(t);
    tcp_listeners_leave();
}
