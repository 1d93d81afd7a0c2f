// /sys/class/net: links to a directory for each interface, below /sys/devices/virtual/net for the loopback, below /sys/devices/platform/net for
// cards. What a directory is about is in its items' fd: the interface's index.
#include "fs/sysfs_net.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "net/inet/interface.h"
#include "net/netlink/netlink.h"

// --- Values ---

#define VALUE(fn, ...)                                                                                                 \
    static int fn(struct seqbuf *s, struct proc_ref *r) {                                                              \
        net_lock();                                                                                                    \
        const struct net_interface *i = net_interface_find(r->item->fd);                                               \
        if (i)                                                                                                         \
            seq_printf(s, __VA_ARGS__);                                                                                \
        net_unlock();                                                                                                  \
        return i ? 0 : -ENODEV;                                                                                        \
    }

static const uint8_t *mac_of(const struct net_interface *i) {
    static const uint8_t zero[6];
    return i->device ? i->device->mac : zero;
}
static const char *operstate(const struct net_interface *i) {
    unsigned state = link_operstate(i);
    return state == IF_OPER_UP ? "up" : state == IF_OPER_DOWN ? "down" : "unknown";
}

#define MAC "%02x:%02x:%02x:%02x:%02x:%02x\n"
VALUE(show_address, MAC, mac_of(i)[0], mac_of(i)[1], mac_of(i)[2], mac_of(i)[3], mac_of(i)[4], mac_of(i)[5])
VALUE(show_broadcast, "%s\n", i->device ? "ff:ff:ff:ff:ff:ff" : "00:00:00:00:00:00")
VALUE(show_carrier_changes, "%d\n", i->device ? 1 : 0)
VALUE(show_flags, "0x%x\n", link_flags(i) & 0xffff & ~(unsigned)IFF_RUNNING)
VALUE(show_ifindex, "%d\n", i->index)
VALUE(show_mtu, "%u\n", i->mtu)
VALUE(show_operstate, "%s\n", operstate(i))
VALUE(show_type, "%d\n", i->device ? ARPHRD_ETHER : ARPHRD_LOOPBACK)
VALUE(show_uevent, "INTERFACE=%s\nIFINDEX=%d\n", i->name, i->index)
VALUE(show_addr_assign, "%d\n", 0)
VALUE(show_addr_len, "%d\n", 6)
VALUE(show_hex_zero, "0x0\n")
VALUE(show_zero, "0\n")
VALUE(show_nothing, "\n")
VALUE(show_queue_len, "1000\n")

#define STATISTIC(fn, value) VALUE(fn, "%lu\n", (unsigned long)net_interface_statistics(i)->value)
STATISTIC(show_rx_bytes, rx_bytes)
STATISTIC(show_rx_packets, rx_packets)
STATISTIC(show_rx_errors, rx_errors)
STATISTIC(show_rx_dropped, rx_dropped)
STATISTIC(show_tx_bytes, tx_bytes)
STATISTIC(show_tx_packets, tx_packets)
STATISTIC(show_tx_errors, tx_errors)
STATISTIC(show_tx_dropped, tx_dropped)
STATISTIC(show_multicast, multicast)

// Those that an interface may not answer: while it is down, or without a cable.
static int of_link(struct seqbuf *s, struct proc_ref *r, const char *text, bool needs_device) {
    net_lock();
    const struct net_interface *i = net_interface_find(r->item->fd);
    bool answers = i && i->up && (i->device || !needs_device), on = i && (!i->device || i->device->link);
    net_unlock();
    if (!answers)
        return i ? -EINVAL : -ENODEV;
    seq_printf(s, "%s\n", text ? text : on ? "1" : "0");
    return 0;
}
static int show_carrier(struct seqbuf *s, struct proc_ref *r) { return of_link(s, r, NULL, false); }
static int show_dormant(struct seqbuf *s, struct proc_ref *r) { return of_link(s, r, "0", false); }
static int show_speed(struct seqbuf *s, struct proc_ref *r) { return of_link(s, r, "-1", true); }
static int show_duplex(struct seqbuf *s, struct proc_ref *r) { return of_link(s, r, "unknown", true); }

// --- The directory of an interface ---

