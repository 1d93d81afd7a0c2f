/*
 * What a registry wants to be shown: the user's name and password as docker and podman store them, or a token that these buy.
 */
#pragma once

#include <stddef.h>

struct registry;

/*
 * Answers a WWW-Authenticate header: a whole "Authorization: ..." header (allocated), or NULL when there is no answer. May ask the server
 * for tokens that the header names.
 */
char *credentials_answer(const struct registry *registry, const char *challenge);

/*
 * The value of a parameter of such a header, as realm in: Bearer realm="...",service="...". Allocated; NULL: there is none.
 */
char *credentials_parameter(const char *challenge, const char *name);

/* "errors": [{"message": ...}] of an answer, in one printable line (allocated), or NULL. */
char *credentials_error_message(const char *body, size_t size);
