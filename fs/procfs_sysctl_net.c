// /proc/sys/net: the network's settings (net/inet/sysctl.h). Writable is what has an effect here; the rest says how this network is.
#include "fs/procfs_net.h"
#include "kernel/memory/page.h"
#include "kernel/string.h"
#include "net/inet/sysctl.h"

// --- Settings: one number, or a few in one line ---

struct setting {
    const char *name; // of the file
    uint32_t *value;  // the first of
    uint8_t count;    // so many, which lie behind each other
    uint32_t least, most;
};
#define S(name, field, n, least, most)                                                                                 \
    { name, (uint32_t *)&net_settings.field, n, least, most }
static const struct setting settings[] = {
    S("rmem_default", rmem_default, 1, 2304, INT32_MAX),
    S("rmem_max", rmem_max, 1, 2304, INT32_MAX),
    S("somaxconn", somaxconn, 1, 0, INT32_MAX),
    S("wmem_default", wmem_default, 1, 4608, INT32_MAX),
    S("wmem_max", wmem_max, 1, 4608, INT32_MAX),
    S("optmem_max", optmem_max, 1, 0, INT32_MAX),
    S("igmp_max_memberships", igmp_max_memberships, 1, 0, INT32_MAX),
    S("ip_default_ttl", default_ttl, 1, 1, 255),
    S("ip_local_port_range", port_first, 2, 1, 65535),
    S("ip_nonlocal_bind", nonlocal_bind, 1, 0, 1),
    S("ip_unprivileged_port_start", unprivileged_port_start, 1, 0, 65535),
    S("ping_group_range", ping_group_first, 2, 0, UINT32_MAX - 1),
    S("tcp_abort_on_overflow", tcp_abort_on_overflow, 1, 0, 255),
    S("tcp_fin_timeout", tcp_fin_timeout, 1, 0, INT32_MAX / 1000),
    S("tcp_keepalive_intvl", tcp_keepalive_intvl, 1, 1, INT32_MAX / 1000),
    S("tcp_keepalive_probes", tcp_keepalive_probes, 1, 0, 255),
    S("tcp_keepalive_time", tcp_keepalive_time, 1, 1, INT32_MAX / 1000),
    S("tcp_max_syn_backlog", tcp_max_syn_backlog, 1, 0, INT32_MAX),
    S("tcp_rmem", tcp_rmem, 3, 1, INT32_MAX),
    S("tcp_syn_retries", tcp_syn_retries, 1, 1, 127),
    S("tcp_wmem", tcp_wmem, 3, 1, INT32_MAX),
    S("bindv6only", bindv6only, 1, 0, 1),
    S("hop_limit", hop_limit, 1, 1, 255),
    S("6", nonlocal_bind6, 1, 0, 1), // ip_nonlocal_bind below ipv6
};

static const struct setting *setting_of(const char *name) {
    const struct setting *s = settings;
    while (strcmp(s->name, name) != 0) // every file of SETTING() is in the table
        s++;
    return s;
}

