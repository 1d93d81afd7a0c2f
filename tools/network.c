/*
 * Interfaces, names and ports for the guest; see the header.
 */
#include "tools/network.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { PREFIX = 24, PREFIX6 = 64, MTU_LEAST = 68, MTU_MOST = 65535 };

/* --- Words --- */

static bool is_ip(int family, const char *text) {
    struct in6_addr ignored;

    return inet_pton(family, text, &ignored) == 1;
}

static struct interface *add(struct network *network, enum interface_kind kind) {
    network->item = xrealloc(network->item, (network->count + 1) * sizeof(struct interface));
    struct interface *interface = &network->item[network->count++];
    *interface = (struct interface){.kind = kind, .fd = -1};
    return interface;
}

/* The interface that an option without a name is for. */
static struct interface *current(struct network *network) {
    if (network->count == 0) {
        add(network, INTERFACE_USER);
        network->pending = true;
    }
    return &network->item[network->count - 1];
}

/* ADDRESS[/PREFIX] */
static struct address parse_address(const char *option, const char *word, int family) {
    char *copy = xstrdup(word), *slash = strchr(copy, '/'), *end = NULL;
    unsigned most = family == AF_INET ? 32 : 128;
    struct address address = {.text = copy, .prefix = family == AF_INET ? PREFIX : PREFIX6};

    if (slash) {
        *slash++ = '\0';
        unsigned long prefix = strtoul(slash, &end, 10);
        if (!isdigit((unsigned char)*slash) || *end != '\0' || prefix < 1 || prefix > most)
            die(STATUS_FAILED, "%s %s: no length of a prefix from 1 to %u", option, word, most);
        address.prefix = (unsigned)prefix;
    }
    if (!is_ip(family, copy))
        die(STATUS_FAILED, "%s %s: not an %s address", option, word, family == AF_INET ? "IPv4" : "IPv6");
    return address;
}

static void set_ip(struct interface *interface, const char *word) {
    interface->no_ip = strcmp(word, "none") == 0;
    interface->dhcp = strcmp(word, "dhcp") == 0;
    interface->ip = (struct address){0};
    if (!interface->no_ip && !interface->dhcp)
        interface->ip = parse_address("--ip", word, AF_INET);
}

static void set_ip6(struct interface *interface, const char *word) {
    interface->no_ip6 = strcmp(word, "none") == 0;
    interface->ip6 = (struct address){0};
    if (!interface->no_ip6 && strcmp(word, "auto") != 0)
        interface->ip6 = parse_address("--ip6", word, AF_INET6);
}

static void set_gateway(struct interface *interface, const char *word) {
    if (is_ip(AF_INET, word))
        interface->gateway = xstrdup(word);
    else if (is_ip(AF_INET6, word))
        interface->gateway6 = xstrdup(word);
    else
        die(STATUS_FAILED, "--gateway %s: not an address", word);
}

static void set_mac(struct interface *interface, const char *word) {
    unsigned byte[6];
    int length = 0;

    if (sscanf(word, "%2x:%2x:%2x:%2x:%2x:%2x%n", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4], &byte[5],
               &length) != 6 ||
        word[length] != '\0' || length != 17)
        die(STATUS_FAILED, "--mac %s: not of the form 02:00:00:00:00:01", word);
    if (byte[0] & 1)
        die(STATUS_FAILED, "--mac %s: an address of a group, not of an interface", word);
    interface->mac = xstrdup(word);
}

static void set_mtu(struct interface *interface, const char *word) {
    char *end;
    unsigned long mtu = strtoul(word, &end, 10);

    if (!isdigit((unsigned char)*word) || *end != '\0' || mtu < MTU_LEAST || mtu > MTU_MOST)
        die(STATUS_FAILED, "--net: mtu=%s is not from %d to %d", word, MTU_LEAST, MTU_MOST);
    interface->mtu = (unsigned)mtu;
}

