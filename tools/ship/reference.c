/*
 * Names in registries; see the header.
 */
#include "tools/ship/reference.h"

#include <string.h>

#include "tools/common.h"
#include "tools/image/digest.h"

enum { NAME_MOST = 255, TAG_MOST = 128 };

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool is_alphanumeric(char c) { return c && strchr(LOWER DIGITS, c); }

/* Components of small letters and digits between slashes, joined inside by a dot, one or two underscores, or hyphens. */
static bool is_name(const char *name) {
    size_t length = strlen(name);

    if (length == 0 || length > NAME_MOST || !is_alphanumeric(name[0]) || !is_alphanumeric(name[length - 1]))
        return false;
    for (const char *at = name; *at;) {
        size_t joint = strspn(at, "._-/");
        bool fits = joint <= 1 || (joint == 2 && strncmp(at, "__", 2) == 0) || strspn(at, "-") == joint;
        if (!fits)
            return false;
        at += joint;
        size_t letters = strspn(at, LOWER DIGITS);
        if (letters == 0)
            return false;
        at += letters;
    }
    return true;
}

static bool is_tag(const char *tag) {
    size_t length = strlen(tag);

    return length > 0 && length <= TAG_MOST && tag[0] != '.' && tag[0] != '-' &&
           strspn(tag, LOWER UPPER DIGITS "_.-") == length;
}

/* Letters, digits, dots and hyphens, or an IPv6 address in brackets; behind them perhaps a port. */
static bool is_host(const char *host) {
    size_t length = *host == '[' ? strcspn(host, "]") : strspn(host, LOWER UPPER DIGITS ".-");

    if (*host == '[') {
        if (length < 2 || host[length] != ']' || strspn(host + 1, "abcdefABCDEF.:" DIGITS) != length - 1)
            return false;
        length++;
    }
    if (length == 0)
        return false;
    const char *port = host + length;
    return *port == '\0' ||
           (*port == ':' && port[1] && strlen(port + 1) <= 5 && port[1 + strspn(port + 1, DIGITS)] == '\0');
}

const char *reference_parse(const char *text, struct reference *reference) {
    const char *slash = strchr(text, '/');
    struct digest digest;

    *reference = (struct reference){0};
    if (!slash)
        return "which registry? HOST[:PORT]/NAME[:TAG]";
    reference->host = xasprintf("%.*s", (int)(slash - text), text);
    if (!strpbrk(reference->host, ".:") && strcmp(reference->host, "localhost") != 0)
        return "which registry? HOST[:PORT]/NAME[:TAG]";
    if (!is_host(reference->host))
        return "no name of a host";
    reference->name = xstrdup(slash + 1);
    char *at = strchr(reference->name, '@');
    if (at) {
        *at = '\0';
        reference->digest = xstrdup(at + 1);
        if (!digest_parse(reference->digest, &digest))
            return "a digest is sha256: or sha512: and hexadecimal digits";
    }
    char *colon = strchr(reference->name, ':');
    if (colon) {
        *colon = '\0';
        reference->tag = xstrdup(colon + 1);
    } else if (!at) {
        reference->tag = xstrdup("latest");
    }
    if (reference->tag && !is_tag(reference->tag))
        return "a tag is up to 128 letters, digits, dots, hyphens and underscores";
    return is_name(reference->name) ? NULL : "names are of small letters, digits and single separators";
}

bool reference_is_local(const struct reference *reference) {
    static const char *const local[] = {"localhost", "127.0.0.1", "[::1]"};

    for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
        size_t length = strlen(local[i]);
        if (strncmp(reference->host, local[i], length) == 0 &&
            (reference->host[length] == '\0' || reference->host[length] == ':'))
            return true;
    }
    return false;
}
