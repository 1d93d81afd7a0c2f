/*
 * The guest's network: interfaces (--net, --ip, --ip6, --gateway, --mac), names (--dns, --dns-search, --add-host) and published ports (-p).
 * Parsed from the words of the command line, told to the guest as records of its configuration (docs/boot-protocol.md), and
 * to QEMU as devices.
 */
#pragma once

#include <netinet/in.h>
#include <stdio.h>

#include "tools/ports.h"

enum interface_kind { INTERFACE_USER, INTERFACE_TAP };

/* An address with the length of its network's prefix, in one family. */
struct address {
    char *text; /* as it was given or made, without the prefix; NULL: not given */
    unsigned prefix;
};

struct interface {
    enum interface_kind kind;
    char *tap;              /* the host's interface */
    int fd;                 /* the open tap, or -1 */
    unsigned mtu;           /* 0: the usual one */
    struct address ip, ip6; /* text is NULL: what is right for the kind */
    char *gateway, *gateway6;
    bool no_ip, no_ip6, dhcp; /* --ip none, --ip6 none, --ip dhcp */
    char *mac;
    char *vhost; /* "on", "off", or NULL: where it works */
};

/* All zero is none. */
struct network {
    struct interface *item;
    size_t count;
    bool none;                         /* --net none */
    bool pending;                      /* item[0] was made by --ip and its like before any --net */
    struct strings dns, search, hosts; /* hosts: "IP NAME" */
    struct strings named;              /* --add-host as it was given */
    struct ports ports;
};

/* The options, as words behind them; die when a word is wrong. Those of an interface are for the --net before them. */
void network_add(struct network *network, const char *word);
void network_set_ip(struct network *network, const char *word);
void network_set_ip6(struct network *network, const char *word);
void network_set_gateway(struct network *network, const char *word);
void network_set_mac(struct network *network, const char *word);
void network_add_dns(struct network *network, const char *word);
void network_add_search(struct network *network, const char *word);
void network_add_host(struct network *network, const char *word);

/* When all options are read: user networking unless something else was said, and every interface complete. */
void network_complete(struct network *network);

/* Opens the taps, and sees that the ports are free. Dies when that cannot be. Not for --dry-run. */
void network_open(struct network *network);

/* In knarr, when QEMU runs: it has the taps now. */
void network_close(struct network *network);

/* The records net=, dns=, search= and hosts=. */
void network_config(const struct network *network, FILE *config);

/* QEMU's options; see mounts_command. kvm: whether the machine is accelerated. */
void network_command(const struct network *network, bool kvm, const char *bus, const char *more,
                     struct strings *command);
