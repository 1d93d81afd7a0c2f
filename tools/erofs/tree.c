/*
 * Names and inodes of the tree that an EROFS image is made from; see the header. What layers do to each other is here: who
 * replaces whom, and what a whiteout hides.
 */
#include "tools/erofs/tree.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/erofs/format.h"

enum { LINKS_MOST = 40 }; /* as path_resolution(7) has it */

struct inode *inode_new(uint32_t mode) {
    struct inode *inode = xmalloc(sizeof(*inode));

    *inode = (struct inode){.mode = mode};
    return inode;
}

uint32_t inode_rdev(uint64_t major, uint64_t minor, const char *path) {
    if (major >= 1 << 12 || minor >= 1 << 20)
        die(STATUS_FAILED, "%s: device %ju:%ju: the number is too large", path, (uintmax_t)major, (uintmax_t)minor);
    return (uint32_t)((minor & 0xff) | major << 8 | (minor & ~(uint64_t)0xff) << 12);
}

static void inode_drop(struct inode *inode) {
    if (inode->nlink > 0 && --inode->nlink > 0)
        return;
    for (unsigned i = 0; i < inode->xattr_count; i++)
        inode->xattrs[i]->users--;
    free(inode->xattrs);
    free(inode->extents);
    free(inode->link);
    free(inode->host_name);
    free(inode->entries);
    free(inode->chunks);
    free(inode);
}

static int compare(const void *a, const void *b) {
    return strcmp(((const struct node *)a)->name, ((const struct node *)b)->name);
}

static struct node *node_new(struct node *parent, const char *name, size_t length) {
    struct node *node = xmalloc(sizeof(*node) + length + 1);

    *node = (struct node){.parent = parent};
    memcpy(node->name, name, length);
    node->name[length] = '\0';
    return node;
}

static struct node *find(const struct node *dir, const char *name, size_t length) {
    struct node *key = node_new(NULL, name, length);
    struct node **found = tfind(key, &dir->inode->children, compare);

    free(key);
    return found ? *found : NULL;
}

struct node *node_find(const struct node *dir, const char *name) {
    return find(dir, name, strlen(name));
}

static void node_free(void *memory) {
    struct node *node = memory;

    if (S_ISDIR(node->inode->mode))
        tdestroy(node->inode->children, node_free);
    inode_drop(node->inode);
    free(node);
}

static void node_remove(struct node *node) {
    tdelete(node, &node->parent->inode->children, compare);
    node_free(node);
}

static struct node *node_add(struct erofs_tree *tree, struct node *dir, const char *name, size_t length,
                             struct inode *inode) {
    if (length > EROFS_NAME_MAX)
        die(STATUS_FAILED, "%.40s...: a name of %zu bytes; %u is the most", name, length, EROFS_NAME_MAX);
    struct node *node = node_new(dir, name, length);

    if (!tsearch(node, &dir->inode->children, compare))
        die(STATUS_FAILED, "out of memory");
    node->inode = inode;
    node->layer = tree->layer;
    inode->nlink++;
    return node;
}

struct node *node_put(struct erofs_tree *tree, struct node *dir, const char *name, struct inode *inode) {
    struct node *old = *name ? node_find(dir, name) : tree->root;

    if (old && old->inode == inode) { /* a link to itself */
        old->layer = tree->layer;
        return old;
    }
    if (old && S_ISDIR(old->inode->mode) && S_ISDIR(inode->mode)) {
        inode->children = old->inode->children;
        inode->nlink = 1;
        old->inode->children = NULL;
        inode_drop(old->inode);
        old->inode = inode;
        old->layer = tree->layer;
        return old;
    }
    if (old)
        node_remove(old);
    return node_add(tree, dir, name, strlen(name), inode);
}

/* --- Hiding --- */

struct hiding {
    struct erofs_tree *tree;
    struct node **nodes;
    size_t count;
};

static void gather(const void *visited, VISIT order, void *arg) {
    struct hiding *hiding = arg;

    if (order != postorder && order != leaf)
        return;
    hiding->nodes = xrealloc(hiding->nodes, (hiding->count + 1) * sizeof(struct node *));
    hiding->nodes[hiding->count++] = *(struct node *const *)visited;
}

