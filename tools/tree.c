/*
 * The index of the guest's root filesystem; see the header.
 */
#include "tools/tree.h"

#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LINKS_MOST = 40 }; /* as path_resolution(7) has it */

static int compare(const void *a, const void *b) {
    return strcmp(((const struct node *)a)->path, ((const struct node *)b)->path);
}

struct node *tree_find(const struct tree *tree, const char *path) {
    struct node key = {.path = (char *)path};
    struct node **found = tfind(&key, &tree->nodes, compare);

    return found ? *found : NULL;
}

struct node *tree_node(struct tree *tree, const char *path) {
    struct node *node = tree_find(tree, path);

    if (!node) {
        node = xmalloc(sizeof(*node));
        *node = (struct node){.path = xstrdup(path)};
        if (!tsearch(node, &tree->nodes, compare))
            die(STATUS_FAILED, "out of memory");
    }
    return node;
}

/* Puts text before what is left of a path, which is empty or begins with a slash; false when that grows too long. */
static bool prepend(char *rest, const char *text) {
    size_t length = strlen(text), old = strlen(rest);

    if (length + old + 1 > PATH_MAX)
        return false;
    memmove(rest + length, rest, old + 1);
    memcpy(rest, text, length);
    return true;
}

struct node *tree_lookup(const struct tree *tree, const char *path) {
    char rest[PATH_MAX], done[PATH_MAX] = "";
    struct node *node = NULL;
    int links = 0;

    if (strlen(path) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    strcpy(rest, path);
    for (;;) {
        char *name = rest + strspn(rest, "/");
        size_t length = strcspn(name, "/");
        size_t parent = strlen(done);

        if (length == 0)
            break;
        if (length == 2 && memcmp(name, "..", 2) == 0) {
            char *slash = strrchr(done, '/');
            *(slash ? slash : done) = '\0';
        } else if (length != 1 || *name != '.') {
            if (parent + 1 + length + 1 > PATH_MAX) {
                errno = ENAMETOOLONG;
                return NULL;
            }
            if (parent > 0)
                done[parent++] = '/';
            memcpy(done + parent, name, length);
            done[parent + length] = '\0';
        }
        memmove(rest, name + length, strlen(name + length) + 1);

        node = tree_find(tree, done);
        if (!node && *done) {
            errno = ENOENT;
            return NULL;
        }
        if (node && S_ISLNK(node->mode) && node->link) {
            if (++links > LINKS_MOST || !prepend(rest, node->link)) {
                errno = ELOOP;
                return NULL;
            }
            /* The target is relative to the directory that the link lies in. */
            char *slash = strrchr(done, '/');
            *(*node->link == '/' || !slash ? done : slash) = '\0';
            node = NULL;
        } else if (node && !S_ISDIR(node->mode) && *rest == '/') {
            errno = ENOTDIR;
            return NULL;
        }
    }
    node = tree_find(tree, done);
    if (!node)
        errno = ENOENT;
    return node;
}
