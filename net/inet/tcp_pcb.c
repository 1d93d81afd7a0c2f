// TCP sockets whose connection is lwIP's: its calls and callbacks; what is sent: tcp_pcb_send.c. See net/inet/tcp.h.
// lwIP's pcb holds a reference to the socket, which its ext-arg's destroy callback gives back: so the pages that segments refer to live
// as long as these. A closed socket stays until all is acknowledged; the rest of the connection's life (FIN-WAIT, TIME-WAIT) the pcb has alone.
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include "lwip/priv/tcp_priv.h"
#include "net/inet/tcp_pcb.h"
#include <asm/socket.h>

#define LONG_PATH 2 // ms

uint8_t pcb_ext_arg; // its number
unsigned tcp_pcb_count;

static struct tcp_socket *socket_of(void *arg) { return arg; }

// --- States ---
enum tcps pcb_state(const struct tcp_pcb *pcb) {
    static const uint8_t states[] = {
        [CLOSED] = TCPS_CLOSE,         [LISTEN] = TCPS_LISTEN,           [SYN_SENT] = TCPS_SYN_SENT,
        [SYN_RCVD] = TCPS_SYN_RECV,    [ESTABLISHED] = TCPS_ESTABLISHED, [FIN_WAIT_1] = TCPS_FIN_WAIT1,
        [FIN_WAIT_2] = TCPS_FIN_WAIT2, [CLOSE_WAIT] = TCPS_CLOSE_WAIT,   [CLOSING] = TCPS_CLOSING,
        [LAST_ACK] = TCPS_LAST_ACK,    [TIME_WAIT] = TCPS_TIME_WAIT,
    };
    return states[pcb->state];
}

// The pcb goes on without the socket, whose reference is given back.
static void detach(struct tcp_socket *t) {
    struct tcp_pcb *pcb = t->pcb;
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
    tcp_poll(pcb, NULL, 0);
    tcp_ext_arg_set(pcb, pcb_ext_arg, NULL);
    net_tcp_count_into(pcb, NULL);
    t->pcb = NULL;
    tcp_pcb_count--;
}

static void in_time_wait(struct tcp_socket *t) {
    inet_port_linger(&t->inet, time_monotonic() + TCP_TIME_WAIT_TIME);
    detach(t);
    tcp_socket_end(t, 0);
    tcp_unref(t);
}

void pcb_closed(struct tcp_socket *t) {
    bool first = t->pcb->state != LAST_ACK && t->pcb->state != CLOSED; // to send its FIN: it will be in TIME-WAIT
    detach(t);
    tcp_set_state(t, TCPS_CLOSE);
    if (first)
        inet_port_linger(&t->inet, time_monotonic() + TCP_TIME_WAIT_TIME);
    inet_port_release(&t->inet);
    tcp_unref(t);
}

// --- Callbacks: under the core lock, in the connection's bucket ---
static void on_destroy(u8_t id, void *data) {
    if ((uintptr_t)data & PCB_HALF_OPEN) {
        pcb_forget_half_open(data);
        return;
    }
    struct tcp_socket *t = socket_of(data);
    if (!t)
        return;
    t->pcb = NULL;
    tcp_pcb_count--;
    if (t->dead) {
        tcp_set_state(t, TCPS_CLOSE);
        socket_wake_state(&t->inet.socket); // SO_LINGER's close(2)
    } else {
        tcp_socket_end(t, 0); // the error, if there is one, comes before or behind
    }
    tcp_unref(t);
}

static void on_error(void *arg, err_t err) {
    struct tcp_socket *t = socket_of(arg);
    if (!t)
        return;
    int error = err == ERR_RST ? tcp_reset_error(t) : err == ERR_CLSD ? 0 : tcp_timeout_error(t);
    if (t->state != TCPS_CLOSE) {
        tcp_socket_end(t, error);
    } else if (error && !t->done) { // on_destroy was first
        socket_set_error(&t->inet.socket, error);
        socket_wake_state(&t->inet.socket);
    }
}

