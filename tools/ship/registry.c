/*
 * Speaking to a registry; see the header.
 */
#include "tools/ship/registry.h"

#include <stdlib.h>
#include <string.h>

#include "tools/ship/credentials.h"

#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"

struct registry registry_open(const struct reference *reference, bool plain, bool insecure, bool writes) {
    return (struct registry){
        .reference = *reference,
        .scheme = plain || reference_is_local(reference) ? "http" : "https",
        .insecure = insecure,
        .writes = writes,
    };
}

/* The registry's own words about what was wrong, which are JSON, shortened to one line. */
static void fail(const struct registry *registry, const char *what, const char *error,
                 const struct http_response *response) NORETURN;
static void fail(const struct registry *registry, const char *what, const char *error,
                 const struct http_response *response) {
    const char *host = registry->reference.host, *name = registry->reference.name;

    if (error)
        die(STATUS_FAILED, "%s/%s: %s: %s", host, name, what, error);
    if (response->status == 404)
        die(STATUS_FAILED, "%s/%s: %s: there is no such thing", host, name, what);
    if (response->status == 401 || response->status == 403)
        die(STATUS_FAILED, "%s/%s: %s: not allowed (docker login and podman login store credentials)", host, name,
            what);
    char *message = credentials_error_message(response->body, response->size);
    die(STATUS_FAILED, "%s/%s: %s: status %ld%s%s", host, name, what, response->status, message ? ": " : "",
        message ? message : "");
}

/* With the credentials that it wants: when it says so a token is fetched, and the request made again. */
static char *request(struct registry *registry, struct http_request *request, struct http_response *response) {
    for (int try = 0;; try++) {
        struct strings own = request->headers, *headers = &request->headers;
        struct strings with = {0};

        for (size_t i = 0; i < own.count; i++)
            strings_add(&with, "%s", own.item[i]);
        if (registry->authorization)
            strings_add(&with, "%s", registry->authorization);
        *headers = with;
        request->insecure = registry->insecure;
        char *error = http_do(request, response);
        *headers = own;
        for (size_t i = 0; i < with.count; i++)
            free(with.item[i]);
        free(with.item);
        /* A server may refuse before it has heard all, and libcurl calls that an error. */
        if (response->status != 401 || try > 0 || !response->authenticate)
            return error;
        free(registry->authorization);
        registry->authorization = credentials_answer(registry, response->authenticate);
        if (!registry->authorization)
            return error;
        free(error);
        http_free(response);
    }
}

static char *url(const struct registry *registry, const char *kind, const char *what) {
    return xasprintf("%s://%s/v2/%s/%s/%s", registry->scheme, registry->reference.host, registry->reference.name, kind,
                     what);
}

bool registry_has_blob(struct registry *registry, const char *digest) {
    char *address = url(registry, "blobs", digest);
    struct http_request head = {.method = "HEAD", .url = address, .body_fd = -1, .follow = true};
    struct http_response response;
    char *error = request(registry, &head, &response);

    if (error || (response.status != 200 && response.status != 404))
        fail(registry, "looking for a blob", error, &response);
    bool has = response.status == 200;
    http_free(&response);
    free(address);
    return has;
}

/* Where a Location leads: it may be a path, or a whole address. Followed by the query that ends an upload. */
static char *upload_address(const struct registry *registry, const char *location, const char *digest) {
    bool whole = strstr(location, "://") != NULL;
    const char *host = registry->reference.host;

    return xasprintf("%s%s%s%s%cdigest=%s", whole ? "" : registry->scheme, whole ? "" : "://", whole ? "" : host,
                     location, strchr(location, '?') ? '&' : '?', digest);
}

void registry_put_blob(struct registry *registry, const char *digest, const void *data, int fd, uint64_t size,
                       void (*progress)(uint64_t more)) {
    char *address = url(registry, "blobs", "uploads/");
    struct http_request post = {.method = "POST", .url = address, .body = "", .body_fd = -1};
    struct http_response response;
    char *error = request(registry, &post, &response);

    if (error || response.status != 202 || !response.location)
        fail(registry, "beginning an upload", error, &response);
    char *target = upload_address(registry, response.location, digest);
    struct http_request put = {
        .method = "PUT", .url = target, .body = data, .body_fd = fd, .body_size = size, .progress = progress};
    http_free(&response);
    strings_add(&put.headers, "Content-Type: application/octet-stream");
    error = request(registry, &put, &response);
    if (error || response.status != 201)
        fail(registry, "an upload", error, &response);
    http_free(&response);
    free(put.headers.item[0]);
    free(put.headers.item);
    free(target);
    free(address);
}

static const char *wanted(const struct registry *registry) {
    return registry->reference.digest ? registry->reference.digest : registry->reference.tag;
}

void registry_put_manifest(struct registry *registry, const char *type, const void *data, size_t size) {
    char *address = url(registry, "manifests", wanted(registry));
    struct http_request put = {.method = "PUT", .url = address, .body = data, .body_fd = -1, .body_size = size};
    struct http_response response;

    strings_add(&put.headers, "Content-Type: %s", type);
    char *error = request(registry, &put, &response);
    if (error || response.status != 201)
        fail(registry, "the manifest", error, &response);
    http_free(&response);
    free(put.headers.item[0]);
    free(put.headers.item);
    free(address);
}

struct http_response registry_get_manifest(struct registry *registry) {
    char *address = url(registry, "manifests", wanted(registry));
    struct http_request get = {.method = "GET", .url = address, .body_fd = -1, .follow = true};
    struct http_response response;

    strings_add(&get.headers, "Accept: " MANIFEST_TYPE);
    char *error = request(registry, &get, &response);
    if (error || response.status != 200)
        fail(registry, wanted(registry), error, &response);
    free(get.headers.item[0]);
    free(get.headers.item);
    free(address);
    return response;
}

bool registry_get_blob(struct registry *registry, const char *digest, http_sink *sink, void *arg) {
    char *address = url(registry, "blobs", digest);
    struct http_request get = {
        .method = "GET", .url = address, .body_fd = -1, .follow = true, .sink = sink, .arg = arg};
    struct http_response response;
    char *error = request(registry, &get, &response);

    if (!response.stopped && (error || response.status != 200))
        fail(registry, digest, error, &response);
    bool whole = !response.stopped;
    http_free(&response);
    free(error);
    free(address);
    return whole;
}
