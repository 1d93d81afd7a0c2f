/*
 * Requests over HTTP with libcurl, which is loaded when the first one is made. One connection at a time, kept between requests.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tools/common.h"

enum { HTTP_BODY_MOST = 4 << 20 }; /* of an answer that is kept in memory: the specification's limit for manifests */

/* Takes the next bytes of an answer; false ends the transfer. */
typedef bool http_sink(void *arg, const void *data, size_t size);

struct http_request {
    const char *method, *url;
    struct strings headers; /* "Name: value" */
    bool insecure;          /* certificates are not verified */
    bool follow;            /* other addresses that the server names; headers of authorization stay behind */
    const void *body;       /* what is sent; NULL: from body_fd, when that is not -1 */
    int body_fd;            /* from its offset 0 on */
    uint64_t body_size;
    http_sink *sink; /* for the body of an answer with status 200; without it, and for others, it is kept */
    void *arg;
    void (*progress)(uint64_t more); /* how many more bytes were sent; or NULL */
};

struct http_response {
    long status;
    char *body; /* ends with a NUL that is not counted */
    size_t size;
    char *location, *authenticate, *type, *digest; /* headers, or NULL */
    bool stopped;                                  /* the sink said so */
};

/* Does it. NULL, or why there was no whole answer (allocated). The response is filled in any case, for http_free(). */
char *http_do(const struct http_request *request, struct http_response *response);
void http_free(struct http_response *response);
