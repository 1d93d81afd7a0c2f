// Until the protocols are there.
#include "net/inet/inet.h"

__attribute__((weak)) struct socket *tcp_create(int family) { return ERR_PTR(-EPROTONOSUPPORT); }
__attribute__((weak)) struct socket *udp_create(int family, int protocol) { return ERR_PTR(-EPROTONOSUPPORT); }
__attribute__((weak)) struct socket *raw_create(int family, int protocol) { return ERR_PTR(-EPROTONOSUPPORT); }
__attribute__((weak)) struct socket *ping_create(int family) { return ERR_PTR(-EPROTONOSUPPORT); }
