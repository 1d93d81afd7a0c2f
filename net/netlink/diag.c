// NETLINK_SOCK_DIAG: the sockets of the Internet protocols, as ss(8) asks for them. States and ports are filtered here; a program of
// INET_DIAG_REQ_BYTECODE is not run, who sends one filters what he gets once more. Other families: ENOENT, as from a Linux without them.
#include "kernel/log.h"
#include "kernel/string.h"
#include "net/inet/inet.h"
#include "net/netlink/netlink.h"
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>

struct query {
    struct netlink_request *r;
    const struct inet_diag_req_v2 *want;
    bool exact, found;
};

static void put_address(bool v6, const ip_addr_t *a, __be32 to[4]) {
    memset(to, 0, 16);
    if (!v6) {
        to[0] = IP_IS_V6_VAL(*a) ? 0 : ip_2_ip4(a)->addr;
    } else if (IP_IS_V4(a)) {
        to[3] = ip_2_ip4(a)->addr;
        to[2] = to[3] ? 0xffff0000 : 0;
    } else {
        memcpy(to, ip_2_ip6(a)->addr, 16);
    }
}

// What the row tells, when it is one of those that are wanted.
static bool describe(const struct query *q, const struct inet_row *row, struct inet_diag_msg *m) {
    const struct inet_diag_sockid *id = &q->want->id;
    bool v6 = row->socket ? row->socket->socket.family == AF_INET6 : !IP_IS_V4(&row->local);
    if (v6 != (q->want->sdiag_family == AF_INET6))
        return false;
    *m = (struct inet_diag_msg){.idiag_family = q->want->sdiag_family,
                                .idiag_state = row->state,
                                .idiag_timer = !row->timer       ? 0
                                               : row->state == 6 ? 3
                                                                 : 1,
                                .idiag_retrans = (uint8_t)MIN(row->retransmits, 255u),
                                .idiag_expires = (uint32_t)(row->timer / NSEC_PER_MSEC),
                                .idiag_rqueue = row->receive_queue,
                                .idiag_wqueue = row->send_queue,
                                .idiag_uid = row->uid,
                                .idiag_inode = (uint32_t)row->inode};
    m->id.idiag_sport = lwip_htons(row->local_port);
    m->id.idiag_dport = lwip_htons(row->remote_port);
    put_address(v6, &row->local, m->id.idiag_src);
    put_address(v6, &row->remote, m->id.idiag_dst);
    m->id.idiag_if = row->socket ? (uint32_t)row->socket->interface : 0;
    m->id.idiag_cookie[0] = (uint32_t)row->inode;
    if (q->exact)
        return id->idiag_sport == m->id.idiag_sport && id->idiag_dport == m->id.idiag_dport &&
               memcmp(id->idiag_src, m->id.idiag_src, v6 ? 16 : 4) == 0 &&
               memcmp(id->idiag_dst, m->id.idiag_dst, v6 ? 16 : 4) == 0;
    return (q->want->idiag_states >> row->state & 1) && (!id->idiag_sport || id->idiag_sport == m->id.idiag_sport) &&
           (!id->idiag_dport || id->idiag_dport == m->id.idiag_dport);
}

static bool put_row(void *ctx, const struct inet_row *row) {
    struct query *q = ctx;
    struct inet_diag_msg h;
    if (!describe(q, row, &h))
        return q->r->out->failed;
    q->found = true;
    struct message m = message_begin(q->r, SOCK_DIAG_BY_FAMILY, &h, sizeof(h));
    message_put_u8(&m, INET_DIAG_SHUTDOWN, 0);
    if (row->socket) {
        const struct inet_options *o = &row->socket->options;
        if (q->want->idiag_ext & 1 << (INET_DIAG_TOS - 1))
            message_put_u8(&m, INET_DIAG_TOS, o->tos);
        if (h.idiag_family == AF_INET6) {
            if (q->want->idiag_ext & 1 << (INET_DIAG_TCLASS - 1))
                message_put_u8(&m, INET_DIAG_TCLASS, o->traffic_class);
            if (row->state == 10 || row->state == 7) // listening, not connected
                message_put_u8(&m, INET_DIAG_SKV6ONLY, o->v6only);
        }
    }
    if (q->want->idiag_ext & 1 << (INET_DIAG_MEMINFO - 1)) {
        struct inet_diag_meminfo memory = {.idiag_rmem = h.idiag_rqueue, .idiag_wmem = h.idiag_wqueue};
        message_put(&m, INET_DIAG_MEMINFO, &memory, sizeof(memory));
    }
    message_end(&m);
    return q->exact || q->r->out->failed;
}

int diag_request(struct netlink_request *r) {
    const struct sock_diag_req *any = request_header(r, sizeof(*any));
    const struct inet_diag_req_v2 *want = request_header(r, sizeof(*want));
    if (r->header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return r->header->nlmsg_type == SOCK_DESTROY ? -EOPNOTSUPP : -EINVAL;
    if (!any || any->sdiag_family >= AF_MAX)
        return -EINVAL;
    if (any->sdiag_family != AF_INET && any->sdiag_family != AF_INET6)
        return -ENOENT;
    if (!want)
        return -EINVAL;
    const struct nlattr *at[INET_DIAG_REQ_MAX + 1];
    uint32_t protocol = want->sdiag_protocol; // those above 255 in an attribute
    int err = request_attributes(r, sizeof(*want), at, INET_DIAG_REQ_MAX, false);
    if (!err && at[INET_DIAG_REQ_PROTOCOL])
        err = attribute_u32(at[INET_DIAG_REQ_PROTOCOL], &protocol);
    if (err < 0)
        return err;
    enum inet_table table = protocol == IPPROTO_TCP ? TABLE_TCP : protocol == IPPROTO_UDP ? TABLE_UDP : TABLE_RAW;
    struct query q = {r, want, !r->multi, false};
    r->dumps = r->multi;
    if (table == TABLE_RAW && protocol != IPPROTO_RAW)
        return -ENOENT;
    net_lock();
    inet_each(table, put_row, &q);
    net_unlock();
    return q.exact && !q.found ? -ENOENT : 0;
}