// Small segments that nobody has read yet are put together: each by itself would hold many times its bytes, up to a page.
#define GATHER_PIECE 1024
#define GATHER_ROOM 1920 // with the headers of pbuf and heap a block of 2 KiB

static bool gather(struct tcp_socket *t, struct pbuf *p) {
    struct pbuf *g = t->gathering;
    if (!g || (uint32_t)GATHER_ROOM - g->len < p->tot_len) {
        g = pbuf_alloc(PBUF_RAW, GATHER_ROOM, PBUF_RAM);
        if (!g)
            return false;
        g->len = g->tot_len = 0;
        *t->input_end = g;
        t->input_end = &g->next;
        t->gathering = g;
    }
    pbuf_copy_partial(p, (uint8_t *)g->payload + g->len, p->tot_len, 0);
    g->len = g->tot_len = (uint16_t)(g->len + p->tot_len);
    return true;
}

static err_t on_input(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err) {
    struct tcp_socket *t = socket_of(arg);
    if (!p) {
        t->done = true;
        WRITE_ONCE(t->shutdown, t->shutdown | SHUTDOWN_RECEIVE);
        if (pcb->state == TIME_WAIT) { // which the pcb goes through alone
            in_time_wait(t);
            return ERR_OK;
        }
        tcp_set_state(t, pcb_state(pcb));
        socket_wake_state(&t->inet.socket);
        return ERR_OK;
    }
    uint32_t n = p->tot_len;
    if (t->input && n <= GATHER_PIECE && gather(t, p)) {
        pbuf_free(p);
    } else {
        *t->input_end = p;
        while (p->next)
            p = p->next;
        t->input_end = &p->next;
        t->gathering = NULL;
    }
    store_release(&t->received, t->received + n);
    socket_wake_readable(&t->inet.socket, POLLIN | POLLRDNORM);
    return ERR_OK;
}

// --- The window ---
// lwIP's own limit is the largest that there is; the socket's is kept by telling it of less than was read.
uint32_t pcb_to_withhold(const struct tcp_socket *t, const struct tcp_pcb *pcb) {
    uint32_t most = TCP_WND_MAX(pcb), wanted = tcp_receive_limit(t);
    if (t->options.clamp)
        wanted = MIN(wanted, t->options.clamp);
    return most > wanted ? most - wanted : 0;
}

static void first_window(struct tcp_socket *t, struct tcp_pcb *pcb) {
    t->withheld = pcb_to_withhold(t, pcb);
    pcb->rcv_wnd = pcb->rcv_ann_wnd = TCP_WND_MAX(pcb) - t->withheld;
}

static void announce(struct tcp_socket *t, uint32_t n) {
    uint32_t kept = MIN(n, t->owed);
    t->owed -= kept;
    t->withheld += kept;
    n -= kept;
    if (!n || !t->pcb)
        return;
    tcp_bucket_enter_pcb(t->pcb);
    for (uint32_t piece; n; n -= piece) {
        piece = MIN(n, 0xffffu);
        tcp_recved(t->pcb, piece);
    }
    tcp_bucket_leave();
}

void pcb_window(struct tcp_socket *t) {
    if (!t->pcb || t->state == TCPS_SYN_SENT)
        return;
    uint32_t wanted = pcb_to_withhold(t, t->pcb);
    t->owed = wanted > t->withheld ? wanted - t->withheld : 0;
    if (wanted < t->withheld) {
        uint32_t back = t->withheld - wanted;
        t->withheld = wanted;
        announce(t, back);
    }
}

// --- Beginning ---
const struct tcp_ext_arg_callbacks pcb_callbacks = {.destroy = on_destroy, .passive_open = pcb_on_syn};

void pcb_attach(struct tcp_socket *t, struct tcp_pcb *pcb) {
    tcp_ref(t);
    tcp_pcb_count++;
    t->pcb = pcb;
    tcp_arg(pcb, t);
    tcp_recv(pcb, on_input);
    tcp_sent(pcb, pcb_on_sent);
    tcp_err(pcb, on_error);
    tcp_ext_arg_set_callbacks(pcb, pcb_ext_arg, &pcb_callbacks);
    tcp_ext_arg_set(pcb, pcb_ext_arg, t);
    memset(&t->counts, 0, sizeof(t->counts));
    t->counts.rtt_in = NET_RTT_UNKNOWN;
    net_tcp_count_into(pcb, &t->counts);
    pcb_options(t);
}