static const struct proc_entry statistics_entries[] = {
    PROC_FILE("collisions", show_zero),
    PROC_FILE("multicast", show_multicast),
    PROC_FILE("rx_bytes", show_rx_bytes),
    PROC_FILE("rx_compressed", show_zero),
    PROC_FILE("rx_crc_errors", show_zero),
    PROC_FILE("rx_dropped", show_rx_dropped),
    PROC_FILE("rx_errors", show_rx_errors),
    PROC_FILE("rx_fifo_errors", show_zero),
    PROC_FILE("rx_frame_errors", show_zero),
    PROC_FILE("rx_length_errors", show_zero),
    PROC_FILE("rx_missed_errors", show_zero),
    PROC_FILE("rx_nohandler", show_zero),
    PROC_FILE("rx_over_errors", show_zero),
    PROC_FILE("rx_packets", show_rx_packets),
    PROC_FILE("tx_aborted_errors", show_zero),
    PROC_FILE("tx_bytes", show_tx_bytes),
    PROC_FILE("tx_carrier_errors", show_zero),
    PROC_FILE("tx_compressed", show_zero),
    PROC_FILE("tx_dropped", show_tx_dropped),
    PROC_FILE("tx_errors", show_tx_errors),
    PROC_FILE("tx_fifo_errors", show_zero),
    PROC_FILE("tx_heartbeat_errors", show_zero),
    PROC_FILE("tx_packets", show_tx_packets),
    PROC_FILE("tx_window_errors", show_zero),
    {.name = NULL},
};
static const struct proc_entry queue_entries[] = {PROC_FILE("traffic_class", show_nothing), {.name = NULL}};
static const struct proc_entry queues_entries[] = {
    PROC_DIR("rx-0", queue_entries), PROC_DIR("tx-0", queue_entries), {.name = NULL}};
static const struct proc_entry interface_entries[] = {
    PROC_FILE("addr_assign_type", show_addr_assign),
    PROC_FILE("addr_len", show_addr_len),
    PROC_FILE("address", show_address),
    PROC_FILE("broadcast", show_broadcast),
    PROC_FILE("carrier", show_carrier),
    PROC_FILE("carrier_changes", show_carrier_changes),
    PROC_FILE("dev_id", show_hex_zero),
    PROC_FILE("dev_port", show_zero),
    PROC_FILE("dormant", show_dormant),
    PROC_FILE("duplex", show_duplex),
    PROC_FILE("flags", show_flags),
    PROC_FILE("ifalias", show_nothing),
    PROC_FILE("ifindex", show_ifindex),
    PROC_FILE("iflink", show_ifindex),
    PROC_FILE("link_mode", show_zero),
    PROC_FILE("mtu", show_mtu),
    PROC_FILE("netdev_group", show_zero),
    PROC_FILE("operstate", show_operstate),
    PROC_DIR("queues", queues_entries),
    PROC_FILE("speed", show_speed),
    PROC_DIR("statistics", statistics_entries),
    PROC_FILE("tx_queue_len", show_queue_len),
    PROC_FILE("type", show_type),
    PROC_FILE("uevent", show_uevent),
    {.name = NULL},
};
static const struct proc_entry interface_entry = PROC_DIR("interface", interface_entries);

// --- Which there are ---

static int next_of(int from, bool lo, bool cards) {
    int found = -1;
    if (net_start() < 0)
        return -1;
    net_lock();
    for (const struct net_interface *i = net_interface_next(NULL); i && found < 0; i = i->next)
        if (i->index >= from && (i->device ? cards : lo))
            found = i->index;
    net_unlock();
    return found;
}
static int next_any(struct proc_ref *dir, int from) { return next_of(from, true, true); }
static int next_virtual(struct proc_ref *dir, int from) { return next_of(from, true, false); }
static int next_card(struct proc_ref *dir, int from) { return next_of(from, false, true); }

static void print_name(int n, char *buf, size_t size) {
    net_lock();
    const struct net_interface *i = net_interface_find(n);
    str_copy(buf, i ? i->name : "", size);
    net_unlock();
}

static long link_text(struct proc_ref *r, char *buf, size_t size) {
    char name[IFNAMSIZ];
    print_name(r->item->fd, name, sizeof(name));
    return snprintf(buf, size, "../../devices/%s/net/%s", r->item->fd == 1 ? "virtual" : "platform", name);
}
static const struct proc_entry link_entry = {.name = "interface", .mode = S_IFLNK | 0777, .readlink = link_text};

const struct proc_numbers sysfs_net_links = {
    .next = next_any, .member = &link_entry, .kind = NUMBER_FD, .prefix = "", .print = print_name};
static const struct proc_numbers virtual_numbers = {
    .next = next_virtual, .member = &interface_entry, .kind = NUMBER_FD, .prefix = "", .print = print_name};
static const struct proc_numbers card_numbers = {
    .next = next_card, .member = &interface_entry, .kind = NUMBER_FD, .prefix = "", .print = print_name};

const struct proc_entry sysfs_virtual_entries[] = {{.name = "net", .mode = S_IFDIR | 0555, .numbers = &virtual_numbers},
                                                   {.name = NULL}};
const struct proc_entry sysfs_platform_entries[] = {{.name = "net", .mode = S_IFDIR | 0555, .numbers = &card_numbers},
                                                    {.name = NULL}};
