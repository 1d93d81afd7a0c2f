// Options of IPPROTO_TCP, see tcp(7), and what those of SOL_SOCKET mean for TCP. Rows for /proc/net/tcp: tcp_table.c.
#include "fs/vfs.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include "lwip/priv/tcp_priv.h"
#include "net/inet/tcp.h"
#include <asm/socket.h>
#include <linux/capability.h>
#include <linux/tcp.h>

#define KEEPIDLE_MAX 32767 // MAX_TCP_KEEPIDLE, in seconds; the interval's is the same
#define KEEPCNT_MAX 127
#define LINGER2_MAX 120 // TCP_FIN_TIMEOUT_MAX, in seconds
#define SYNCNT_MAX 127
#define MSS_MIN 88       // TCP_MIN_MSS
#define WINDOW_MAX 32767 // MAX_TCP_WINDOW
#define LOCAL_MSS 65483  // what Linux' loopback has

static struct tcp_socket *tcp_socket_of(struct socket *s) { return tcp_of(s); }

// --- Setting ---
static int set_congestion(const void *value, unsigned len) {
    char name[16] = "";
    if (len < 1)
        return -EINVAL;
    memcpy(name, value, MIN(len, 15u));
    return strcmp(name, "reno") == 0 ? 0 : -ENOENT;
}

static int set_ulp(const void *value, unsigned len) { return len < 1 ? -EINVAL : -ENOENT; }

static uint8_t retries_of(int seconds) { // that so many SYN-ACKs take: secs_to_retrans
    uint8_t n = 0;
    if (seconds > 0)
        for (n = 1; n < UINT8_MAX && tcp_retries_seconds(n - 1u) < (unsigned)seconds;)
            n++;
    return n;
}

static int range(int value, int first, int last) { return value < first || value > last ? -EINVAL : 0; }

// Core lock held.
static int set_number(struct tcp_socket *t, int name, int value) {
    struct tcp_options *o = &t->options;
    int err = 0;
    switch (name) {
    case TCP_NODELAY: o->nodelay = value; break;
    case TCP_CORK: o->cork = value; break;
    case TCP_MAXSEG:
        err = value ? range(value, MSS_MIN, WINDOW_MAX) : 0;
        o->mss = err ? o->mss : value;
        break;
    case TCP_KEEPIDLE:
        err = range(value, 1, KEEPIDLE_MAX);
        o->keep_idle = err ? o->keep_idle : (uint32_t)value;
        break;
    case TCP_KEEPINTVL:
        err = range(value, 1, KEEPIDLE_MAX);
        o->keep_interval = err ? o->keep_interval : (uint32_t)value;
        break;
    case TCP_KEEPCNT:
        err = range(value, 1, KEEPCNT_MAX);
        o->keep_count = err ? o->keep_count : value;
        break;
    case TCP_SYNCNT:
        err = range(value, 1, SYNCNT_MAX);
        o->syn_count = err ? o->syn_count : value;
        break;
    case TCP_LINGER2: o->linger2 = value < 0 ? -1 : MIN(value, LINGER2_MAX); break;
    case TCP_DEFER_ACCEPT: o->defer_accept = retries_of(value); break;
    case TCP_WINDOW_CLAMP:
        if (!value && t->state != TCPS_CLOSE)
            return -EINVAL;
        o->clamp = value ? MAX(value, 1152) : 0; // SOCK_MIN_RCVBUF / 2
        break;
    case TCP_QUICKACK: o->quickack = value & 1; break; // a hint
    case TCP_USER_TIMEOUT:
        err = value < 0 ? -EINVAL : 0;
        o->user_timeout = err ? o->user_timeout : (uint32_t)value;
        break;
    case TCP_NOTSENT_LOWAT: o->notsent = value; break;
    case TCP_THIN_LINEAR_TIMEOUTS:
        err = range(value, 0, 1);
        o->thin_linear = err ? o->thin_linear : value;
        break;
    case TCP_THIN_DUPACK: err = range(value, 0, 1); break;
    case TCP_SAVE_SYN:
        err = range(value, 0, 2);
        o->save_syn = err ? o->save_syn : value;
        break;
    case TCP_INQ:
        err = range(value, 0, 1);
        o->inq = err ? o->inq : value;
        break;
    case TCP_REPAIR: return capable(CAP_NET_ADMIN) ? -EOPNOTSUPP : -EPERM;
    case TCP_FASTOPEN:
    case TCP_FASTOPEN_CONNECT:
    case TCP_FASTOPEN_NO_COOKIE:
    case TCP_FASTOPEN_KEY: return -EOPNOTSUPP;
    case TCP_TIMESTAMP: return -EPERM; // only of a socket in repair
    default: return -ENOPROTOOPT;
    }
    return err;
}

// What an option changes at once.
static void changed(struct tcp_socket *t, int name) {
    if (!t->pcb)
        return;
    switch (name) {
    case TCP_NODELAY:
    case TCP_CORK:
        pcb_options(t);
        t->more = false;
        pcb_push(t);
        break;
    case TCP_KEEPIDLE:
    case TCP_KEEPINTVL:
    case TCP_KEEPCNT:
    case TCP_USER_TIMEOUT: pcb_options(t); break;
    case TCP_WINDOW_CLAMP: pcb_window(t); break;
    }
}