void pcb_allocate_ext_arg(void) {
    static bool done;
    if (!done)
        pcb_ext_arg = tcp_ext_arg_alloc_id();
    done = true;
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t err) {
    struct tcp_socket *t = socket_of(arg);
    first_window(t, pcb);
    tcp_poll(pcb, t->options.user_timeout ? pcb_on_poll : NULL, PCB_POLL_INTERVAL);
    tcp_set_state(t, TCPS_ESTABLISHED);
    socket_wake_state(&t->inet.socket);
    return ERR_OK;
}

int pcb_connect(struct tcp_socket *t) {
    struct inet_socket *i = &t->inet;
    pcb_allocate_ext_arg();
    struct tcp_pcb *pcb = tcp_new_ip_type(IP_GET_TYPE(&i->remote));
    if (!pcb)
        return -ENOMEM;
    pcb->local_ip = i->local;
    pcb->local_port = i->local_port; // not by tcp_bind: ports.c has decided
    pcb->netif_idx = i->interface;
    pcb_attach(t, pcb);
    tcp_poll(pcb, pcb_on_poll, PCB_POLL_INTERVAL); // for the end of its patience
    tcp_bucket_enter(&i->local, i->local_port, &i->remote, i->remote_port);
    pcb->tmr = tcp_ticks; // when it was made nobody had looked at the clock for long (pcb_on_poll: EHOSTUNREACH at once)
    err_t err = tcp_connect(pcb, &i->remote, i->remote_port, on_connected);
    if (err != ERR_OK) {
        detach(t);
        tcp_close(pcb);
        tcp_unref(t);
    }
    tcp_bucket_leave();
    return net_errno(err);
}

// --- The end ---
void pcb_abort(struct tcp_socket *t) {
    struct tcp_pcb *pcb = t->pcb;
    detach(t);
    tcp_bucket_enter_pcb(pcb);
    if (pcb->state == SYN_SENT)
        tcp_close(pcb); // there is nobody to be told
    else
        tcp_abort(pcb);
    tcp_bucket_leave();
    tcp_unref(t);
}

void pcb_fin(struct tcp_socket *t) {
    if (!t->pcb)
        return;
    t->fin_wanted = true;
    pcb_push(t);
    if (t->pcb)
        tcp_set_state(t, t->state == TCPS_CLOSE_WAIT ? TCPS_LAST_ACK : TCPS_FIN_WAIT1);
}

void pcb_close(struct tcp_socket *t) {
    struct tcp_pcb *pcb = t->pcb;
    tcp_bucket_enter_pcb(pcb); // from now on FIN-WAIT-2 ends by itself
    tcp_bucket_fin_wait(pcb, t->options.linger2 ? (unsigned)MAX(t->options.linger2, 0) : net_settings.tcp_fin_timeout);
    tcp_set_flags(t->pcb, TF_RXCLOSED); // what still comes is answered with a RST
    tcp_err(t->pcb, NULL);              // called behind on_destroy, when the socket may be gone
    if (t->state == TCPS_ESTABLISHED || t->state == TCPS_CLOSE_WAIT)
        pcb_fin(t);
    if (t->pcb && pcb_all_acknowledged(t))
        pcb_closed(t);
    tcp_bucket_leave();
}

