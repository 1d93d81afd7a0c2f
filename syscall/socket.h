// What the calls on sockets share.
#ifndef SYSCALL_SOCKET_H
#define SYSCALL_SOCKET_H

#include "net/socket.h"

long socket_get(int fd, struct file **f, struct socket **s);      // *f is referenced. 0, -EBADF, -ENOTSOCK
long address_in(struct socket_address *a, uaddr_t addr, int len); // 0, -EINVAL, -EFAULT
// An address to the application, whose room is at len_addr (an int), where the whole length goes. 0, -EFAULT, -EINVAL.
long address_out(const struct socket_address *a, uaddr_t addr, uaddr_t len_addr);

#endif
