/*
 * Takes the tree of an EROFS image from tar archives, one over the other. The headers make the tree; when it is known which files are
 * left and where they lie, the archive is read again for their bytes. A compressed one is not: what its files have is copied
 * to a temporary file on the way, which costs less than to unpack it twice. Nothing in an archive is trusted: names that
 * lead out of the root and links to what is not there end the program.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/archive.h"
#include "tools/erofs/tree.h"

#define WHITEOUT ".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define WHITEOUT_OTHER ".wh..wh." /* what aufs keeps for itself */

struct reading {
    struct erofs_tree *tree;
    struct source *source;
    struct archive *archive;
    const char *file;
    uint64_t member;
    bool layer;
};

static bool starts_with(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

/* A whiteout hides what earlier layers have. True: the member was one, or is left out as all of aufs' names. */
static bool hide(const struct reading *reading, const char *path) {
    const char *name;
    const char *slash = strrchr(path, '/');

    if (!reading->layer || !starts_with(slash ? slash + 1 : path, WHITEOUT))
        return false;
    struct node *dir = tree_directory(reading->tree, path, false, &name);
    if (strcmp(name, WHITEOUT_OPAQUE) == 0) {
        if (dir)
            node_hide(reading->tree, dir, true);
    } else if (!starts_with(name, WHITEOUT_OTHER)) {
        name += strlen(WHITEOUT);
        if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            die(STATUS_FAILED, "%s: %s: a whiteout of nothing", reading->file, path);
        struct node *node = dir ? node_find(dir, name) : NULL;
        if (node)
            node_hide(reading->tree, node, false);
    }
    return true;
}

static uint32_t owner(const struct reading *reading, const char *path, int64_t id) {
    if (id < 0 || id > UINT32_MAX)
        die(STATUS_FAILED, "%s: %s: the owner %jd is out of range", reading->file, path, (intmax_t)id);
    return (uint32_t)id;
}

static void add_extents(const struct reading *reading, struct inode *inode, struct archive_entry *entry,
                        const char *path) {
    la_int64_t offset, length;
    uint64_t data = 0, end = 0;

    if (lib.archive_entry_sparse_reset(entry) == 0)
        return;
    while (lib.archive_entry_sparse_next(entry, &offset, &length) == ARCHIVE_OK) {
        if (length == 0)
            continue;
        if (length < 0 || offset < 0 || (uint64_t)offset < end || (uint64_t)offset > inode->size ||
            (uint64_t)length > inode->size - (uint64_t)offset)
            die(STATUS_FAILED, "%s: %s: its map of holes is damaged", reading->file, path);
        end = (uint64_t)offset + (uint64_t)length;
        inode->extents = xrealloc(inode->extents, (inode->extent_count + 1) * sizeof(struct extent));
        inode->extents[inode->extent_count++] = (struct extent){(uint64_t)offset, (uint64_t)length};
        data += (uint64_t)length;
    }
    inode->sparse = data < inode->size;
}

static struct inode *make_inode(const struct reading *reading, struct archive_entry *entry, const char *path) {
    uint32_t mode = lib.archive_entry_mode(entry);
    struct inode *inode = inode_new(mode);
    const char *link, *name;
    const void *value;
    size_t size;

    inode->uid = owner(reading, path, lib.archive_entry_uid(entry));
    inode->gid = owner(reading, path, lib.archive_entry_gid(entry));
    inode->mtime = lib.archive_entry_mtime(entry);
    long nsec = lib.archive_entry_mtime_nsec(entry);
    inode->mtime -= nsec < 0;
    inode->mtime_nsec = (uint32_t)(nsec < 0 ? nsec + 1000000000 : nsec);
    switch (mode & S_IFMT) {
    case S_IFREG:
        inode->size = (uint64_t)lib.archive_entry_size(entry);
        inode->source = reading->source;
        inode->member = reading->member;
        add_extents(reading, inode, entry, path);
        break;
    case S_IFLNK:
        link = lib.archive_entry_symlink(entry);
        inode->link = xstrdup(link ? link : "");
        inode->size = strlen(inode->link);
        if (inode->size == 0 || inode->size > EROFS_BLOCK - 1)
            die(STATUS_FAILED, "%s: %s: a symbolic link of %ju bytes", reading->file, path, (uintmax_t)inode->size);
        break;
    case S_IFCHR:
    case S_IFBLK:
        inode->rdev = inode_rdev((uint64_t)lib.archive_entry_rdevmajor(entry),
                                 (uint64_t)lib.archive_entry_rdevminor(entry), path);
        break;
    case S_IFDIR:
    case S_IFIFO:
    case S_IFSOCK: break;
    default: die(STATUS_FAILED, "%s: %s: a file of unknown type", reading->file, path);
    }
    lib.archive_entry_xattr_reset(entry);
    while (lib.archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
        inode_set_xattr(reading->tree, inode, path, name, value, size);
    return inode;
}

/* The inode that a hard link names. */
static struct inode *linked_inode(const struct reading *reading, const char *path, const char *to) {
    char *target = path_normalize(to);
    struct node *node = target ? tree_node_find(reading->tree, target) : NULL;

    if (!node || S_ISDIR(node->inode->mode))
        die(STATUS_FAILED, "%s: %s: a hard link to %s, which is not a file of the archive", reading->file, path, to);
    free(target);
    return node->inode;
}

/* --- Bytes --- */

static void read_member(struct archive *archive, const struct source *source, const struct inode *inode,
                        struct sink *sink) {
    const void *data;
    size_t size;
    la_int64_t offset;
    int status;

    while ((status = lib.archive_read_data_block(archive, &data, &size, &offset)) == ARCHIVE_OK) {
        if (offset < 0 || (uint64_t)offset > inode->size || size > inode->size - (uint64_t)offset)
            die(STATUS_FAILED, "%s: a file is longer than its header says", source->file);
        sink->put(sink, inode, (uint64_t)offset, data, size);
    }
    if (status != ARCHIVE_EOF)
        archive_fail(archive, source->file);
}

struct copy_sink {
    struct sink sink;
    struct source *source;
};

static void put_copy(struct sink *sink, const struct inode *inode, uint64_t offset, const void *data, size_t size) {
    struct source *source = ((struct copy_sink *)sink)->source;

    for (const char *next = data; size > 0;) {
        ssize_t done = pwrite(source->copy, next, size, (off_t)(inode->member + offset));
        if (done < 0 && errno != EINTR)
            die(STATUS_FAILED, "a temporary copy of %s: %s", source->file, strerror(errno));
        done = done < 0 ? 0 : done;
        next += done;
        offset += (uint64_t)done;
        size -= (size_t)done;
    }
}

static void copy_member(const struct reading *reading, struct inode *inode) {
    struct copy_sink to = {{put_copy}, reading->source};

    if (inode->size > INT64_MAX - reading->source->copied)
        die(STATUS_FAILED, "%s: files of more than 8 EiB", reading->file);
    inode->member = reading->source->copied;
    reading->source->copied += inode->size;
    read_member(reading->archive, reading->source, inode, &to.sink);
}

/* --- Members --- */

static void add_member(const struct reading *reading, struct archive_entry *entry) {
    const char *given = lib.archive_entry_pathname(entry);
    const char *hardlink = lib.archive_entry_hardlink(entry);
    char *path = given ? path_normalize(given) : NULL;
    const char *name;

    if (!path)
        die(STATUS_FAILED, "%s: %s: the name leads out of the root", reading->file, given ? given : "(unreadable)");
    if (hide(reading, path)) {
        free(path);
        return;
    }
    struct inode *inode = hardlink ? linked_inode(reading, path, hardlink) : make_inode(reading, entry, path);
    struct node *dir = tree_directory(reading->tree, path, true, &name);
    if (!dir)
        die(STATUS_FAILED, "%s: %s: a file is in the way", reading->file, path);
    if (*name == '\0' && !S_ISDIR(inode->mode))
        die(STATUS_FAILED, "%s: %s: the root is not a directory", reading->file, given);
    node_put(reading->tree, dir, name, inode);
    if (!hardlink && reading->source->copy >= 0 && S_ISREG(inode->mode))
        copy_member(reading, inode);
    free(path);
}

void erofs_add_tar(struct erofs_tree *tree, int fd, const char *file, bool layer) {
    struct source *source = xmalloc(sizeof(*source));
    struct archive_entry *entry;

    *source = (struct source){.next = tree->sources, .file = file, .fd = fd, .copy = -1};
    tree->sources = source;
    tree->layer++;
    struct reading reading = {
        .tree = tree, .source = source, .archive = archive_start(fd, file), .file = file, .layer = layer};
    for (; (entry = archive_member(reading.archive, file)); reading.member++) {
        if (reading.member == 0 && lib.archive_filter_code(reading.archive, 0) != ARCHIVE_FILTER_NONE)
            source->copy = temporary_file();
        add_member(&reading, entry);
    }
    lib.archive_read_free(reading.archive);
}

/* --- Bytes for the image --- */

static int compare_members(const void *a, const void *b) {
    const struct inode *x = *(struct inode *const *)a, *y = *(struct inode *const *)b;

    return x->member < y->member ? -1 : x->member > y->member;
}

static void read_again(struct source *source, struct inode **inodes, size_t count, struct sink *sink) {
    struct archive *archive = archive_start(source->fd, source->file);
    uint64_t member = 0;

    qsort(inodes, count, sizeof(struct inode *), compare_members);
    for (size_t next = 0; next < count; member++) {
        if (!archive_member(archive, source->file))
            die(STATUS_FAILED, "%s: the archive changed while it was read", source->file);
        if (inodes[next]->member == member)
            read_member(archive, source, inodes[next++], sink);
    }
    lib.archive_read_free(archive);
}

static void read_copy(const struct source *source, const struct inode *inode, struct extent extent, struct sink *sink) {
    static char buffer[1 << 18];

    while (extent.length > 0) {
        size_t portion = extent.length < sizeof(buffer) ? extent.length : sizeof(buffer);
        ssize_t got = pread(source->copy, buffer, portion, (off_t)(inode->member + extent.offset));
        if (got < 0)
            die(STATUS_FAILED, "a temporary copy of %s: %s", source->file, strerror(errno));
        if (got == 0) /* only holes follow */
            return;
        sink->put(sink, inode, extent.offset, buffer, (size_t)got);
        extent.offset += (uint64_t)got;
        extent.length -= (uint64_t)got;
    }
}

void tar_read(struct erofs_tree *tree, struct source *source, struct sink *sink) {
    struct inode **inodes = xmalloc(tree->inode_count * sizeof(struct inode *));
    size_t count = 0;

    for (size_t i = 0; i < tree->inode_count; i++) {
        if (tree->inodes[i]->source == source && tree->inodes[i]->size > 0)
            inodes[count++] = tree->inodes[i];
    }
    if (source->copy < 0)
        read_again(source, inodes, count, sink);
    for (size_t i = 0; source->copy >= 0 && i < count; i++) {
        struct extent all = {0, inodes[i]->size};
        for (unsigned j = 0; j < (inodes[i]->sparse ? inodes[i]->extent_count : 1); j++)
            read_copy(source, inodes[i], inodes[i]->sparse ? inodes[i]->extents[j] : all, sink);
    }
    free(inodes);
}
