/*
 * Fills the guest's root from a directory of the host. Symbolic links are kept and never followed, so nothing from outside
 * the directory gets in; names are sorted, so the same directory gives the same bytes. Files with several names (hard
 * links) are kept as one file.
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
#include <unistd.h>

#include "tools/initrd.h"

/* A file with more than one name, by its identity on the host. */
struct linked {
    dev_t dev;
    ino_t ino;
    struct node *node;
};

struct walk {
    struct initrd *initrd;
    const char *root;
    void *linked; /* tsearch(3) of struct linked */
    char *buffer;
};

enum { BUFFER = 1 << 20 };

NORETURN static void fail(const struct walk *walk, const char *path) {
    die(STATUS_FAILED, "--root %s: /%s: %s", walk->root, path, strerror(errno));
}

static int compare_linked(const void *a, const void *b) {
    const struct linked *x = a, *y = b;

    if (x->dev != y->dev)
        return x->dev < y->dev ? -1 : 1;
    return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* Exactly member->size bytes: a file that shrinks meanwhile ends in zeros, one that grows is cut. */
static void copy_file(struct walk *walk, int directory, const char *name, const struct cpio_member *member) {
    uint64_t left = member->size;
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        fail(walk, member->path);
    while (left > 0) {
        size_t portion = left < BUFFER ? left : BUFFER;
        ssize_t got = read(fd, walk->buffer, portion);
        if (got < 0)
            fail(walk, member->path);
        if (got == 0) {
            memset(walk->buffer, 0, portion);
            got = (ssize_t)portion;
        }
        cpio_data(&walk->initrd->cpio, walk->buffer, (size_t)got);
        left -= (uint64_t)got;
    }
    close(fd);
}

static void walk_directory(struct walk *walk, int directory, const char *path);

static void add(struct walk *walk, int directory, const char *name, const char *path) {
    struct stat status;
    char target[PATH_MAX] = "";

    if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        fail(walk, path);

    struct linked *same = xmalloc(sizeof(*same));
    *same = (struct linked){status.st_dev, status.st_ino, NULL};
    if (S_ISREG(status.st_mode) && status.st_nlink > 1) {
        struct linked **known = tsearch(same, &walk->linked, compare_linked);
        if (!known)
            die(STATUS_FAILED, "out of memory");
        if (*known != same) {
            free(same);
            initrd_hardlink(walk->initrd, path, (*known)->node);
            return;
        }
    }

    struct cpio_member member = {
        .path = path,
        .mode = status.st_mode,
        .uid = status.st_uid,
        .gid = status.st_gid,
        .nlink = 1,
        .mtime = (uint32_t)status.st_mtime,
    };
    if (S_ISREG(status.st_mode)) {
        member.size = (uint64_t)status.st_size;
    } else if (S_ISLNK(status.st_mode)) {
        ssize_t length = readlinkat(directory, name, target, sizeof(target) - 1);
        if (length < 0)
            fail(walk, path);
        target[length] = '\0';
        member.size = (uint64_t)length;
    } else if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
        member.rdev_major = major(status.st_rdev);
        member.rdev_minor = minor(status.st_rdev);
    }

    same->node = initrd_begin(walk->initrd, &member, S_ISLNK(status.st_mode) ? target : NULL);
    if (S_ISREG(status.st_mode))
        copy_file(walk, directory, name, &member);
    else
        cpio_data(&walk->initrd->cpio, target, member.size);
    cpio_pad(&walk->initrd->cpio);

    if (S_ISDIR(status.st_mode)) {
        int below = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below < 0)
            fail(walk, path);
        walk_directory(walk, below, path);
    }
    if (!S_ISREG(status.st_mode) || status.st_nlink == 1)
        free(same);
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Takes over the descriptor. */
static void walk_directory(struct walk *walk, int directory, const char *path) {
    struct strings names = {0};
    DIR *stream = fdopendir(directory);
    struct dirent *entry;

    if (!stream)
        fail(walk, path);
    while (errno = 0, (entry = readdir(stream))) {
        bool dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (!dots && !(*path == '\0' && strcmp(entry->d_name, ".knarr") == 0))
            strings_add(&names, "%s", entry->d_name);
    }
    if (errno)
        fail(walk, path);
    if (names.count > 0)
        qsort(names.item, names.count, sizeof(*names.item), compare_names);

    for (size_t i = 0; i < names.count; i++) {
        char *below = xasprintf("%s%s%s", path, *path ? "/" : "", names.item[i]);
        add(walk, dirfd(stream), names.item[i], below);
        free(below);
        free(names.item[i]);
    }
    free(names.item);
    closedir(stream);
}

void root_from_directory(struct initrd *initrd, const char *directory) {
    struct walk walk = {.initrd = initrd, .root = directory, .buffer = xmalloc(BUFFER)};
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        fail(&walk, "");
    walk_directory(&walk, fd, "");
    tdestroy(walk.linked, free);
    free(walk.buffer);
}
