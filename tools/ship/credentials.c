/*
 * Credentials and tokens; see the header.
 */
#include "tools/ship/credentials.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools/ship/registry.h"

/* The "auth" of a host in a file as docker and podman write it: base64 of NAME:PASSWORD, which is what a header wants, too. */
static char *stored_in(const char *file, const char *host) {
    json_t *root = json_load_file(file, 0, NULL);
    const char *auth =
        json_string_value(json_object_get(json_object_get(json_object_get(root, "auths"), host), "auth"));
    char *copy = auth && *auth ? xstrdup(auth) : NULL;

    json_decref(root);
    return copy;
}

static char *stored(const char *host) {
    static const struct {
        const char *variable, *below;
    } places[] = {
        {"REGISTRY_AUTH_FILE", ""},
        {"XDG_RUNTIME_DIR", "/containers/auth.json"},
        {"DOCKER_CONFIG", "/config.json"},
        {"XDG_CONFIG_HOME", "/containers/auth.json"},
        {"HOME", "/.config/containers/auth.json"},
        {"HOME", "/.docker/config.json"},
    };

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const char *value = getenv(places[i].variable);
        if (!value || !*value)
            continue;
        char *file = xasprintf("%s%s", value, places[i].below);
        char *auth = stored_in(file, host);
        free(file);
        if (auth)
            return auth;
    }
    return NULL;
}

char *credentials_parameter(const char *challenge, const char *name) {
    size_t length = strlen(name);
    bool quoted = false;

    for (const char *at = challenge; *at; at++) {
        if (*at == '"')
            quoted = !quoted;
        bool begins = !quoted && (at == challenge || at[-1] == ' ' || at[-1] == ',');
        if (!begins || strncasecmp(at, name, length) != 0 || at[length] != '=')
            continue;
        const char *value = at + length + 1;
        if (*value == '"')
            return xasprintf("%.*s", (int)strcspn(value + 1, "\""), value + 1);
        return xasprintf("%.*s", (int)strcspn(value, ", "), value);
    }
    return NULL;
}

/* As a part of a query. */
static char *escape(const char *text) {
    char *out = xmalloc(3 * strlen(text) + 1), *end = out;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (isalnum(c) || strchr("-._~", c)) {
            *end++ = (char)c;
        } else {
            static const char digits[] = "0123456789ABCDEF";
            *end++ = '%';
            *end++ = digits[c >> 4];
            *end++ = digits[c & 15];
        }
    }
    *end = '\0';
    return out;
}

static char *fetch_token(const struct registry *registry, const char *challenge, const char *auth) {
    char *realm = credentials_parameter(challenge, "realm"), *service = credentials_parameter(challenge, "service");
    char *scope = xasprintf("repository:%s:pull%s", registry->reference.name, registry->writes ? ",push" : "");
    char *header = NULL;

    /* The password goes to where the registry says, but not in the clear unless the registry itself is spoken to so. */
    if (realm && (strncmp(realm, "https://", 8) == 0 ||
                  (strcmp(registry->scheme, "http") == 0 && strncmp(realm, "http://", 7) == 0))) {
        char *safe_service = escape(service ? service : ""), *safe_scope = escape(scope);
        char *address =
            xasprintf("%s%cservice=%s&scope=%s", realm, strchr(realm, '?') ? '&' : '?', safe_service, safe_scope);
        struct http_request get = {.method = "GET", .url = address, .body_fd = -1, .insecure = registry->insecure};
        struct http_response response;

        if (auth)
            strings_add(&get.headers, "Authorization: Basic %s", auth);
        char *error = http_do(&get, &response);
        if (error)
            die(STATUS_FAILED, "%s: %s", realm, error);
        json_t *root =
            response.status == 200 ? json_loadb(response.body ? response.body : "", response.size, 0, NULL) : NULL;
        const char *token = json_string_value(json_object_get(root, "token"));
        if (!token)
            token = json_string_value(json_object_get(root, "access_token"));
        if (token && !strpbrk(token, "\r\n"))
            header = xasprintf("Authorization: Bearer %s", token);
        json_decref(root);
        http_free(&response);
        free(address);
        free(safe_service);
        free(safe_scope);
        if (auth)
            free(get.headers.item[0]);
        free(get.headers.item);
    }
    free(realm);
    free(service);
    free(scope);
    return header;
}

char *credentials_answer(const struct registry *registry, const char *challenge) {
    char *auth = stored(registry->reference.host), *header = NULL;

    if (auth && strpbrk(auth, "\r\n"))
        die(STATUS_FAILED, "%s: its stored credentials are damaged", registry->reference.host);
    if (strncasecmp(challenge, "Bearer ", 7) == 0)
        header = fetch_token(registry, challenge + 7, auth);
    else if (auth && strncasecmp(challenge, "Basic", 5) == 0)
        header = xasprintf("Authorization: Basic %s", auth);
    free(auth);
    return header;
}

char *credentials_error_message(const char *body, size_t size) {
    json_t *root = body ? json_loadb(body, size, 0, NULL) : NULL;
    const char *message =
        json_string_value(json_object_get(json_array_get(json_object_get(root, "errors"), 0), "message"));
    char *line = message ? xasprintf("%.200s", message) : NULL;

    for (char *at = line; at && *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
    }
    json_decref(root);
    return line;
}
