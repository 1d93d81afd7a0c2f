// What the two halves of lwIP's connections share: tcp_pcb.c and tcp_pcb_send.c. All under the core lock.
#ifndef NET_INET_TCP_PCB_H
#define NET_INET_TCP_PCB_H

#include "lwip/priv/tcp_priv.h"
#include "net/inet/tcp.h"

#define PCB_POLL_INTERVAL 1 // of lwIP's slow timer, half a second

// The ext-arg of a pcb: its socket, or a half-open connection with this bit set.
#define PCB_HALF_OPEN 1UL
extern uint8_t pcb_ext_arg; // its number, after pcb_allocate_ext_arg
void pcb_allocate_ext_arg(void);
extern const struct tcp_ext_arg_callbacks pcb_callbacks;
void pcb_attach(struct tcp_socket *t, struct tcp_pcb *pcb); // the socket has the pcb from now on
uint32_t pcb_to_withhold(const struct tcp_socket *t, const struct tcp_pcb *pcb); // by so much the window is less than lwIP's
// tcp_pcb_listen.c
void pcb_forget_half_open(void *data);
err_t pcb_on_syn(u8_t id, struct tcp_pcb_listen *lp, struct tcp_pcb *pcb);

static inline bool pcb_all_acknowledged(const struct tcp_socket *t) { return t->bytes.head == t->bytes.tail && !t->fin_wanted; }
void pcb_closed(struct tcp_socket *t); // it is dead, and done with: the pcb goes on without it
// lwIP's callbacks, in the connection's bucket.
err_t pcb_on_sent(void *arg, struct tcp_pcb *pcb, u16_t n);
err_t pcb_on_poll(void *arg, struct tcp_pcb *pcb);

#endif
