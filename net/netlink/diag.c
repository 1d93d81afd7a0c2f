// NETLINK_SOCK_DIAG: what ss(8) asks.
#include "net/netlink/netlink.h"

int diag_request(struct netlink_request *r) { return -EINVAL; }
