// The network's settings as they are at boot: Linux's, and where Docker changes them in its containers Docker's.
#include "net/inet/sysctl.h"

struct net_settings net_settings = {
    .somaxconn = 4096,
    .rmem_default = 212992,
    .rmem_max = 212992,
    .wmem_default = 212992,
    .wmem_max = 212992,
    .optmem_max = 131072,
    .port_first = 32768,
    .port_last = 60999,
    .unprivileged_port_start = 0,
    .ping_group_first = 0,
    .ping_group_last = INT32_MAX,
    .default_ttl = 64,
    .hop_limit = 64,
    .tcp_fin_timeout = 60,
    .tcp_rmem = {16384, 131072, 6291456},
    .tcp_wmem = {16384, 16384, 262144},
    .tcp_keepalive_time = 7200,
    .tcp_keepalive_intvl = 75,
    .tcp_keepalive_probes = 9,
    .tcp_max_syn_backlog = 512,
    .tcp_syn_retries = 6,
    .igmp_max_memberships = 20,
};
