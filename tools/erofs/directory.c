/*
 * Takes the tree of an EROFS image from a directory of the host. Symbolic links are kept and never followed, so nothing from outside
 * the directory gets in. Files with several names stay one file. Directories are opened one below the other, so that paths may
 * be of any length, and one at a time, so that they may be of any depth.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tools/erofs/tree.h"

enum { BUFFER = 1 << 20, HOLES_LEAST = 64 << 10 };

/* A file with more than one name, by its identity on the host. */
struct linked {
    dev_t dev;
    ino_t ino;
    struct inode *inode;
};

struct walk {
    struct erofs_tree *tree;
    void *linked; /* tsearch(3) of struct linked */

    /* The directory that is open now. */
    struct host_dir *current;
    int fd;
};

/* The path of a file on the host for messages, allocated. */
static char *host_path(const struct erofs_tree *tree, const struct host_dir *dir, const char *name) {
    char *path = xstrdup(name);

    for (; dir && dir->parent; dir = dir->parent) {
        char *longer = xasprintf("%s/%s", dir->name, path);
        free(path);
        path = longer;
    }
    char *whole = xasprintf("%s/%s", tree->host_name, path);
    free(path);
    return whole;
}

NORETURN static void fail(const struct walk *walk, const struct host_dir *dir, const char *name) {
    int error = errno;

    die(STATUS_FAILED, "%s: %s", host_path(walk->tree, dir, name), strerror(error));
}

