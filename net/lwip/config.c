// The network's configuration: records of the initrd, DHCP, router advertisements. Everything is read once, while the machine boots; an interface
// that no record names is configured by DHCP and by the routers.
// Records are kept as they are until the interfaces are there. Locks: the records are the boot's alone, name servers are under the core lock.
#include "net/lwip/config.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/threads/wait.h"
#include "kernel/time.h"
#include "kernel/uts.h"
#include "lwip/dhcp.h"
#include "lwip/ethip6.h"
#include "lwip/nd6.h"
#include "net/lwip/hooks.h"
#include "net/lwip/stack.h"

#define RECORDS_MOST 16 // of a kind
#define SERVERS_MOST 3  // MAXNS of the resolver
#define DHCP_SECONDS 10

enum kind { NET, DNS, SEARCH, HOSTS, KINDS };
static struct {
    char *of[KINDS][RECORDS_MOST];
    unsigned count[KINDS];
} *records;

static ip_addr_t servers[2][SERVERS_MOST]; // from DHCP, from routers
static char domain[128];                   // from DHCP
static struct waitq addressed = WAITQ_INIT(addressed), named = WAITQ_INIT(named);
static netif_ext_callback_t watcher;
static char hostname[__NEW_UTS_LEN + 1];

bool net_config_record(const char *name, char *value) {
    static const char *const names[KINDS] = {"net", "dns", "search", "hosts"};
    int kind = 0;
    while (kind < KINDS && strcmp(name, names[kind]) != 0)
        kind++;
    if (kind == KINDS)
        return false;
    if (!records && !(records = kzalloc(sizeof(*records))))
        log_err("configuration: no memory for %s=%s", name, value);
    else if (records->count[kind] == RECORDS_MOST)
        log_warn("configuration: too many records %s", name);
    else
        records->of[kind][records->count[kind]++] = value;
    return true;
}

static const char *record(enum kind kind, unsigned n) { return records && n < records->count[kind] ? records->of[kind][n] : NULL; }

// --- One interface ---
struct settings {
    bool dhcp, autoconf;
    ip4_addr_t ip, mask, gw;
    ip6_addr_t ip6, gw6;
    unsigned prefix6;
    uint32_t mtu;
};

// "10.0.2.15/24"; without a prefix the whole address.
static bool parse_prefix(char *s, unsigned most, unsigned *prefix) {
    char *slash = strchr(s, '/');
    uint64_t n = most;
    if (slash) {
        *slash = '\0';
        if (!str_to_u64(slash + 1, &n) || n > most)
            return false;
    }
    *prefix = (unsigned)n;
    return true;
}

static bool parse_word(struct settings *s, char *word) {
    char *value = strchr(word, '=');
    unsigned prefix;
    if (!value)
        return false;
    *value++ = '\0';
    if (strcmp(word, "ip") == 0) {
        s->dhcp = strcmp(value, "dhcp") == 0;
        if (s->dhcp || strcmp(value, "none") == 0)
            return true;
        if (!parse_prefix(value, 32, &prefix) || !ip4addr_aton(value, &s->ip))
            return false;
        s->mask.addr = prefix ? lwip_htonl(~0u << (32 - prefix)) : 0;
        return true;
    }
    if (strcmp(word, "gw") == 0)
        return ip4addr_aton(value, &s->gw);
    if (strcmp(word, "ip6") == 0) {
        s->autoconf = strcmp(value, "auto") == 0;
        if (s->autoconf || strcmp(value, "none") == 0)
            return true;
        return parse_prefix(value, 128, &s->prefix6) && ip6addr_aton(value, &s->ip6);
    }
    if (strcmp(word, "gw6") == 0)
        return ip6addr_aton(value, &s->gw6);
    uint64_t n;
    if (strcmp(word, "mtu") != 0 || !str_to_u64(value, &n) || n < 68 || n > 65535)
        return false;
    s->mtu = (uint32_t)n;
    return true;
}

// The record "eth0 ip=..." of the interface; without one DHCP and what the routers say.
static void find_settings(const char *name, struct settings *s) {
    size_t len = strlen(name);
    memset(s, 0, sizeof(*s));
    s->dhcp = s->autoconf = true;
    for (unsigned i = 0; record(NET, i); i++) {
        char *r = records->of[NET][i];
        if (strncmp(r, name, len) != 0 || (r[len] != ' ' && r[len] != '\0'))
            continue;
        s->dhcp = false;
        for (char *word = r + len, *next; *word; word = next) {
            next = word + 1;
            if (*word == ' ')
                continue;
            while (*next && *next != ' ')
                next++;
            if (*next)
                *next++ = '\0';
            if (!parse_word(s, word))
                log_warn("configuration: net=%s: \"%s\" is not understood", name, word);
        }
        return;
    }
}

