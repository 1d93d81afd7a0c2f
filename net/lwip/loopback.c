// The interface lo: what is sent comes back in by deferred work. Connections and datagrams of sockets within the machine do not come here
// (net/inet/local.c); what does: ICMP, raw sockets, and the stack's own answers. All of 127/8 is the machine itself.
#include "kernel/string.h"
#include "lwip/ip.h"
#include "lwip/ip6.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/ip4.h"
#include "net/lwip/stack.h"

#define QUEUE_MOST 1000 // packets, as Linux' txqueuelen

struct net_interface net_loopback = {.name = "lo", .mtu = 65536, .up = true};
static struct pbuf *first, **end = &first; // packets, linked by their last pbuf's `next`: each is one buffer
static unsigned queued;

static err_t output(struct netif *n, struct pbuf *p) {
    if (queued >= QUEUE_MOST) {
        net_loopback.statistics.tx_dropped++;
        return ERR_MEM;
    }
    struct pbuf *copy = pbuf_alloc(PBUF_RAW, p->tot_len, PBUF_RAM); // one piece, and the sender's is free
    if (!copy)
        return ERR_MEM;
    pbuf_copy(copy, p);
    *end = copy;
    end = &copy->next;
    queued++;
    net_loopback.statistics.tx_packets++;
    net_loopback.statistics.tx_bytes += p->tot_len;
    net_input_wanted();
    return ERR_OK;
}

static err_t output4(struct netif *n, struct pbuf *p, const ip4_addr_t *to) { return output(n, p); }
static err_t output6(struct netif *n, struct pbuf *p, const ip6_addr_t *to) { return output(n, p); }

static err_t init(struct netif *n) {
    n->name[0] = 'l';
    n->name[1] = 'o';
    n->output = output4;
    n->output_ip6 = output6;
    n->mtu = 65535;
    n->flags |= NETIF_FLAG_IGMP | NETIF_FLAG_MLD6;
    // Nothing can happen to a packet on its way; but raw sockets look at those of ICMP.
    NETIF_SET_CHECKSUM_CTRL(n, NETIF_CHECKSUM_GEN_IP | NETIF_CHECKSUM_GEN_ICMP | NETIF_CHECKSUM_GEN_ICMP6);
    return ERR_OK;
}

int net_loopback_create(void) {
    ip4_addr_t address, mask, gateway = {0};
    IP4_ADDR(&address, 127, 0, 0, 1);
    IP4_ADDR(&mask, 255, 0, 0, 0);
    struct netif *n = &net_loopback.netif;
    if (!netif_add(n, &address, &mask, &gateway, NULL, init, ip_input))
        return -ENOMEM;
    IP_ADDR6_HOST(&n->ip6_addr[0], 0, 0, 0, 1);
    n->ip6_addr_state[0] = IP6_ADDR_PREFERRED;
    net_interface_add(&net_loopback);
    netif_set_link_up(n);
    netif_set_up(n);
    n->rs_count = 0; // no routers there
    return 0;
}

bool net_loopback_poll(unsigned budget) {
    struct netif *n = &net_loopback.netif;
    while (first && budget--) {
        struct pbuf *p = first;
        first = p->next;
        if (!first)
            end = &first;
        p->next = NULL;
        queued--;
        net_loopback.statistics.rx_packets++;
        net_loopback.statistics.rx_bytes += p->tot_len;
        // lwIP takes what goes to the interface's own address.
        const struct ip_hdr *h = p->payload;
        ip4_addr_t own = *netif_ip4_addr(n), to = {0};
        if (p->len >= IP_HLEN && IPH_V(h) == 4)
            to.addr = h->dest.addr;
        if (ip4_addr_isloopback(&to))
            ip4_addr_set(ip_2_ip4(&n->ip_addr), &to);
        if (n->input(p, n) != ERR_OK)
            pbuf_free(p);
        ip4_addr_set(ip_2_ip4(&n->ip_addr), &own);
    }
    return first;
}
