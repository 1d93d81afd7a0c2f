/*
 * The cache of layers; see the header.
 */
#include "tools/image/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/options.h"

#define LIMIT_DEFAULT (4ULL << 30)

struct entry {
    char *name;
    uint64_t size;
    struct timespec used;
};

static uint64_t limit(void) {
    const char *given = getenv("KNARR_CACHE_SIZE");
    uint64_t size = LIMIT_DEFAULT;

    if (given && *given && !parse_size(given, &size))
        die(STATUS_FAILED, "KNARR_CACHE_SIZE=%s: not a size", given);
    return size;
}

/* The directory's descriptor, made when it is missing; -1: there is none. */
static int open_directory(void) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *path;

    if (limit() == 0)
        return -1;
    if (base && *base == '/')
        path = xasprintf("%s/knarr/layers", base);
    else if (home && *home == '/')
        path = xasprintf("%s/.cache/knarr/layers", home);
    else
        return -1;
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    mkdir(path, 0700);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(path);
    return fd;
}

static char *entry_name(const struct digest *diff_id) {
    return xasprintf("%s-%s.tar", digest_algorithm(diff_id), digest_hex(diff_id));
}

int cache_find(const struct digest *diff_id) {
    struct digest real;
    struct stat status;
    int directory = open_directory();

    if (directory < 0)
        return -1;
    char *name = entry_name(diff_id);
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) ||
                    !digest_of_file(digest_algorithm(diff_id), fd, 0, (uint64_t)status.st_size, &real) ||
                    strcmp(real.text, diff_id->text) != 0)) {
        say("the layer %.19s in the cache is damaged: it is unpacked again", diff_id->text);
        unlinkat(directory, name, 0);
        close(fd);
        fd = -1;
    }
    if (fd >= 0)
        futimens(fd, NULL); /* used now */
    free(name);
    close(directory);
    return fd;
}

int cache_create(void) {
    int directory = open_directory();
    int fd = directory < 0 ? -1 : openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (directory >= 0)
        close(directory);
    return fd;
}

static int compare_use(const void *a, const void *b) {
    const struct entry *x = a, *y = b;

    if (x->used.tv_sec != y->used.tv_sec)
        return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    return x->used.tv_nsec < y->used.tv_nsec ? -1 : x->used.tv_nsec > y->used.tv_nsec;
}

/* Removes what was not used for longest, until the rest is small enough. Takes the descriptor over. */
static void shrink(int directory) {
    DIR *stream = fdopendir(directory);
    struct entry *entries = NULL;
    size_t count = 0;
    uint64_t total = 0, most = limit();
    struct dirent *each;
    struct stat status;

    if (!stream)
        return;
    while ((each = readdir(stream))) {
        if (fstatat(directory, each->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode))
            continue;
        entries = xrealloc(entries, (count + 1) * sizeof(*entries));
        entries[count++] = (struct entry){xstrdup(each->d_name), (uint64_t)status.st_size, status.st_mtim};
        total += (uint64_t)status.st_size;
    }
    if (count > 0)
        qsort(entries, count, sizeof(*entries), compare_use);
    for (size_t i = 0; i < count; i++) {
        if (total > most && unlinkat(directory, entries[i].name, 0) == 0)
            total -= entries[i].size;
        free(entries[i].name);
    }
    free(entries);
    closedir(stream);
}

void cache_keep(int fd, const struct digest *diff_id) {
    int directory = open_directory();

    if (directory < 0)
        return;
    char *name = entry_name(diff_id), *self = xasprintf("/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, self, directory, name, AT_SYMLINK_FOLLOW) == 0)
        shrink(directory);
    else
        close(directory);
    free(name);
    free(self);
}
