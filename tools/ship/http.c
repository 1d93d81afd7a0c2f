/*
 * HTTP with libcurl; see the header.
 */
#include "tools/ship/http.h"

#define CURL_DISABLE_TYPECHECK /* its macros would call the functions by name */
#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#undef curl_easy_setopt
#undef curl_easy_getinfo

#define LIBRARY "libcurl.so.4"

enum { CONNECT_SECONDS = 30, STALL_SECONDS = 60, REDIRECTIONS = 5 };

#define CURL_FUNCTIONS(USE)                                                                                            \
    USE(curl_global_init)                                                                                              \
    USE(curl_easy_init)                                                                                                \
    USE(curl_easy_reset)                                                                                               \
    USE(curl_easy_setopt)                                                                                              \
    USE(curl_easy_perform)                                                                                             \
    USE(curl_easy_getinfo)                                                                                             \
    USE(curl_easy_strerror)                                                                                            \
    USE(curl_slist_append)                                                                                             \
    USE(curl_slist_free_all)

static struct {
#define DECLARE(function) __typeof__(function) *function;
    CURL_FUNCTIONS(DECLARE)
#undef DECLARE
} lib;

static CURL *handle;

struct transfer {
    const struct http_request *request;
    struct http_response *response;
    uint64_t sent;
    bool too_large;
    int read_error;
};

