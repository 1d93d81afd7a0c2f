/*
 * Parses published ports and tries them out; see the header.
 */
#include "tools/ports.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT_MOST = 65535 };

/* "80" or "8000-8010"; false when it is neither. */
static bool parse_range(const char *text, unsigned *first, unsigned *last) {
    char *end;

    if (!isdigit((unsigned char)*text))
        return false;
    unsigned long number = strtoul(text, &end, 10);
    unsigned long other = number;
    if (*end == '-' && isdigit((unsigned char)end[1]))
        other = strtoul(end + 1, &end, 10);
    if (*end != '\0' || number < 1 || other < number || other > PORT_MOST)
        return false;
    *first = (unsigned)number;
    *last = (unsigned)other;
    return true;
}

static void add(struct ports *ports, const struct port *port) {
    ports->item = xrealloc(ports->item, (ports->count + 1) * sizeof(struct port));
    ports->item[ports->count++] = *port;
}

/* Takes "IP:" or "[IP]:" off the front of text. Returns it, or NULL when there is none. */
static char *take_address(const char *word, char **text) {
    struct in6_addr ignored;
    char *colon = NULL;

    if (**text == '[') {
        char *end = strstr(*text, "]:");
        if (!end)
            die(STATUS_FAILED, "-p %s: no end of the address", word);
        *end = '\0';
        if (inet_pton(AF_INET6, *text + 1, &ignored) != 1)
            die(STATUS_FAILED, "-p %s: %s is not an IPv6 address", word, *text + 1);
        die(STATUS_FAILED,
            "-p %s: QEMU's user networking forwards ports of IPv4 addresses only (--net tap has no such limit)", word);
    }
    for (char *c = *text; *c; c++) { /* the last but one */
        if (*c == ':' && strchr(c + 1, ':'))
            colon = c;
    }
    if (!colon)
        return NULL;
    *colon = '\0';
    char *address = *text;
    *text = colon + 1;
    if (inet_pton(AF_INET, address, &ignored) != 1)
        die(STATUS_FAILED, "-p %s: %s is not an IPv4 address", word, address);
    return address;
}

void ports_add(struct ports *ports, const char *word) {
    char *copy = xstrdup(word), *text = copy;
    char *slash = strchr(text, '/');
    struct port port = {0};
    unsigned host = 0, host_last = 0, guest, guest_last;

    if (slash) {
        *slash = '\0';
        port.udp = strcmp(slash + 1, "udp") == 0;
        if (!port.udp && strcmp(slash + 1, "tcp") != 0)
            die(STATUS_FAILED, "-p %s: neither tcp nor udp", word);
    }
    const char *address = take_address(word, &text);
    char *colon = strchr(text, ':');
    if (colon)
        *colon++ = '\0';
    if ((colon && *text != '\0' && !parse_range(text, &host, &host_last)) ||
        !parse_range(colon ? colon : text, &guest, &guest_last))
        die(STATUS_FAILED, "-p %s: not of the form [[IP:]HOST:]GUEST[/tcp|/udp] with ports from 1 to 65535", word);
    bool choose = host != 0 && guest == guest_last && host != host_last;
    if (host != 0 && !choose && host_last - host != guest_last - guest)
        die(STATUS_FAILED, "-p %s: the two ranges are not of one length", word);
    port.address = xstrdup(address ? address : "0.0.0.0");
    for (unsigned i = 0; i <= guest_last - guest; i++) {
        port.guest = guest + i;
        port.host = host ? host + i : 0;
        port.last = choose ? host_last : port.host;
        add(ports, &port);
    }
    free(copy);
}

/* Whether QEMU will be able to listen there; port 0 becomes a free one. Otherwise errno says why not. */
static bool try_port(const struct port *port, unsigned *number) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*number)};
    socklen_t length = sizeof(name);
    int one = 1;

    inet_pton(AF_INET, port->address, &name.sin_addr);
    int fd = socket(AF_INET, (port->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (!port->udp) /* as QEMU does: what is left of connections of an earlier machine is in nobody's way */
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    bool works = bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0 && (port->udp || listen(fd, 1) == 0) &&
                 getsockname(fd, (struct sockaddr *)&name, &length) == 0;
    int why = errno;
    close(fd);
    errno = why;
    *number = ntohs(name.sin_port);
    return works;
}

/* Whether another rule has it already, which trying does not show. */
static bool is_taken(const struct ports *ports, size_t before, unsigned number) {
    const struct port *port = &ports->item[before];

    for (size_t i = 0; i < before; i++) {
        const struct port *other = &ports->item[i];
        bool same = strcmp(other->address, port->address) == 0 || strcmp(other->address, "0.0.0.0") == 0 ||
                    strcmp(port->address, "0.0.0.0") == 0;
        if (same && other->udp == port->udp && other->host == number)
            return true;
    }
    return false;
}

void ports_open(struct ports *ports) {
    enum { TRIES = 100 };

    for (size_t i = 0; i < ports->count; i++) {
        struct port *port = &ports->item[i];
        const char *protocol = port->udp ? "udp" : "tcp";
        unsigned first = port->host, number = first;
        bool works = false;
        errno = EADDRINUSE;
        for (unsigned n = 0; !works && (first ? first + n <= port->last : n < TRIES); n++) {
            number = first ? first + n : 0;
            if (first && is_taken(ports, i, number))
                errno = EADDRINUSE;
            else
                works = try_port(port, &number) && !is_taken(ports, i, number);
        }
        if (!works && errno == EADDRINUSE)
            die(STATUS_FAILED, "-p: port %u/%s of %s is in use", number, protocol, port->address);
        if (!works)
            die(STATUS_FAILED, "-p: port %u/%s of %s: %s", number, protocol, port->address, strerror(errno));
        port->host = number;
        if (first != port->last || first == 0)
            say("port %u/%s of the guest is %s:%u", port->guest, protocol, port->address, number);
    }
}

char *ports_rules(const struct ports *ports, const char *guest) {
    char *text = xstrdup("");

    for (size_t i = 0; i < ports->count; i++) {
        const struct port *port = &ports->item[i];
        char *longer = xasprintf("%s,hostfwd=%s:%s:%u-%s:%u", text, port->udp ? "udp" : "tcp", port->address,
                                 port->host, guest, port->guest);
        free(text);
        text = longer;
    }
    return text;
}

void ports_describe(const struct ports *ports, struct strings *list) {
    for (size_t i = 0; i < ports->count; i++) {
        const struct port *port = &ports->item[i];
        strings_add(list, "%s:%u->%u/%s", *port->address ? port->address : "0.0.0.0", port->host, port->guest, port->udp ? "udp" : "tcp");
    }
}