void node_hide(struct erofs_tree *tree, struct node *node, bool contents) {
    if (S_ISDIR(node->inode->mode)) {
        struct hiding hiding = {.tree = tree};
        twalk_r(node->inode->children, gather, &hiding);
        for (size_t i = 0; i < hiding.count; i++)
            node_hide(tree, hiding.nodes[i], false);
        free(hiding.nodes);
    }
    if (!contents && node->layer < tree->layer && !node->inode->children)
        node_remove(node);
}

/* --- Paths --- */

/*
 * Goes down a path from a directory. What is missing is made when `make` says so; a file of an earlier layer in the way gives place
 * to a directory then.
 */
static struct node *enter(struct erofs_tree *tree, struct node *dir, const char *path, size_t length, bool make,
                          int *links) {
    const char *end = path + length;

    while (dir && path < end) {
        size_t size = 0;
        while (path + size < end && path[size] != '/')
            size++;
        const char *name = path;
        path += size + (path + size < end);
        if (size == 0 || (size == 1 && name[0] == '.'))
            continue;
        if (size == 2 && name[0] == '.' && name[1] == '.') { /* only from symbolic links */
            dir = dir->parent;
            continue;
        }
        struct node *child = find(dir, name, size);
        if (child && S_ISLNK(child->inode->mode)) {
            const char *target = child->inode->link;
            if (++*links > LINKS_MOST)
                return NULL;
            dir = enter(tree, *target == '/' ? tree->root : dir, target, strlen(target), make, links);
            continue;
        }
        if (child && !S_ISDIR(child->inode->mode)) {
            if (!make || child->layer == tree->layer)
                return NULL;
            node_remove(child);
            child = NULL;
        }
        if (!child && make)
            child = node_add(tree, dir, name, size, inode_new(S_IFDIR | 0755));
        dir = child;
    }
    return dir;
}

struct node *tree_directory(struct erofs_tree *tree, const char *path, bool make, const char **name) {
    const char *slash = strrchr(path, '/');
    int links = 0;

    *name = slash ? slash + 1 : path;
    return enter(tree, tree->root, path, slash ? (size_t)(slash - path) : 0, make, &links);
}

struct node *tree_node_find(struct erofs_tree *tree, const char *path) {
    const char *name;
    struct node *dir = tree_directory(tree, path, false, &name);

    return !dir ? NULL : *name ? node_find(dir, name) : tree->root;
}

/* --- What is made here --- */

void erofs_add_file(struct erofs_tree *tree, const char *path, uint32_t mode, const void *data, size_t size) {
    struct inode *inode = inode_new(S_IFREG | mode);
    const char *name;

    tree->layer++;
    struct node *dir = tree_directory(tree, path, true, &name);
    if (!dir || *name == '\0')
        die(STATUS_FAILED, "%s: a file is in the way", path);
    inode->link = xmalloc(size);
    memcpy(inode->link, data, size);
    inode->size = size;
    node_put(tree, dir, name, inode);
}

void erofs_add_missing_directory(struct erofs_tree *tree, const char *path) {
    const char *name;

    if (tree_node_find(tree, path))
        return;
    struct node *dir = tree_directory(tree, path, true, &name);
    if (dir && *name)
        node_put(tree, dir, name, inode_new(S_IFDIR | 0755));
}

void erofs_remove(struct erofs_tree *tree, const char *path) {
    struct node *node = tree_node_find(tree, path);

    tree->layer++;
    if (node)
        node_hide(tree, node, false);
}

/* --- The tree --- */

struct erofs_tree *erofs_tree_new(void) {
    struct erofs_tree *tree = xmalloc(sizeof(*tree));

    *tree = (struct erofs_tree){.host = -1, .root = node_new(NULL, "", 0)};
    tree->root->parent = tree->root;
    tree->root->inode = inode_new(S_IFDIR | 0755);
    tree->root->inode->nlink = 1;
    return tree;
}

void erofs_tree_free(struct erofs_tree *tree) {
    node_free(tree->root);
    tdestroy(tree->xattrs, free);
    if (tree->host >= 0)
        close(tree->host);
    while (tree->sources) {
        struct source *next = tree->sources->next;
        close(tree->sources->fd);
        if (tree->sources->copy >= 0)
            close(tree->sources->copy);
        free(tree->sources);
        tree->sources = next;
    }
    free(tree->inodes);
    free(tree);
}