// --- Options ---
void pcb_options(struct tcp_socket *t) {
    struct tcp_pcb *pcb = t->pcb;
    const struct tcp_options *o = &t->options;
    const struct inet_options *ip = &t->inet.options;
    if (!pcb)
        return;
    bool v6 = IP_IS_V6(&t->inet.remote);
    int ttl = v6 ? ip->hops : ip->ttl;
    pcb->ttl = ttl >= 0 ? ttl : (int)(v6 ? net_settings.hop_limit : net_settings.default_ttl);
    pcb->tos = v6 ? ip->traffic_class : ip->tos;
    if (o->nodelay)
        tcp_nagle_disable(pcb);
    else
        tcp_nagle_enable(pcb);
    if (socket_bit(&t->inet.socket, SOCKET_KEEPALIVE))
        ip_set_option(pcb, SOF_KEEPALIVE);
    else
        ip_reset_option(pcb, SOF_KEEPALIVE);
    pcb->keep_idle = (o->keep_idle ? o->keep_idle : net_settings.tcp_keepalive_time) * 1000;
    pcb->keep_intvl = (o->keep_interval ? o->keep_interval : net_settings.tcp_keepalive_intvl) * 1000;
    pcb->keep_cnt = o->keep_count ? o->keep_count : net_settings.tcp_keepalive_probes;
    if (o->mss && pcb->mss > o->mss)
        pcb->mss = o->mss;
    if (o->user_timeout)
        tcp_poll(pcb, pcb_on_poll, PCB_POLL_INTERVAL);
}

// --- Receiving ---
void pcb_take(struct tcp_socket *t) {
    if (!READ_ONCE(t->input))
        return;
    struct pbuf **end = &t->reading;
    while (*end)
        end = &(*end)->next;
    net_lock();
    *end = t->input;
    t->input = t->gathering = NULL;
    t->input_end = &t->input;
    net_unlock();
}

size_t pcb_copy(struct tcp_socket *t, struct uio *u, size_t offset, size_t n) {
    size_t at = t->reading_offset + offset, total = 0;
    struct pbuf *p = t->reading;
    for (; p && at >= p->len; p = p->next)
        at -= p->len;
    for (; p && total < n; p = p->next, at = 0) {
        size_t piece = MIN(p->len - at, n - total), done = uio_put(u, (char *)p->payload + at, piece);
        total += done;
        if (done < piece)
            break;
    }
    return total;
}

static void free_list(struct pbuf *p) {
    while (p) {
        struct pbuf *next = p->next;
        p->next = NULL;
        pbuf_free(p);
        p = next;
    }
}

// The receive buffer is to hold twice what the application reads in the time that a packet takes to the peer and back, or the peer would have
// to wait for us: Linux' tcp_rcv_space_adjust.
static void grow_window(struct tcp_socket *t) {
    uint32_t rtt = t->counts.rtt_in;
    if (rtt == NET_RTT_UNKNOWN || rtt < LONG_PATH)
        return;
    nsec_t now = time_monotonic(), passed = now - t->round_since;
    if (passed < rtt * NSEC_PER_MSEC)
        return;
    uint64_t read = t->round_since ? (t->consumed - t->round_consumed) * (rtt * NSEC_PER_MSEC) / passed : 0;
    if (4 * read > tcp_receive_limit(t) * 3ull)
        t->receive_grown = (uint32_t)MIN(3 * read, (uint64_t)net_settings.tcp_rmem[2]);
    t->round_since = now;
    t->round_consumed = t->consumed;
}

void pcb_drop(struct tcp_socket *t, size_t n) {
    struct pbuf *read = t->reading, **end = &t->reading;
    size_t at = t->reading_offset + n;
    while (*end && at >= (*end)->len) {
        at -= (*end)->len;
        end = &(*end)->next;
    }
    struct pbuf *rest = *end;
    *end = NULL;
    if (rest == read)
        read = NULL;
    t->reading = rest;
    t->reading_offset = at;
    WRITE_ONCE(t->consumed, t->consumed + n);
    t->unannounced += n;
    bool tell = t->unannounced >= MIN(tcp_receive_limit(t) / 4, 4u * TCP_MSS);
    if (!read && !tell)
        return;
    net_lock();
    free_list(read);
    if (tell) {
        grow_window(t);
        pcb_window(t); // what is fair may have changed
        announce(t, t->unannounced);
        t->unannounced = 0;
    }
    net_unlock();
}

void pcb_free_input(struct tcp_socket *t) {
    free_list(t->input);
    free_list(t->reading);
    t->input = t->gathering = t->reading = NULL;
    t->input_end = &t->input;
    t->reading_offset = t->unannounced = 0;
    WRITE_ONCE(t->consumed, t->received);
}
