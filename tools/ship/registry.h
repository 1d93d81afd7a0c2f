/*
 * One repository of a registry, spoken to as the OCI distribution specification says: blobs and manifests, with the credentials that docker
 * and podman keep. What a registry says is not believed: digests and sizes are the caller's to check (tools/ship/pull.c does).
 * What fails ends the program with one line and STATUS_FAILED.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tools/ship/http.h"
#include "tools/ship/reference.h"

struct registry {
    struct reference reference;
    const char *scheme;
    bool insecure;
    bool writes;
    char *authorization; /* header, or NULL */
};

/* plain: without TLS, as with a registry on this machine anyway. insecure: whatever its certificate is. writes: to be allowed to. */
struct registry registry_open(const struct reference *reference, bool plain, bool insecure, bool writes);

/* Whether it has a blob already. */
bool registry_has_blob(struct registry *registry, const char *digest);

/* Uploads `size` bytes: data, or those of fd from its offset 0 on when data is NULL. */
void registry_put_blob(struct registry *registry, const char *digest, const void *data, int fd, uint64_t size,
                       void (*progress)(uint64_t more));

/* tag: the reference's own tag or digest. */
void registry_put_manifest(struct registry *registry, const char *type, const void *data, size_t size);

/* What the reference names; the response is the caller's to free. Accepts manifests only, not indexes. */
struct http_response registry_get_manifest(struct registry *registry);

/* Hands a blob's bytes on as they come. False: the sink stopped it. */
bool registry_get_blob(struct registry *registry, const char *digest, http_sink *sink, void *arg);
