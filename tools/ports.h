/*
 * Published ports (-p): which port of the host leads to which of the guest, in docker's words.
 */
#pragma once

#include "tools/common.h"

struct port {
    char *address; /* of the host, IPv4 */
    unsigned host, guest;
    unsigned last; /* host: a free one from there to here; 0 and 0: any */
    bool udp;
};

/* All zero is none. */
struct ports {
    struct port *item;
    size_t count;
};

/* [[IP:][HOST]:]GUEST[/tcp|/udp], with ranges FIRST-LAST; dies when the word is wrong. */
void ports_add(struct ports *ports, const char *word);

/* Takes a free port of the host for those that name none, and says which; dies when one is taken. */
void ports_open(struct ports *ports);

/* As `knarr ps` shows them: 0.0.0.0:8080->80/tcp. */
void ports_describe(const struct ports *ports, struct strings *list);

/* QEMU's rules for them, each with a comma before it, allocated. guest: the guest's address. */
char *ports_rules(const struct ports *ports, const char *guest);