static void set(struct interface *interface, const char *word, const char *name, const char *value) {
    if (strcmp(name, "ip") == 0)
        set_ip(interface, value);
    else if (strcmp(name, "ip6") == 0)
        set_ip6(interface, value);
    else if (strcmp(name, "gw") == 0 || strcmp(name, "gw6") == 0)
        set_gateway(interface, value);
    else if (strcmp(name, "mac") == 0)
        set_mac(interface, value);
    else if (strcmp(name, "mtu") == 0)
        set_mtu(interface, value);
    else if (strcmp(name, "vhost") == 0 && (strcmp(value, "on") == 0 || strcmp(value, "off") == 0))
        interface->vhost = xstrdup(value);
    else
        die(STATUS_FAILED, "--net %s: no such option %s (there are ip, ip6, gw, mac, mtu, vhost=on|off)", word, name);
}

void network_add(struct network *network, const char *word) {
    char *copy = xstrdup(word), *rest = copy;
    const char *kind = strsep(&rest, ",");

    if (strcmp(kind, "none") == 0) {
        if (rest || network->count > 0)
            die(STATUS_FAILED, "--net none: there are other options for an interface");
        network->none = true;
        free(copy);
        return;
    }
    if (network->none)
        die(STATUS_FAILED, "--net %s: --net none has been said already", word);
    bool is_tap = strncmp(kind, "tap=", 4) == 0;
    if (!is_tap && strcmp(kind, "user") != 0)
        die(STATUS_FAILED, "--net %s: no such network (there are user, tap=NAME, none)", word);
    if (is_tap && (kind[4] == '\0' || strlen(kind + 4) >= IFNAMSIZ || strchr(kind, '/')))
        die(STATUS_FAILED, "--net %s: %s is not the name of an interface", word, kind + 4);

    if (!network->pending)
        add(network, INTERFACE_USER);
    network->pending = false;
    struct interface *interface = &network->item[network->count - 1];
    if (is_tap) {
        interface->kind = INTERFACE_TAP;
        interface->tap = xstrdup(kind + 4);
    }
    for (char *option; (option = strsep(&rest, ","));) {
        char *value = strchr(option, '=');
        if (value)
            *value++ = '\0';
        set(interface, word, option, value ? value : "");
    }
    free(copy);
}

void network_set_ip(struct network *network, const char *word) { set_ip(current(network), word); }
void network_set_ip6(struct network *network, const char *word) { set_ip6(current(network), word); }
void network_set_gateway(struct network *network, const char *word) { set_gateway(current(network), word); }
void network_set_mac(struct network *network, const char *word) { set_mac(current(network), word); }

void network_add_dns(struct network *network, const char *word) {
    if (!is_ip(AF_INET, word) && !is_ip(AF_INET6, word))
        die(STATUS_FAILED, "--dns %s: not an address", word);
    strings_add(&network->dns, "%s", word);
}

void network_add_search(struct network *network, const char *word) {
    if (*word == '\0' || strpbrk(word, " \t\n"))
        die(STATUS_FAILED, "--dns-search %s: not the name of a domain", word);
    strings_add(&network->search, "%s", word);
}

/* What it is in /etc/hosts is made at the end: it may name the gateway. */
void network_add_host(struct network *network, const char *word) {
    size_t name = strcspn(word, ":=");

    if (name == 0 || word[name] == '\0' || strpbrk(word, " \t\n"))
        die(STATUS_FAILED, "--add-host %s: not of the form NAME:IP", word);
    strings_add(&network->named, "%s", word);
}

/* --- What was not said --- */