int tcp_set_option(struct socket *s, int level, int name, const void *value, unsigned len) {
    struct tcp_socket *t = tcp_socket_of(s);
    int number;
    if (level != IPPROTO_TCP) {
        int err = inet_set_option(s, level, name, value, len);
        net_lock();
        pcb_options(t);
        net_unlock();
        return err;
    }
    if (name == TCP_CONGESTION)
        return set_congestion(value, len);
    if (name == TCP_ULP)
        return set_ulp(value, len);
    if (len < sizeof(number))
        return -EINVAL;
    memcpy(&number, value, sizeof(number));
    net_lock();
    int err = set_number(t, name, number);
    if (err == 0)
        changed(t, name);
    net_unlock();
    return err;
}

void tcp_option_changed(struct socket *s, int name) {
    struct tcp_socket *t = tcp_socket_of(s);
    net_lock();
    if (t->local)
        local_limits(t);
    else if (name == SO_RCVBUF || name == SO_RCVBUFFORCE)
        pcb_window(t);
    else if (t->pcb)
        pcb_options(t);
    net_unlock();
}

// --- Getting ---
static int put(void *to, unsigned *len, const void *from, unsigned size) {
    *len = MIN(*len, size);
    memcpy(to, from, *len);
    return 0;
}

static unsigned payload_of(const struct tcp_pcb *pcb) { // of a segment, as Linux counts: without options
    unsigned options = pcb->flags & TF_TIMESTAMP ? 12 : 0;
    return pcb->mss > options ? pcb->mss - options : 1;
}

static int mss_of(const struct tcp_socket *t) {
    if (t->pcb)
        return (int)payload_of(t->pcb);
    return t->local && t->peer ? LOCAL_MSS : t->options.mss ? t->options.mss : TCP_MSS_DEFAULT;
}

static uint32_t ms_since(nsec_t then) { return then ? (uint32_t)((time_monotonic() - then) / NSEC_PER_MSEC) : 0; }

void pcb_info(struct tcp_socket *t, struct tcp_info *i) {
    const struct tcp_pcb *pcb = t->pcb;
    const struct net_tcp_counts *c = &t->counts;
    const uint32_t mss = payload_of(pcb), in_flight = pcb->snd_nxt - pcb->lastack, queued = bytequeue_used(&t->bytes);
    const bool slow_start = pcb->cwnd < pcb->ssthresh, lost = pcb->ssthresh < TCP_SND_BUF;
    i->tcpi_state = pcb->state == TIME_WAIT ? TCPS_CLOSE : pcb_state(pcb);
    i->tcpi_ca_state = pcb->flags & TF_RTO ? TCP_CA_Loss : pcb->flags & TF_INFR ? TCP_CA_Recovery : TCP_CA_Open;
    i->tcpi_retransmits = pcb->nrtx;
    i->tcpi_probes = pcb->persist_probe;
    i->tcpi_backoff = pcb->nrtx;
    i->tcpi_options = (pcb->flags & TF_TIMESTAMP ? TCPI_OPT_TIMESTAMPS : 0) |
                      (pcb->flags & TF_SACK ? TCPI_OPT_SACK : 0) | (pcb->flags & TF_WND_SCALE ? TCPI_OPT_WSCALE : 0);
    i->tcpi_snd_wscale = pcb->snd_scale;
    i->tcpi_rcv_wscale = pcb->rcv_scale;
    i->tcpi_rto = (uint32_t)pcb->rto * TCP_SLOW_INTERVAL * 1000;
    i->tcpi_ato = 40000;
    i->tcpi_snd_mss = i->tcpi_rcv_mss = i->tcpi_advmss = mss;
    i->tcpi_pmtu = pcb->mss + (IP_IS_V6_VAL(pcb->remote_ip) ? IP6_HLEN : IP_HLEN) + TCP_HLEN;
    i->tcpi_rtt = c->rtt;
    i->tcpi_rttvar = c->rtt_variation;
    i->tcpi_min_rtt = c->rtt ? c->least_rtt : UINT32_MAX;
    i->tcpi_unacked = DIV_ROUND_UP(in_flight, mss);
    i->tcpi_retrans = pcb->flags & TF_RTO ? i->tcpi_unacked : pcb->flags & TF_INFR ? 1 : 0;
    i->tcpi_snd_ssthresh = lost ? pcb->ssthresh / mss : 0x7fffffff;
    i->tcpi_snd_cwnd = MAX(pcb->cwnd / mss, 1u);
    i->tcpi_reordering = 3;
    i->tcpi_rcv_space = i->tcpi_rcv_ssthresh = pcb->rcv_wnd;
    i->tcpi_snd_wnd = pcb->snd_wnd;
    i->tcpi_last_data_sent = ms_since(c->last_sent);
    i->tcpi_last_data_recv = ms_since(c->last_received);
    i->tcpi_last_ack_recv = ms_since(c->last_ack);
    i->tcpi_total_retrans = c->resent;
    i->tcpi_segs_out = c->segments_out;
    i->tcpi_segs_in = c->segments_in;
    i->tcpi_data_segs_out = c->data_out;
    i->tcpi_data_segs_in = c->data_in;
    i->tcpi_notsent_bytes = queued - MIN(in_flight, queued);
    i->tcpi_bytes_acked = t->bytes.tail;
    i->tcpi_bytes_received = t->received;
    i->tcpi_bytes_retrans = c->bytes_resent;
    i->tcpi_bytes_sent = t->bytes.head - i->tcpi_notsent_bytes + c->bytes_resent;
    i->tcpi_delivered = DIV_ROUND_UP(t->bytes.tail, mss) + 1; // and the SYN
    i->tcpi_pacing_rate = c->rtt ? (uint64_t)pcb->cwnd * 1000000 / c->rtt * (slow_start ? 20 : 12) / 10 : 0;
    i->tcpi_max_pacing_rate = UINT64_MAX;
}

