// Netlink messages: building them, reading attributes, acknowledgements. Linux' rules of what is wrong with a request
// (net/netlink/af_netlink.c, lib/nlattr.c there).
#include "kernel/string.h"
#include "net/netlink/netlink.h"

// --- Building ---

static void *append(struct seqbuf *s, size_t len) { // zeroed, padded to 4 bytes. NULL: no memory
    size_t padded = NLMSG_ALIGN(len);
    char *to = seq_reserve(s, padded);
    if (to) {
        memset(to, 0, padded);
        s->len += padded;
    }
    return to;
}

struct message message_begin(const struct netlink_request *r, int type, const void *header, size_t len) {
    struct message m = {r->out, r->out->len};
    struct nlmsghdr *h = append(r->out, sizeof(*h) + len);
    if (h) {
        *h =
            (struct nlmsghdr){0, (uint16_t)type, (r->multi ? NLM_F_MULTI : 0) | (r->filtered ? NLM_F_DUMP_FILTERED : 0),
                              r->header ? r->header->nlmsg_seq : 0, r->port};
        memcpy(h + 1, header, len);
    }
    return m;
}

void message_end(const struct message *m) {
    if (m->s->failed)
        return;
    struct nlmsghdr *h = (void *)(m->s->data + m->at);
    h->nlmsg_len = m->s->len - m->at;
}

void message_put(const struct message *m, int type, const void *data, size_t len) {
    struct nlattr *a = append(m->s, sizeof(*a) + len);
    if (a) {
        a->nla_len = sizeof(*a) + len;
        a->nla_type = (uint16_t)type;
        if (len)
            memcpy(a + 1, data, len);
    }
}

void message_put_text(const struct message *m, int type, const char *text) {
    message_put(m, type, text, strlen(text) + 1);
}

void message_put_ip(const struct message *m, int type, const ip_addr_t *a) {
    if (IP_IS_V4(a))
        message_put(m, type, &ip_2_ip4(a)->addr, 4);
    else
        message_put(m, type, ip_2_ip6(a)->addr, 16);
}

size_t message_nest(const struct message *m, int type) {
    size_t at = m->s->len;
    message_put(m, type, NULL, 0);
    return at;
}

void message_nest_end(const struct message *m, size_t nest) {
    if (m->s->failed)
        return;
    struct nlattr *a = (void *)(m->s->data + nest);
    a->nla_len = m->s->len - nest;
}

// --- Reading ---

const void *request_header(const struct netlink_request *r, size_t len) {
    return r->header->nlmsg_len >= sizeof(*r->header) + len ? r->header + 1 : NULL;
}

int request_attributes(struct netlink_request *r, size_t header, const struct nlattr **at, int max, bool strict) {
    for (int i = 0; i <= max; i++)
        at[i] = NULL;
    if (!request_header(r, header))
        return request_fail(r, -EINVAL, NULL, "Invalid header length");
    size_t from = sizeof(*r->header) + NLMSG_ALIGN(header), end = r->header->nlmsg_len;
    while (from + sizeof(struct nlattr) <= end) {
        const struct nlattr *a = (const void *)((const char *)r->header + from);
        if (a->nla_len < sizeof(*a) || a->nla_len > end - from)
            break;
        int type = a->nla_type & NLA_TYPE_MASK;
        if (type > 0 && type <= max)
            at[type] = a;
        else if (strict)
            return request_fail(r, -EINVAL, a, "Unknown attribute type");
        from += NLMSG_ALIGN(a->nla_len);
    }
    if (strict && from < end)
        return request_fail(r, -EINVAL, NULL, "bytes leftover after parsing attributes");
    return 0;
}

int attribute_u32(const struct nlattr *a, uint32_t *v) {
    if (attribute_len(a) < sizeof(*v))
        return -EINVAL;
    memcpy(v, attribute_data(a), sizeof(*v));
    return 0;
}

int attribute_ip(const struct nlattr *a, int family, ip_addr_t *ip) {
    unsigned len = family == AF_INET ? 4 : 16;
    if (attribute_len(a) < len)
        return -EINVAL;
    memset(ip, 0, sizeof(*ip));
    IP_SET_TYPE(ip, family == AF_INET ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6);
    memcpy(family == AF_INET ? (void *)&ip_2_ip4(ip)->addr : (void *)ip_2_ip6(ip)->addr, attribute_data(a), len);
    return 0;
}

int attribute_name(const struct nlattr *a, char name[16]) {
    unsigned len = strnlen(attribute_data(a), attribute_len(a));
    if (len >= 16)
        return -EINVAL;
    memcpy(name, attribute_data(a), len);
    name[len] = '\0';
    return 0;
}

// --- Answers ---

int request_fail(struct netlink_request *r, int err, const struct nlattr *at, const char *text) {
    r->error = text;
    r->error_at = at;
    return err;
}

int netlink_acknowledge(struct netlink_request *r, int err) {
    struct seqbuf out = {0};
    const struct nlmsghdr *h = r->header;
    bool extended = netlink_option(r->from, NETLINK_EXT_ACK) && (r->error || r->error_at);
    bool whole = err && !netlink_option(r->from, NETLINK_CAP_ACK);
    size_t quoted = whole ? h->nlmsg_len : sizeof(*h);
    struct nlmsghdr *answer = append(&out, sizeof(*answer) + sizeof(int) + quoted);
    if (!answer)
        return -ENOBUFS;
    int *error = (int *)(answer + 1);
    *answer = (struct nlmsghdr){0, NLMSG_ERROR, (whole ? 0 : NLM_F_CAPPED) | (extended ? NLM_F_ACK_TLVS : 0),
                                h->nlmsg_seq, r->port};
    *error = err;
    memcpy(error + 1, h, quoted);
    struct message m = {&out, 0};
    if (extended && r->error)
        message_put_text(&m, NLMSGERR_ATTR_MSG, r->error);
    if (extended && r->error_at)
        message_put_u32(&m, NLMSGERR_ATTR_OFFS, (uint32_t)((const char *)r->error_at - (const char *)h));
    message_end(&m);
    err = out.failed ? -ENOBUFS : netlink_deliver(r->from, out.data, out.len, 0, 0);
    seq_free(&out);
    return err;
}