static void print_setting(struct seqbuf *s, const struct setting *e) {
    for (unsigned i = 0; i < e->count; i++)
        seq_printf(s, "%s%u", i ? "\t" : "", READ_ONCE(e->value[i]));
    seq_puts(s, "\n");
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n'; }

// As many numbers as are there; those that are not stay.
static long store(const struct setting *e, const char *text) {
    uint32_t new[3];
    unsigned n = 0;
    for (;; n++) {
        char digits[16];
        uint64_t value;
        size_t len = 0;
        while (is_blank(*text))
            text++;
        if (!*text || n == e->count)
            break;
        while (text[len] && !is_blank(text[len]))
            len++;
        if (len >= sizeof(digits))
            return -EINVAL;
        memcpy(digits, text, len);
        digits[len] = '\0';
        if (!str_to_u64(digits, &value) || value < e->least || value > e->most)
            return -EINVAL;
        new[n] = (uint32_t)value;
        text += len;
    }
    if (!n)
        return -EINVAL;
    bool range = e->value == &net_settings.port_first || e->value == &net_settings.ping_group_first;
    if (range && n < 2) // both ends at once
        return -EINVAL;
    // An end before the beginning is an error of ports; of groups it means none.
    if (e->value == &net_settings.port_first && new[0] > new[1])
        return -EINVAL;
    if (e->value == &net_settings.ping_group_first && new[0] > new[1]) {
        new[0] = 1;
        new[1] = 0;
    }
    for (unsigned i = 0; i < n; i++)
        WRITE_ONCE(e->value[i], new[i]);
    return 0;
}

static int show_setting(struct seqbuf *s, struct proc_ref *r) {
    print_setting(s, setting_of(r->item->entry->name));
    return 0;
}
static long store_setting(struct proc_ref *r, const char *text, size_t len) {
    return store(setting_of(r->item->entry->name), text);
}
static int show_nonlocal6(struct seqbuf *s, struct proc_ref *r) {
    print_setting(s, setting_of("6"));
    return 0;
}
static long store_nonlocal6(struct proc_ref *r, const char *text, size_t len) { return store(setting_of("6"), text); }

#define READ_ONLY(nm) PROC_FILE(nm, show_setting)
#define SETTING(nm)                                                                                                    \
    { .name = (nm), .mode = S_IFREG | 0644, .show = show_setting, .store = store_setting }

// --- What is as it is ---

struct fixed {
    const char *name, *text;
};
static const struct fixed fixed[] = {
    // net.core
    {"busy_poll", "0"},
    {"busy_read", "0"},
    {"default_qdisc", "noqueue"},
    {"dev_weight", "64"},
    {"netdev_budget", "64"},
    {"netdev_max_backlog", "1000"},
    {"rps_sock_flow_entries", "0"},
    // net.ipv4
    {"icmp_echo_ignore_all", "0"},
    {"icmp_echo_ignore_broadcasts", "1"},
    {"ip_dynaddr", "0"},
    {"ip_forward", "0"},
    {"ip_local_reserved_ports", ""},
    {"ip_no_pmtu_disc", "0"},
    {"ipfrag_time", "30"},
    {"tcp_allowed_congestion_control", "reno"},
    {"tcp_available_congestion_control", "reno"},
    {"tcp_congestion_control", "reno"},
    {"tcp_dsack", "0"},
    {"tcp_ecn", "0"},
    {"tcp_fastopen", "0"},
    {"tcp_fack", "0"},
    {"tcp_l3mdev_accept", "0"},
    {"tcp_low_latency", "0"},
    {"tcp_max_tw_buckets", "32768"},
    {"tcp_moderate_rcvbuf", "1"},
    {"tcp_mtu_probing", "0"},
    {"tcp_no_metrics_save", "1"},
    {"tcp_orphan_retries", "0"},
    {"tcp_retries1", "3"},
    {"tcp_retries2", "12"},
    {"tcp_rfc1337", "0"},
    {"tcp_sack", "1"},
    {"tcp_slow_start_after_idle", "0"},
    {"tcp_synack_retries", "5"},
    {"tcp_syncookies", "0"},
    {"tcp_timestamps", "1"},
    {"tcp_tw_reuse", "0"},
    {"tcp_window_scaling", "1"},
    {"udp_rmem_min", "4096"},
    {"udp_wmem_min", "4096"},
    // net.ipv4.conf.*, net.ipv6.conf.*
    {"accept_dad", "1"},
    {"accept_local", "0"},
    {"accept_ra", "1"},
    {"accept_redirects", "0"},
    {"accept_source_route", "0"},
    {"addr_gen_mode", "0"},
    {"arp_announce", "0"},
    {"arp_filter", "0"},
    {"arp_ignore", "0"},
    {"autoconf", "1"},
    {"dad_transmits", "1"},
    {"disable_ipv6", "0"},
    {"forwarding", "0"},
    {"log_martians", "0"},
    {"promote_secondaries", "0"},
    {"proxy_arp", "0"},
    {"proxy_ndp", "0"},
    {"route_localnet", "0"},
    {"router_solicitations", "3"},
    {"rp_filter", "0"},
    {"send_redirects", "0"},
    {"src_valid_mark", "0"},
    {"use_tempaddr", "0"},
    // neigh.default
    {"gc_thresh1", "64"},
    {"gc_thresh2", "64"},
    {"gc_thresh3", "64"},
    {"max_dgram_qlen", "10"},
};

static int show_fixed(struct seqbuf *s, struct proc_ref *r) {
    const struct fixed *f = fixed;
    while (strcmp(f->name, r->item->entry->name) != 0) // every file of FIXED() is in the table
        f++;
    seq_printf(s, "%s\n", f->text);
    return 0;
}
#define FIXED(nm) PROC_FILE(nm, show_fixed)

// In pages: the memory that the network may have altogether (net/lwip/memory.c).
static int show_tcp_mem(struct seqbuf *s, struct proc_ref *r) {
    unsigned long most = page_total() / 8;
    seq_printf(s, "%lu\t%lu\t%lu\n", most / 2, most / 4 * 3, most);
    return 0;
}

static int show_mtu(struct seqbuf *s, struct proc_ref *r) {
    unsigned mtu = 1280;
    if (r->item->fd > 0 && net_start() == 0) {
        net_lock();
        const struct net_interface *i = net_interface_find(r->item->fd);
        mtu = i ? i->mtu : mtu;
        net_unlock();
    }
    seq_printf(s, "%u\n", mtu);
    return 0;
}

// --- The interfaces ---

static int next_interface(struct proc_ref *dir, int from) {
    if (net_start() < 0)
        return -1;
    net_lock();
    bool found = net_interface_find(MAX(from, 1));
    net_unlock();
    return found ? MAX(from, 1) : -1;
}

static void interface_name(int n, char *buf, size_t size) {
    net_lock();
    const struct net_interface *i = net_interface_find(n);
    str_copy(buf, i ? i->name : "", size);
    net_unlock();
}

static const struct proc_entry conf4_entries[] = {
    FIXED("accept_local"),   FIXED("accept_redirects"), FIXED("accept_source_route"),
    FIXED("arp_announce"),   FIXED("arp_filter"),       FIXED("arp_ignore"),
    FIXED("forwarding"),     FIXED("log_martians"),     FIXED("promote_secondaries"),
    FIXED("proxy_arp"),      FIXED("route_localnet"),   FIXED("rp_filter"),
    FIXED("send_redirects"), FIXED("src_valid_mark"),   {.name = NULL},
};
static const struct proc_entry conf4_entry = PROC_DIR("conf", conf4_entries);
static const struct proc_numbers conf4_numbers = {
    .next = next_interface, .member = &conf4_entry, .kind = NUMBER_FD, .prefix = "", .print = interface_name};
static const struct proc_entry conf4_always[] = {
    PROC_DIR("all", conf4_entries), PROC_DIR("default", conf4_entries), {.name = NULL}};

static const struct proc_entry conf6_entries[] = {
    FIXED("accept_dad"),           FIXED("accept_ra"),         FIXED("accept_redirects"),
    FIXED("accept_source_route"),  FIXED("addr_gen_mode"),     FIXED("autoconf"),
    FIXED("dad_transmits"),        FIXED("disable_ipv6"),      FIXED("forwarding"),
    SETTING("hop_limit"),          PROC_FILE("mtu", show_mtu), FIXED("proxy_ndp"),
    FIXED("router_solicitations"), FIXED("use_tempaddr"),      {.name = NULL},
};
static const struct proc_entry conf6_entry = PROC_DIR("conf", conf6_entries);
static const struct proc_numbers conf6_numbers = {
    .next = next_interface, .member = &conf6_entry, .kind = NUMBER_FD, .prefix = "", .print = interface_name};
static const struct proc_entry conf6_always[] = {
    PROC_DIR("all", conf6_entries), PROC_DIR("default", conf6_entries), {.name = NULL}};

// --- The tree ---

static const struct proc_entry neigh_default[] = {
    FIXED("gc_thresh1"), FIXED("gc_thresh2"), FIXED("gc_thresh3"), {.name = NULL}};
static const struct proc_entry neigh_entries[] = {PROC_DIR("default", neigh_default), {.name = NULL}};

static const struct proc_entry core_entries[] = {
    FIXED("busy_poll"),     FIXED("busy_read"),
    FIXED("default_qdisc"), FIXED("dev_weight"),
    FIXED("netdev_budget"), FIXED("netdev_max_backlog"),
    SETTING("optmem_max"),  SETTING("rmem_default"),
    SETTING("rmem_max"),    FIXED("rps_sock_flow_entries"),
    SETTING("somaxconn"),   SETTING("wmem_default"),
    SETTING("wmem_max"),    {.name = NULL},
};

static const struct proc_entry ipv4_entries[] = {
    {.name = "conf", .mode = S_IFDIR | 0555, .children = conf4_always, .numbers = &conf4_numbers},
    FIXED("icmp_echo_ignore_all"),
    FIXED("icmp_echo_ignore_broadcasts"),
    SETTING("igmp_max_memberships"),
    SETTING("ip_default_ttl"),
    FIXED("ip_dynaddr"),
    FIXED("ip_forward"),
    SETTING("ip_local_port_range"),
    FIXED("ip_local_reserved_ports"),
    FIXED("ip_no_pmtu_disc"),
    SETTING("ip_nonlocal_bind"),
    SETTING("ip_unprivileged_port_start"),
    FIXED("ipfrag_time"),
    PROC_DIR("neigh", neigh_entries),
    SETTING("ping_group_range"),
    SETTING("tcp_abort_on_overflow"),
    FIXED("tcp_allowed_congestion_control"),
    FIXED("tcp_available_congestion_control"),
    FIXED("tcp_congestion_control"),
    FIXED("tcp_dsack"),
    FIXED("tcp_ecn"),
    FIXED("tcp_fack"),
    FIXED("tcp_fastopen"),
    SETTING("tcp_fin_timeout"),
    SETTING("tcp_keepalive_intvl"),
    SETTING("tcp_keepalive_probes"),
    SETTING("tcp_keepalive_time"),
    FIXED("tcp_l3mdev_accept"),
    FIXED("tcp_low_latency"),
    SETTING("tcp_max_syn_backlog"),
    FIXED("tcp_max_tw_buckets"),
    PROC_FILE("tcp_mem", show_tcp_mem),
    FIXED("tcp_moderate_rcvbuf"),
    FIXED("tcp_mtu_probing"),
    FIXED("tcp_no_metrics_save"),
    FIXED("tcp_orphan_retries"),
    FIXED("tcp_retries1"),
    FIXED("tcp_retries2"),
    FIXED("tcp_rfc1337"),
    READ_ONLY("tcp_rmem"),
    FIXED("tcp_sack"),
    FIXED("tcp_slow_start_after_idle"),
    SETTING("tcp_syn_retries"),
    FIXED("tcp_synack_retries"),
    FIXED("tcp_syncookies"),
    FIXED("tcp_timestamps"),
    FIXED("tcp_tw_reuse"),
    FIXED("tcp_window_scaling"),
    READ_ONLY("tcp_wmem"),
    FIXED("udp_rmem_min"),
    FIXED("udp_wmem_min"),
    {.name = NULL},
};

static const struct proc_entry ipv6_entries[] = {
    SETTING("bindv6only"),
    {.name = "conf", .mode = S_IFDIR | 0555, .children = conf6_always, .numbers = &conf6_numbers},
    {.name = "ip_nonlocal_bind", .mode = S_IFREG | 0644, .show = show_nonlocal6, .store = store_nonlocal6},
    PROC_DIR("neigh", neigh_entries),
    {.name = NULL},
};

static const struct proc_entry unix_entries[] = {FIXED("max_dgram_qlen"), {.name = NULL}};

const struct proc_entry proc_sys_net_entries[] = {
    PROC_DIR("core", core_entries),
    PROC_DIR("ipv4", ipv4_entries),
    PROC_DIR("ipv6", ipv6_entries),
    PROC_DIR("unix", unix_entries),
    {.name = NULL},
};