static void configure6(struct net_interface *i, const struct settings *s) {
    struct netif *n = &i->netif;
    netif_set_ip6_autoconfig_enabled(n, s->autoconf);
    if (!s->autoconf && ip6_addr_isany(&s->ip6)) {
        n->rs_count = 0;
        return;
    }
    netif_create_ip6_linklocal_address(n, 1);
    if (!s->autoconf)
        n->rs_count = 0;
    if (ip6_addr_isany(&s->ip6))
        return;
    // Who configures it knows that nobody else has it: no time is spent on looking for others.
    s8_t k;
    if (netif_add_ip6_address(n, &s->ip6, &k) == ERR_OK && k >= 0) {
        netif_ip6_addr_set_valid_life(n, k, IP6_ADDR_LIFE_STATIC);
        netif_ip6_addr_set_pref_life(n, k, IP6_ADDR_LIFE_STATIC);
        netif_ip6_addr_set_state(n, k, IP6_ADDR_PREFERRED);
        netif_ip6_addr_set_state(n, 0, IP6_ADDR_PREFERRED);
        i->prefix6[k] = (uint8_t)s->prefix6;
    }
    i->gateway6 = s->gw6;
}

static void configure(struct net_interface *i) {
    struct settings s;
    struct netif *n = &i->netif;
    find_settings(i->name, &s);
    if (s.mtu && s.mtu <= i->device->mtu)
        i->mtu = n->mtu = (u16_t)s.mtu;
    netif_set_hostname(n, hostname);
    i->up = true;
    if (!ip4_addr_isany_val(s.ip))
        netif_set_addr(n, &s.ip, &s.mask, &s.gw);
    netif_set_up(n);
    configure6(i, &s);
    if (s.dhcp) {
        i->how = NET_DHCP;
        if (dhcp_start(n) != ERR_OK)
            log_err("%s: no memory for DHCP", i->name);
    }
    if (!netif_default)
        netif_set_default(n);
}

static void changed(struct netif *n, netif_nsc_reason_t reason, const netif_ext_callback_args_t *args) {
    net_timers_wanted = true;
    if (reason & (LWIP_NSC_IPV4_ADDRESS_CHANGED | LWIP_NSC_IPV4_SETTINGS_CHANGED))
        waitq_wake_all(&addressed);
}

void net_config_start(void) {
    struct net_device *dev = net_device_next(NULL);
    if (!dev)
        return;
    if (net_start() < 0) {
        log_err("network: no memory");
        return;
    }
    struct new_utsname uts;
    uts_get(&uts);
    str_copy(hostname, uts.nodename, sizeof(hostname));
    net_lock();
    netif_add_ext_callback(&watcher, changed);
    for (; dev; dev = net_device_next(dev))
        if (net_interface_create(dev) == 0)
            configure(netif_interface(netif_list));
    net_unlock();
}

// --- DHCP and routers ---
static bool waiting_for_address(void) {
    bool waiting = false;
    net_lock();
    for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i))
        waiting |= i->how == NET_DHCP && netif_is_link_up(&i->netif) && ip4_addr_isany_val(*netif_ip4_addr(&i->netif));
    net_unlock();
    return waiting;
}

void net_config_wait(void) {
    if (!net_config_any() || !waiting_for_address())
        return;
    if (wait_event_until(&addressed, !waiting_for_address(), time_monotonic() + DHCP_SECONDS * NSEC_PER_SEC, false) < 0)
        log_warn("network: no address from DHCP");
}

// lwIP's: DHCP's servers and those of router advertisements are numbered from 0. Of the latter one may be taken back (NULL).
void dns_setserver(u8_t n, const ip_addr_t *address) {
    if (n >= SERVERS_MOST)
        return;
    if (address)
        servers[IP_IS_V6(address) != 0][n] = *address;
    else
        ip_addr_set_any(true, &servers[1][n]);
    waitq_wake_all(&named);
}

// Routers' alone are asked for.
const ip_addr_t *dns_getserver(u8_t n) { return n < SERVERS_MOST ? &servers[1][n] : IP6_ADDR_ANY; }

// An option of a message of DHCP that lwIP does not read itself.
void net_dhcp_option(struct netif *n, u8_t option, u8_t len, const struct pbuf *p, u16_t at) {
    if (option == 15 && len < sizeof(domain)) { // the domain's name
        u16_t got = pbuf_copy_partial(p, domain, len, at);
        domain[got] = '\0';
        for (const char *c = domain; *c; c++) // it is to be written into a file
            if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '-' || *c == '.' || *c == '_'))
                domain[0] = '\0';
    }
}

// --- What the boot asks ---
bool net_config_any(void) {
    struct net_interface *lo = net_interface_next(NULL);
    return lo && net_interface_next(lo);
}

bool net_config_dns(unsigned n, ip_addr_t *address) {
    const char *r = record(DNS, 0);
    if (r)
        return (r = record(DNS, n)) && n < SERVERS_MOST && ipaddr_aton(r, address);
    for (unsigned v6 = 0; v6 < 2; v6++)
        for (unsigned i = 0; i < SERVERS_MOST; i++)
            if (!ip_addr_isany(&servers[v6][i]) && n-- == 0) {
                *address = servers[v6][i];
                return true;
            }
    return false;
}

void net_config_dns_wait(void) {
    ip_addr_t first;
    (void)wait_event_until(&named, net_config_dns(0, &first), NSEC_MAX, false);
    net_lock(); // all that came with it is there
    net_unlock();
}

const char *net_config_search(unsigned n) {
    const char *r = record(SEARCH, n);
    return r ? r : !record(SEARCH, 0) && n == 0 && domain[0] ? domain : NULL;
}

const char *net_config_hosts(unsigned n) { return record(HOSTS, n); }
