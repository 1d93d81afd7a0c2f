// What net/inet/udp*.c share.
#ifndef NET_INET_UDP_H
#define NET_INET_UDP_H

#include "net/inet/datagram.h"

#define UDP_HEADER 8

int64_t udp_socket_send(struct socket *s, struct uio *u, struct socket_message *m, int flags);
int udp_autobind(struct datagram_socket *s);            // a port, if it has none. 0, -EAGAIN, -ENOMEM
int udp_flush(struct datagram_socket *s);               // sends what was held back (UDP_CORK)
void udp_forget_pending(struct datagram_socket *s);     // and drops it

#endif
