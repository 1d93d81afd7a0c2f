// Sending of TCP: bytes by reference, in segments that the device cuts.
#include "lwip/tcp.h"
#include "net/lwip/stack.h"

err_t net_tcp_write(struct tcp_pcb *pcb, const void *data, size_t n, uint8_t flags) { return tcp_write(pcb, data, (u16_t)n, flags); }

err_t net_tcp_output(struct tcp_pcb *pcb) { return tcp_output(pcb); }

__attribute__((weak)) int net_interface_create(struct net_device *dev) { return -ENODEV; }
__attribute__((weak)) void net_interface_kick(struct net_interface *i) {}