static int get_info(struct tcp_socket *t, void *value, unsigned *len) {
    struct tcp_info i;
    memset(&i, 0, sizeof(i));
    net_lock();
    i.tcpi_state = t->state;
    if (t->pcb) {
        pcb_info(t, &i);
    } else if (t->state == TCPS_LISTEN) { // as Linux shows its queue
        i.tcpi_unacked = t->queue_count;
        i.tcpi_sacked = t->queue_max;
    } else if (t->local && t->peer) {
        i.tcpi_options = TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE;
        i.tcpi_snd_wscale = i.tcpi_rcv_wscale = 7;
        i.tcpi_snd_mss = i.tcpi_rcv_mss = i.tcpi_advmss = LOCAL_MSS;
        i.tcpi_pmtu = 65535;
        i.tcpi_rto = 200000;
        i.tcpi_snd_cwnd = 10;
        i.tcpi_snd_ssthresh = 0x7fffffff;
        i.tcpi_reordering = 3;
        i.tcpi_rcv_space = i.tcpi_snd_wnd = tcp_receive_limit(t);
        i.tcpi_bytes_received = t->bytes.head + READ_ONCE(t->landed);
        i.tcpi_bytes_acked = i.tcpi_bytes_sent = t->peer->bytes.head + READ_ONCE(t->peer->landed);
    }
    net_unlock();
    return put(value, len, &i, sizeof(i));
}

static int get_number(struct tcp_socket *t, int name, int *value) {
    const struct tcp_options *o = &t->options;
    switch (name) {
    case TCP_NODELAY: *value = o->nodelay; break;
    case TCP_CORK: *value = o->cork; break;
    case TCP_MAXSEG:
        net_lock();
        *value = mss_of(t);
        net_unlock();
        break;
    case TCP_KEEPIDLE: *value = o->keep_idle ? o->keep_idle : net_settings.tcp_keepalive_time; break;
    case TCP_KEEPINTVL: *value = o->keep_interval ? o->keep_interval : net_settings.tcp_keepalive_intvl; break;
    case TCP_KEEPCNT: *value = o->keep_count ? o->keep_count : net_settings.tcp_keepalive_probes; break;
    case TCP_SYNCNT: *value = o->syn_count ? o->syn_count : net_settings.tcp_syn_retries; break;
    case TCP_LINGER2: *value = o->linger2 ? o->linger2 : (int)net_settings.tcp_fin_timeout; break;
    case TCP_DEFER_ACCEPT: *value = o->defer_accept ? (int)tcp_retries_seconds(o->defer_accept - 1) : 0; break;
    case TCP_WINDOW_CLAMP: *value = o->clamp; break;
    case TCP_QUICKACK: *value = o->quickack; break;
    case TCP_USER_TIMEOUT: *value = o->user_timeout; break;
    case TCP_NOTSENT_LOWAT: *value = o->notsent; break;
    case TCP_THIN_LINEAR_TIMEOUTS: *value = o->thin_linear; break;
    case TCP_THIN_DUPACK: *value = 0; break;
    case TCP_SAVE_SYN: *value = o->save_syn; break;
    case TCP_INQ: *value = o->inq; break;
    case TCP_REPAIR: *value = 0; break;
    case TCP_FASTOPEN:
    case TCP_FASTOPEN_CONNECT:
    case TCP_FASTOPEN_NO_COOKIE: *value = 0; break;
    case TCP_TIMESTAMP: *value = 0; break;
    default: return -ENOPROTOOPT;
    }
    return 0;
}

int tcp_get_option(struct socket *s, int level, int name, void *value, unsigned *len) {
    static const char reno[16] = "reno";
    struct tcp_socket *t = tcp_socket_of(s);
    int number;
    if (level != IPPROTO_TCP)
        return inet_get_option(s, level, name, value, len);
    switch (name) {
    case TCP_INFO: return get_info(t, value, len);
    case TCP_CONGESTION: return put(value, len, reno, sizeof(reno));
    case TCP_ULP:
    case TCP_SAVED_SYN:
    case TCP_CC_INFO: *len = 0; return 0;
    }
    int err = get_number(t, name, &number);
    return err < 0 ? err : put(value, len, &number, sizeof(number));
}