/* The address at a place of the network that address is in: number 2 of 10.0.2.15/24 is 10.0.2.2. Allocated. */
static char *neighbour(const struct address *address, int family, unsigned number) {
    unsigned size = family == AF_INET ? 4 : 16;
    uint8_t bytes[16];
    char text[INET6_ADDRSTRLEN];

    inet_pton(family, address->text, bytes);
    for (unsigned bit = address->prefix; bit < size * 8; bit++)
        bytes[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
    for (unsigned i = 0; i < 2; i++)
        bytes[size - 1 - i] |= (uint8_t)(number >> 8 * i);
    inet_ntop(family, bytes, text, sizeof(text));
    return xstrdup(text);
}

static bool same_ip(int family, const char *one, const char *other) {
    uint8_t a[16] = {0}, b[16] = {0};

    return inet_pton(family, one, a) == 1 && inet_pton(family, other, b) == 1 && memcmp(a, b, sizeof(a)) == 0;
}

/* A place in the network for what QEMU plays there: gateway and name server. */
static char *free_neighbour(const struct address *address, int family, unsigned number, const char *taken) {
    for (;; number++) {
        char *text = neighbour(address, family, number);
        if (!same_ip(family, text, address->text) && !(taken && same_ip(family, text, taken)))
            return text;
        free(text);
    }
}

/* QEMU's user networking has addresses that are known beforehand, so that no boot waits for DHCP. */
static void complete_user(struct network *network, struct interface *interface, unsigned number, bool *routed,
                          bool *routed6) {
    if (interface->vhost)
        die(STATUS_FAILED, "--net user: vhost is for taps");
    if (interface->no_ip && interface->no_ip6)
        die(STATUS_FAILED, "--net user: neither IPv4 nor IPv6 is left (see --net none)");
    if (!interface->ip.text)
        interface->ip = (struct address){.text = xasprintf("10.0.%u.15", 2 + number), .prefix = PREFIX};
    if (!interface->ip6.text) {
        interface->ip6.text = number ? xasprintf("fec0:0:0:%x::15", number) : xstrdup("fec0::15");
        interface->ip6.prefix = PREFIX6;
    }
    if (interface->ip.prefix > 29 || interface->ip6.prefix > 120)
        die(STATUS_FAILED, "--ip: a network as small as that has no room for QEMU's gateway and name server");
    if (!interface->gateway && !*routed)
        interface->gateway = free_neighbour(&interface->ip, AF_INET, 2, NULL);
    if (!interface->gateway6 && !*routed6)
        interface->gateway6 = free_neighbour(&interface->ip6, AF_INET6, 2, NULL);
    if (network->dns.count == 0) {
        char *server = interface->no_ip ? free_neighbour(&interface->ip6, AF_INET6, 3, interface->gateway6)
                                        : free_neighbour(&interface->ip, AF_INET, 3, interface->gateway);
        strings_add(&network->dns, "%s", server);
        free(server);
    }
    *routed |= !interface->no_ip;
    *routed6 |= !interface->no_ip6;
    if (!interface->mac)
        interface->mac = xasprintf("52:54:00:12:34:%02x", 0x56 + number);
}

/* The same at each start, so that bridges, neighbours and DHCP servers know it again; another on each host. */
static void complete_tap(struct interface *interface) {
    char seed[128] = "";
    uint64_t hash = 0xcbf29ce484222325;
    int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);

    if (interface->mac)
        return;
    if (fd < 0 || read(fd, seed, 32) < 32)
        gethostname(seed, 64);
    if (fd >= 0)
        close(fd);
    strcat(seed, interface->tap); /* NOLINT: shorter than IFNAMSIZ */
    for (const char *c = seed; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 0x100000001b3;
    interface->mac =
        xasprintf("02:%02x:%02x:%02x:%02x:%02x", (unsigned)(hash >> 56), (unsigned)(hash >> 48) & 255,
                  (unsigned)(hash >> 40) & 255, (unsigned)(hash >> 32) & 255, (unsigned)(hash >> 24) & 255);
}

static void complete_hosts(struct network *network) {
    for (size_t i = 0; i < network->named.count; i++) {
        const char *word = network->named.item[i];
        size_t name = strcspn(word, ":=");
        char *ip = xstrdup(word + name + 1);
        size_t length = strlen(ip);

        if (strcmp(ip, "host-gateway") == 0) {
            if (network->count == 0 || !network->item[0].gateway)
                die(STATUS_FAILED, "--add-host %s: there is no gateway", word);
            free(ip);
            ip = xstrdup(network->item[0].gateway);
        } else if (*ip == '[' && ip[length - 1] == ']') {
            ip[length - 1] = '\0';
            memmove(ip, ip + 1, length - 1);
        }
        if (!is_ip(AF_INET, ip) && !is_ip(AF_INET6, ip))
            die(STATUS_FAILED, "--add-host %s: not of the form NAME:IP", word);
        strings_add(&network->hosts, "%s %.*s", ip, (int)name, word);
        free(ip);
    }
}

void network_complete(struct network *network) {
    bool routed = false, routed6 = false;
    unsigned users = 0;

    if (network->none && network->count > 0)
        die(STATUS_FAILED, "--net none: there are other options for an interface");
    if (!network->none && network->count == 0)
        add(network, INTERFACE_USER);
    for (size_t i = 0; i < network->count; i++) {
        routed |= network->item[i].gateway != NULL;
        routed6 |= network->item[i].gateway6 != NULL;
    }
    for (size_t i = 0; i < network->count; i++) {
        struct interface *interface = &network->item[i];
        if (interface->kind == INTERFACE_USER)
            complete_user(network, interface, users++, &routed, &routed6);
        else
            complete_tap(interface);
        for (size_t j = 0; j < i; j++) {
            const struct interface *other = &network->item[j];
            if (interface->tap && other->tap && strcmp(interface->tap, other->tap) == 0)
                die(STATUS_FAILED, "--net tap=%s: twice", interface->tap);
        }
    }
    if (network->ports.count > 0 && users == 0)
        die(STATUS_FAILED,
            "-p: only user networking has ports of the host; a guest on a tap has an address of its own");
    for (size_t i = 0; i < network->count && network->ports.count > 0; i++) {
        if (network->item[i].kind == INTERFACE_USER && network->item[i].no_ip)
            die(STATUS_FAILED, "-p: QEMU forwards ports over IPv4, and --ip none has been said");
        if (network->item[i].kind == INTERFACE_USER)
            break;
    }
    complete_hosts(network);
}

/* --- The host's side --- */

static void open_tap(struct interface *interface) {
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    const char *name = interface->tap;

    if (if_nametoindex(name) == 0) { /* or opening would make it, for those who may */
        die(STATUS_FAILED,
            "--net tap=%s: there is no such interface (ip tuntap add %s mode tap user %u; ip link set %s up)", name,
            name, getuid(), name);
    }
    int fd = open("/dev/net/tun", O_RDWR); /* for QEMU: not closed on exec */
    if (fd < 0)
        die(STATUS_FAILED, "--net tap=%s: /dev/net/tun: %s", name, strerror(errno));
    memcpy(request.ifr_name, name, strlen(name) + 1);
    int error = ioctl(fd, TUNSETIFF, &request) == 0 ? 0 : errno;
    if (error == EINVAL) { /* made for several queues, perhaps */
        request.ifr_flags |= IFF_MULTI_QUEUE;
        error = ioctl(fd, TUNSETIFF, &request) == 0 ? 0 : errno;
    }
    if (error == EBUSY)
        die(STATUS_FAILED, "--net tap=%s: another program has it open", name);
    if (error == EPERM)
        die(STATUS_FAILED, "--net tap=%s: not yours (ip tuntap add %s mode tap user %u)", name, name, getuid());
    if (error == EINVAL)
        die(STATUS_FAILED, "--net tap=%s: not a tap", name);
    if (error)
        die(STATUS_FAILED, "--net tap=%s: %s", name, strerror(error));

    int link = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (interface->mtu == 0 && link >= 0 && ioctl(link, SIOCGIFMTU, &request) == 0 && request.ifr_mtu != 1500)
        interface->mtu = (unsigned)request.ifr_mtu;
    if (link >= 0)
        close(link);
    interface->fd = fd;
}

void network_open(struct network *network) {
    for (size_t i = 0; i < network->count; i++) {
        if (network->item[i].kind == INTERFACE_TAP)
            open_tap(&network->item[i]);
    }
    ports_open(&network->ports);
}

void network_close(struct network *network) {
    for (size_t i = 0; i < network->count; i++) {
        if (network->item[i].fd >= 0)
            close(network->item[i].fd);
        network->item[i].fd = -1;
    }
}

/* --- The guest's configuration --- */

static void put_interface(const struct interface *interface, size_t number, FILE *config) {
    fprintf(config, "net=eth%zu", number);
    if (interface->no_ip)
        fprintf(config, " ip=none");
    else if (interface->ip.text)
        fprintf(config, " ip=%s/%u", interface->ip.text, interface->ip.prefix);
    else
        fprintf(config, " ip=dhcp");
    if (interface->gateway && !interface->no_ip)
        fprintf(config, " gw=%s", interface->gateway);
    if (interface->no_ip6)
        fprintf(config, " ip6=none");
    else if (interface->ip6.text)
        fprintf(config, " ip6=%s/%u", interface->ip6.text, interface->ip6.prefix);
    else
        fprintf(config, " ip6=auto");
    if (interface->gateway6 && !interface->no_ip6)
        fprintf(config, " gw6=%s", interface->gateway6);
    if (interface->mtu)
        fprintf(config, " mtu=%u", interface->mtu);
    fputc('\0', config);
}

void network_config(const struct network *network, FILE *config) {
    for (size_t i = 0; i < network->count; i++)
        put_interface(&network->item[i], i, config);
    for (size_t i = 0; i < network->dns.count; i++)
        fprintf(config, "dns=%s%c", network->dns.item[i], 0);
    for (size_t i = 0; i < network->search.count; i++)
        fprintf(config, "search=%s%c", network->search.item[i], 0);
    for (size_t i = 0; i < network->hosts.count; i++)
        fprintf(config, "hosts=%s%c", network->hosts.item[i], 0);
}

/* --- Devices --- */

/* What QEMU plays in a user network is where the guest is told that it is. */
static char *user_backend(const struct interface *interface, const struct ports *ports) {
    char *text = xstrdup("user"), *longer;

    if (interface->no_ip) {
        longer = xasprintf("%s,ipv4=off", text);
    } else {
        char *net = neighbour(&interface->ip, AF_INET, 0);
        char *host =
            interface->gateway ? xstrdup(interface->gateway) : free_neighbour(&interface->ip, AF_INET, 2, NULL);
        char *dns = free_neighbour(&interface->ip, AF_INET, 3, host);
        longer = xasprintf("%s,net=%s/%u,host=%s,dns=%s,dhcpstart=%s", text, net, interface->ip.prefix, host, dns,
                           interface->ip.text);
        free(net);
        free(host);
        free(dns);
    }
    free(text);
    text = longer;
    if (interface->no_ip6) {
        longer = xasprintf("%s,ipv6=off", text);
    } else {
        char *net = neighbour(&interface->ip6, AF_INET6, 0);
        char *host =
            interface->gateway6 ? xstrdup(interface->gateway6) : free_neighbour(&interface->ip6, AF_INET6, 2, NULL);
        char *dns = free_neighbour(&interface->ip6, AF_INET6, 3, host);
        longer = xasprintf("%s,ipv6-net=%s/%u,ipv6-host=%s,ipv6-dns=%s", text, net, interface->ip6.prefix, host, dns);
        free(net);
        free(host);
        free(dns);
    }
    free(text);
    char *rules = ports_rules(ports, interface->ip.text);
    text = xasprintf("%s%s", longer, rules);
    free(longer);
    free(rules);
    return text;
}

static char *tap_backend(const struct interface *interface, bool kvm) {
    bool vhost = kvm && access("/dev/vhost-net", R_OK | W_OK) == 0;

    if (interface->vhost)
        vhost = strcmp(interface->vhost, "on") == 0;
    if (interface->fd >= 0)
        return xasprintf("tap,fd=%d,vhost=%s", interface->fd, vhost ? "on" : "off");
    return xasprintf("tap,ifname=%s,script=no,downscript=no,vhost=%s", interface->tap, vhost ? "on" : "off");
}

void network_command(const struct network *network, bool kvm, const char *bus, const char *more,
                     struct strings *command) {
    static const struct ports no_ports;
    const struct ports *ports = &network->ports;

    for (size_t i = 0; i < network->count; i++) {
        const struct interface *interface = &network->item[i];
        bool is_user = interface->kind == INTERFACE_USER;
        char *backend = is_user ? user_backend(interface, ports) : tap_backend(interface, kvm);
        if (is_user) /* published at the first one */
            ports = &no_ports;
        strings_add(command, "-netdev");
        strings_add(command, "%s,id=net%zu", backend, i);
        strings_add(command, "-device");
        strings_add(command, "virtio-net-%s,netdev=net%zu,mac=%s%s%s", bus, i, interface->mac,
                    strcmp(bus, "pci") == 0 ? ",romfile=" : "", more);
        free(backend);
    }
}
