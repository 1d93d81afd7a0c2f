// All TCP connections, for /proc/net/tcp and netlink: the sockets, and those that lwIP has without one.
#include "fs/vfs.h"
#include "lwip/tcp.h"
#include "net/inet/tcp.h"

struct visit {
    bool (*fn)(void *ctx, const struct inet_row *row);
    void *ctx;
};

static uint64_t inode_of(struct socket *s) {
    spin_lock(&s->lock);
    uint64_t number = s->file ? s->file->inode->ino : 0;
    spin_unlock(&s->lock);
    return number;
}

static struct inet_row row_of(struct tcp_socket *t) {
    const struct inet_socket *i = &t->inet;
    struct inet_row row = {.socket = i,
                           .local = i->local,
                           .remote = i->remote,
                           .local_port = i->local_port,
                           .remote_port = i->remote_port,
                           .state = t->pcb ? pcb_state(t->pcb) : t->state,
                           .uid = i->uid};
    row.inode = inode_of((struct socket *)&i->socket);
    if (t->state == TCPS_LISTEN) {
        row.remote_port = 0;
        row.receive_queue = t->queue_count;
        row.send_queue = t->queue_max;
        return row;
    }
    row.receive_queue = tcp_available(t);
    row.send_queue = tcp_unsent(t);
    row.retransmits = t->pcb ? t->pcb->nrtx : 0;
    return row;
}

static bool visit_pcb(void *ctx, struct tcp_pcb *pcb) {
    const struct visit *v = ctx;
    if (pcb->callback_arg && pcb->state != SYN_RCVD)
        return false; // a socket's
    struct inet_row row = {.local = pcb->local_ip,
                           .remote = pcb->remote_ip,
                           .local_port = pcb->local_port,
                           .remote_port = pcb->remote_port,
                           .state = pcb_state(pcb),
                           .retransmits = pcb->nrtx};
    return v->fn(v->ctx, &row);
}

void tcp_each(bool (*fn)(void *ctx, const struct inet_row *row), void *ctx) {
    struct visit v = {fn, ctx};
    for (struct tcp_socket *t = tcp_next(NULL); t; t = tcp_next(t)) {
        struct inet_row row = row_of(t);
        if (fn(ctx, &row))
            return;
    }
    tcp_bucket_each(visit_pcb, &v);
}