/* The descriptor of a directory, open until the next one is asked for. */
static int enter(struct walk *walk, struct host_dir *dir) {
    if (walk->current == dir)
        return walk->fd;
    int above = dir->parent ? enter(walk, dir->parent) : walk->tree->host;
    int fd = openat(above, dir->parent ? dir->name : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        fail(walk, dir->parent, dir->name);
    if (walk->fd >= 0)
        close(walk->fd);
    walk->current = dir;
    walk->fd = fd;
    return fd;
}

static int compare_linked(const void *a, const void *b) {
    const struct linked *x = a, *y = b;

    if (x->dev != y->dev)
        return x->dev < y->dev ? -1 : 1;
    return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* --- What a file has besides its bytes --- */

static void add_xattrs(struct walk *walk, struct inode *inode, struct host_dir *dir, const char *name) {
    static char names[XATTR_LIST_MAX], value[XATTR_SIZE_MAX];
    char *path = xasprintf("/proc/self/fd/%d/%s", walk->fd, name); /* there is no lgetxattrat() */
    ssize_t size = llistxattr(path, names, sizeof(names));

    if (size < 0 && errno != ENOTSUP)
        fail(walk, dir, name);
    char *whole = size > 0 ? host_path(walk->tree, dir, name) : NULL;
    for (const char *next = names; next < names + size; next += strlen(next) + 1) {
        ssize_t length = lgetxattr(path, next, value, sizeof(value));
        if (length >= 0)
            inode_set_xattr(walk->tree, inode, whole, next, value, (size_t)length);
        else if (errno != ENODATA && errno != ENOTSUP)
            fail(walk, dir, name);
    }
    free(whole);
    free(path);
}

/* Where a file that takes less room than it is long has its data. Small holes are not worth it. */
static void find_extents(struct walk *walk, struct inode *inode, struct host_dir *dir, const char *name) {
    int fd = openat(walk->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    uint64_t at = 0, data = 0;

    if (fd < 0)
        fail(walk, dir, name);
    while (at < inode->size) {
        off_t start = lseek(fd, (off_t)at, SEEK_DATA);
        off_t end = start >= 0 ? lseek(fd, start, SEEK_HOLE) : -1;
        if (end < 0 && errno != ENXIO)
            fail(walk, dir, name);
        if (end < 0 || (uint64_t)start >= inode->size)
            break;
        inode->extents = xrealloc(inode->extents, (inode->extent_count + 1) * sizeof(struct extent));
        inode->extents[inode->extent_count++] = (struct extent){(uint64_t)start, (uint64_t)(end - start)};
        data += (uint64_t)(end - start);
        at = (uint64_t)end;
    }
    close(fd);
    if (inode->size - data >= HOLES_LEAST && data < inode->size) {
        inode->sparse = true;
    } else {
        free(inode->extents);
        inode->extents = NULL;
        inode->extent_count = 0;
    }
}

static void set_attributes(struct inode *inode, const struct stat *status) {
    inode->mode = status->st_mode;
    inode->uid = status->st_uid;
    inode->gid = status->st_gid;
    inode->mtime = status->st_mtim.tv_sec;
    inode->mtime_nsec = (uint32_t)status->st_mtim.tv_nsec;
}

/* --- The walk --- */

static struct inode *make_inode(struct walk *walk, struct host_dir *dir, const char *name, const struct stat *status) {
    struct inode *inode = inode_new(status->st_mode);
    char target[PATH_MAX];

    set_attributes(inode, status);
    if (S_ISREG(status->st_mode)) {
        inode->size = (uint64_t)status->st_size;
        inode->host_dir = dir;
        inode->host_name = xstrdup(name);
        if ((uint64_t)status->st_blocks * 512 < inode->size)
            find_extents(walk, inode, dir, name);
    } else if (S_ISLNK(status->st_mode)) {
        ssize_t length = readlinkat(walk->fd, name, target, sizeof(target) - 1);
        if (length < 0)
            fail(walk, dir, name);
        target[length] = '\0';
        inode->link = xstrdup(target);
        inode->size = (uint64_t)length;
    } else if (S_ISCHR(status->st_mode) || S_ISBLK(status->st_mode)) {
        inode->rdev = inode_rdev(major(status->st_rdev), minor(status->st_rdev), name);
    }
    add_xattrs(walk, inode, dir, name);
    return inode;
}

/* The node of a name, whose directory is open. */
static struct node *add(struct walk *walk, struct host_dir *dir, struct node *parent, const char *name) {
    struct linked *same = NULL;
    struct stat status;

    if (fstatat(walk->fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        fail(walk, dir, name);
    if (!S_ISDIR(status.st_mode) && status.st_nlink > 1) {
        same = xmalloc(sizeof(*same));
        *same = (struct linked){status.st_dev, status.st_ino, NULL};
        struct linked **known = tsearch(same, &walk->linked, compare_linked);
        if (!known)
            die(STATUS_FAILED, "out of memory");
        if (*known != same) {
            free(same);
            return node_put(walk->tree, parent, name, (*known)->inode);
        }
    }
    struct inode *inode = make_inode(walk, dir, name, &status);
    if (same)
        same->inode = inode;
    return node_put(walk->tree, parent, name, inode);
}

static void walk_directory(struct walk *walk, struct host_dir *dir, struct node *node) {
    struct node **below = NULL;
    size_t count = 0;
    struct dirent *entry;
    int fd = dup(enter(walk, dir)); /* the stream closes its own */
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;

    if (!stream)
        fail(walk, dir, "");
    while (errno = 0, (entry = readdir(stream))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        struct node *child = add(walk, dir, node, entry->d_name);
        if (S_ISDIR(child->inode->mode)) {
            below = xrealloc(below, (count + 1) * sizeof(struct node *));
            below[count++] = child;
        }
    }
    if (errno)
        fail(walk, dir, "");
    closedir(stream);

    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(below[i]->name) + 1;
        struct host_dir *child = xmalloc(sizeof(*child) + length);
        child->parent = dir;
        memcpy(child->name, below[i]->name, length);
        walk_directory(walk, child, below[i]);
    }
    free(below);
}

void erofs_add_directory(struct erofs_tree *tree, const char *directory) {
    struct host_dir *top = xmalloc(sizeof(*top) + 1);
    struct walk walk = {.tree = tree, .fd = -1};
    struct stat status;

    *top = (struct host_dir){0};
    top->name[0] = '\0';
    tree->layer++;
    tree->host_name = directory;
    tree->host = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tree->host < 0 || fstat(tree->host, &status) != 0)
        die(STATUS_FAILED, "%s: %s", directory, strerror(errno));

    struct inode *root = inode_new(status.st_mode);
    set_attributes(root, &status);
    root->mode |= 0555; /* mkdtemp() made it for one user; a root is for all */
    enter(&walk, top);
    add_xattrs(&walk, root, top, ".");
    node_put(tree, tree->root, "", root);
    walk_directory(&walk, top, tree->root);
    tdestroy(walk.linked, free);
    close(walk.fd);
}

/* --- The bytes --- */

/* A file that shrank meanwhile ends in zeros, of one that grew the rest is left out. */
static void read_extent(struct walk *walk, int fd, struct inode *inode, struct extent extent, char *buffer,
                        struct sink *sink) {
    uint64_t end = extent.offset + extent.length < inode->size ? extent.offset + extent.length : inode->size;

    while (extent.offset < end) {
        uint64_t left = end - extent.offset;
        ssize_t got = pread(fd, buffer, left < BUFFER ? left : BUFFER, (off_t)extent.offset);
        if (got < 0)
            fail(walk, inode->host_dir, inode->host_name);
        if (got == 0)
            break;
        sink->put(sink, inode, extent.offset, buffer, (size_t)got);
        extent.offset += (uint64_t)got;
    }
}

void directory_read(struct erofs_tree *tree, struct sink *sink) {
    struct walk walk = {.tree = tree, .fd = -1};
    char *buffer = xmalloc(BUFFER);

    for (size_t i = 0; i < tree->inode_count; i++) {
        struct inode *inode = tree->inodes[i];
        if (!inode->host_name)
            continue;
        int fd =
            openat(enter(&walk, inode->host_dir), inode->host_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
            fail(&walk, inode->host_dir, inode->host_name);
        struct extent all = {0, inode->size};
        for (unsigned j = 0; j < (inode->sparse ? inode->extent_count : 1); j++)
            read_extent(&walk, fd, inode, inode->sparse ? inode->extents[j] : all, buffer, sink);
        close(fd);
    }
    if (walk.fd >= 0)
        close(walk.fd);
    free(buffer);
}
