// What the two halves of lwIP's connections share: tcp_pcb.c and tcp_pcb_send.c. All under the core lock.
#ifndef NET_INET_TCP_PCB_H
#define NET_INET_TCP_PCB_H

#include "lwip/priv/tcp_priv.h"
#include "net/inet/tcp.h"

#define PCB_POLL_INTERVAL 1 // of lwIP's slow timer, half a second

static inline bool pcb_all_acknowledged(const struct tcp_socket *t) { return t->bytes.head == t->bytes.tail && !t->fin_wanted; }
void pcb_closed(struct tcp_socket *t); // it is dead, and done with: the pcb goes on without it
// lwIP's callbacks, in the connection's bucket.
err_t pcb_on_sent(void *arg, struct tcp_pcb *pcb, u16_t n);
err_t pcb_on_poll(void *arg, struct tcp_pcb *pcb);

#endif