static void start(void) {
    if (handle) {
        lib.curl_easy_reset(handle); /* connections stay */
        return;
    }
    void *library = dlopen(LIBRARY, RTLD_NOW);

    if (!library)
        die(STATUS_FAILED, "registries need %s (Debian: apt-get install libcurl4)", LIBRARY);
#define LOAD(function)                                                                                                 \
    if (!(lib.function = (__typeof__(function) *)dlsym(library, #function)))                                           \
        die(STATUS_FAILED, "%s has no %s", LIBRARY, #function);
    CURL_FUNCTIONS(LOAD)
#undef LOAD
    if (lib.curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || !(handle = lib.curl_easy_init()))
        die(STATUS_FAILED, "%s: it cannot be initialized", LIBRARY);
}

static long status_now(void) {
    long status = 0;

    lib.curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static size_t on_body(char *data, size_t one, size_t size, void *arg) {
    struct transfer *transfer = arg;
    struct http_response *response = transfer->response;

    if (transfer->request->sink && status_now() == 200) {
        response->stopped = !transfer->request->sink(transfer->request->arg, data, size);
        return response->stopped ? 0 : size;
    }
    if (size > HTTP_BODY_MOST - response->size) {
        transfer->too_large = true;
        return 0;
    }
    response->body = xrealloc(response->body, response->size + size + 1);
    memcpy(response->body + response->size, data, size);
    response->size += size;
    response->body[response->size] = '\0';
    return size;
}

static void keep(char **value, const char *name, const char *line, size_t size) {
    size_t length = strlen(name);

    if (size <= length || strncasecmp(line, name, length) != 0 || line[length] != ':')
        return;
    line += length + 1;
    size -= length + 1;
    while (size > 0 && (*line == ' ' || *line == '\t'))
        line++, size--;
    while (size > 0 && strchr(" \t\r\n", line[size - 1]))
        size--;
    free(*value);
    *value = xasprintf("%.*s", (int)size, line);
}

static void forget_headers(struct http_response *response) {
    char **const values[] = {&response->location, &response->authenticate, &response->type, &response->digest};

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        free(*values[i]);
        *values[i] = NULL;
    }
}

static size_t on_header(char *data, size_t one, size_t size, void *arg) {
    struct http_response *response = ((struct transfer *)arg)->response;

    if (size > 5 && strncmp(data, "HTTP/", 5) == 0)
        forget_headers(response); /* those were of a redirection or an interim answer */
    keep(&response->location, "Location", data, size);
    keep(&response->authenticate, "WWW-Authenticate", data, size);
    keep(&response->type, "Content-Type", data, size);
    keep(&response->digest, "Docker-Content-Digest", data, size);
    return size;
}

static size_t on_send(char *buffer, size_t one, size_t room, void *arg) {
    struct transfer *transfer = arg;
    const struct http_request *request = transfer->request;
    uint64_t left = request->body_size - transfer->sent;
    size_t size = left < room ? (size_t)left : room;

    if (request->body) {
        memcpy(buffer, (const char *)request->body + transfer->sent, size);
    } else if (size > 0) {
        ssize_t got = pread(request->body_fd, buffer, size, (off_t)transfer->sent);
        if (got <= 0) {
            transfer->read_error = got < 0 ? errno : ENODATA;
            return CURL_READFUNC_ABORT;
        }
        size = (size_t)got;
    }
    transfer->sent += size;
    if (request->progress)
        request->progress(size);
    return size;
}

/* A server that wants to hear it once more, after it has said so. */
static int on_seek(void *arg, curl_off_t offset, int origin) {
    struct transfer *transfer = arg;

    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > transfer->request->body_size)
        return CURL_SEEKFUNC_FAIL;
    transfer->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static void set_up(struct transfer *transfer, struct curl_slist *headers, char *error) {
    const struct http_request *request = transfer->request;
    bool has_body = request->body || request->body_fd >= 0;
    __typeof__(curl_easy_setopt) *set = lib.curl_easy_setopt;

    set(handle, CURLOPT_URL, request->url);
    set(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    set(handle, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    set(handle, CURLOPT_HTTPHEADER, headers);
    set(handle, CURLOPT_USERAGENT, "knarr/" KNARR_VERSION);
    set(handle, CURLOPT_NOSIGNAL, 1L);
    set(handle, CURLOPT_ERRORBUFFER, error);
    set(handle, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    set(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(handle, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    set(handle, CURLOPT_WRITEFUNCTION, on_body);
    set(handle, CURLOPT_WRITEDATA, transfer);
    set(handle, CURLOPT_HEADERFUNCTION, on_header);
    set(handle, CURLOPT_HEADERDATA, transfer);
    set(handle, CURLOPT_FOLLOWLOCATION, (long)request->follow);
    set(handle, CURLOPT_MAXREDIRS, (long)REDIRECTIONS);
    if (request->insecure) {
        set(handle, CURLOPT_SSL_VERIFYPEER, 0L);
        set(handle, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (strcmp(request->method, "HEAD") == 0) {
        set(handle, CURLOPT_NOBODY, 1L);
    } else if (has_body || strcmp(request->method, "GET") != 0) {
        set(handle, CURLOPT_UPLOAD, 1L);
        set(handle, CURLOPT_CUSTOMREQUEST, request->method);
        set(handle, CURLOPT_READFUNCTION, on_send);
        set(handle, CURLOPT_READDATA, transfer);
        set(handle, CURLOPT_SEEKFUNCTION, on_seek);
        set(handle, CURLOPT_SEEKDATA, transfer);
        set(handle, CURLOPT_INFILESIZE_LARGE, (curl_off_t)(has_body ? request->body_size : 0));
    }
}

char *http_do(const struct http_request *request, struct http_response *response) {
    struct transfer transfer = {.request = request, .response = response};
    char text[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = NULL;

    *response = (struct http_response){0};
    start();
    for (size_t i = 0; i < request->headers.count; i++) {
        struct curl_slist *longer = lib.curl_slist_append(headers, request->headers.item[i]);
        if (!longer)
            die(STATUS_FAILED, "out of memory");
        headers = longer;
    }
    set_up(&transfer, headers, text);
    CURLcode code = lib.curl_easy_perform(handle);
    response->status = status_now();
    lib.curl_slist_free_all(headers);
    if (code == CURLE_OK)
        return NULL;
    if (transfer.too_large)
        return xasprintf("its answer is larger than %d bytes", HTTP_BODY_MOST);
    if (transfer.read_error)
        return xasprintf("reading what is to be sent: %s", strerror(transfer.read_error));
    return xstrdup(*text ? text : lib.curl_easy_strerror(code));
}

void http_free(struct http_response *response) {
    forget_headers(response);
    free(response->body);
    *response = (struct http_response){0};
}
