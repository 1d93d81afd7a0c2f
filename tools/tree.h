/*
 * What is in the guest's root filesystem: an index of the members that were written into the initrd, to look programs up
 * in as the guest will.
 */
#pragma once

#include "tools/common.h"

#include <sys/types.h>

struct node {
    char *path;         /* no leading slash; "" is the root */
    char *link;         /* where a symbolic link points, or NULL */
    struct node *first; /* of a file's second and later names: the node of its first; else NULL */
    uint32_t ino, mode, uid, gid, nlink, mtime;
    uint64_t header; /* offset of the member's header in the initrd */
    uint64_t data;   /* offset of the file's bytes in the initrd */
    uint64_t size;
};

struct tree {
    void *nodes; /* tsearch(3) by path */
};

/* The node of exactly that path; made when there is none yet (mode is 0 then). */
struct node *tree_node(struct tree *tree, const char *path);

/* The node of exactly that path, or NULL. */
struct node *tree_find(const struct tree *tree, const char *path);

/*
 * Follows an absolute path with its symbolic links, as the guest will. NULL when there is no such file; errno says why
 * (ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG).
 */
struct node *tree_lookup(const struct tree *tree, const char *path);
