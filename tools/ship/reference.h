/*
 * The name of something in a registry: HOST[:PORT]/NAME[:TAG][@sha256:DIGEST], as the OCI distribution specification has it.
 */
#pragma once

#include <stdbool.h>

struct reference {
    char *host;   /* with its port */
    char *name;   /* "team/app" */
    char *tag;    /* "latest" when none was given; NULL beside a digest */
    char *digest; /* "sha256:..." (or sha512) or NULL */
};

/*
 * Takes the text apart. NULL, or what is wrong with it. A registry must be named: its host has a dot or a port, or is localhost. The strings
 * are allocated.
 */
const char *reference_parse(const char *text, struct reference *reference);

/* Whether the host is this machine itself, which is spoken to without TLS as docker does. */
bool reference_is_local(const struct reference *reference);
