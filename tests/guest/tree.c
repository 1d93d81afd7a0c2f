// runner: none
/* tree DIR: what a read-only tree of files shows, a line for each name: attributes to the nanosecond, contents by read(2), by mmap(2)
 * and in pieces, symbolic links, extended attributes, hard links, listings from remembered positions. An error is a line, too.
 * tests/system/erofs_read.py compares what it prints on Linux with what it prints on Knarr. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ENTRIES 8192
#define DEPTH 64

static struct seen {
    ino_t ino;
    char *name;
} seen[ENTRIES];
static unsigned seen_count;
static size_t prefix; /* of all names: not printed */
static dev_t device;

static void failed(const char *path, const char *what) {
    const char *name = errno == EIO ? "EIO" : errno == EUCLEAN ? "EUCLEAN" : strerror(errno);
    printf("%s: %s: %s\n", path + prefix, what, name);
}

static unsigned long hash(unsigned long h, const void *data, size_t n) {
    for (const unsigned char *p = data; n; n--, p++)
        h = (h ^ *p) * 0x100000001b3;
    return h;
}

static int compare_texts(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void attributes(const char *path) {
    static char names[65536], value[65536];
    char *sorted[256];
    size_t count = 0;
    ssize_t n = llistxattr(path, names, sizeof(names));
    if (n < 0 && errno != ENOTSUP)
        failed(path, "listxattr");
    for (char *at = names; n > 0 && at < names + n && count < 256; at += strlen(at) + 1)
        if (strncmp(at, "user.", 5) == 0 || strncmp(at, "trusted.", 8) == 0 || strcmp(at, "security.capability") == 0)
            sorted[count++] = at;
    qsort(sorted, count, sizeof(*sorted), compare_texts);
    for (size_t i = 0; i < count; i++) {
        ssize_t size = lgetxattr(path, sorted[i], value, sizeof(value));
        if (size < 0)
            failed(path, sorted[i]);
        else
            printf(" %s=%zd:%lx", sorted[i], size, hash(0, value, (size_t)size));
    }
}

static void contents(const char *path, const struct stat *st) {
    static char buf[70000];
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        failed(path, "open");
        return;
    }
    unsigned long h = 0;
    ssize_t n;
    off_t all = 0;
    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        h = hash(h, buf, (size_t)n);
        all += n;
    }
    if (n < 0) {
        failed(path, "read");
        close(fd);
        return;
    }
    printf(" %lx", h);
    if (all != st->st_size)
        printf(" %ld bytes read", (long)all);
    if (st->st_size && st->st_size <= 64 << 20) {
        unsigned char *p = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            failed(path, "mmap");
        } else {
            if (hash(0, p, (size_t)st->st_size) != h)
                printf(" MMAP DIFFERS");
            for (size_t at = (size_t)st->st_size; at % 4096; at++)
                if (p[at])
                    printf(" NOT ZERO BEHIND THE END");
            for (off_t at = 1; at < st->st_size; at += at / 2 + 4001) { /* pieces, from anywhere */
                n = pread(fd, buf, 5000, at);
                if (n != (st->st_size - at < 5000 ? st->st_size - at : 5000) || memcmp(buf, p + at, (size_t)n) != 0)
                    printf(" PIECE AT %ld DIFFERS", (long)at);
            }
            munmap(p, (size_t)st->st_size);
        }
    }
    if (pread(fd, buf, 10, st->st_size) != 0)
        printf(" SOMETHING BEHIND THE END");
    close(fd);
}

static void one(const char *path, int depth);

/* The names of a directory, sorted; NULL and *count 0 after an error. */
static char **names_of(const char *path, size_t *count, unsigned *directories) {
    static long positions[ENTRIES];
    char **names = calloc(ENTRIES, sizeof(*names));
    DIR *d = opendir(path);
    *count = 0;
    *directories = 0;
    if (!d) {
        failed(path, "opendir");
        return names;
    }
    struct dirent *e;
    while (errno = 0, positions[*count] = telldir(d), (e = readdir(d)) && *count + 1 < ENTRIES) {
        struct stat st;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && strcmp(e->d_name, "..") != 0) {
            if (e->d_type != DT_UNKNOWN && e->d_type != (st.st_mode & S_IFMT) >> 12)
                printf("%s/%s: d_type %d\n", path + prefix, e->d_name, e->d_type);
            if (e->d_ino != st.st_ino)
                printf("%s/%s: d_ino is not st_ino\n", path + prefix, e->d_name);
        }
        *directories += e->d_type == DT_DIR;
        names[(*count)++] = strdup(e->d_name);
    }
    if (errno)
        failed(path, "readdir");
    for (size_t i = *count; i > 0; i -= i < 40 ? i : 40) { /* backwards, by positions */
        seekdir(d, positions[i - 1]);
        e = readdir(d);
        if (!e || strcmp(e->d_name, names[i - 1]) != 0)
            printf("%s: seekdir to %s gives %s\n", path + prefix, names[i - 1], e ? e->d_name : "nothing");
    }
    closedir(d);
    qsort(names, *count, sizeof(*names), compare_texts);
    return names;
}

static void below(const char *path, char **names, size_t count, int depth) {
    for (size_t i = 0; i < count; i++) {
        char *name;
        if (strcmp(names[i], ".") != 0 && strcmp(names[i], "..") != 0 && depth < DEPTH &&
            asprintf(&name, "%s/%s", path, names[i]) > 0) {
            one(name, depth + 1);
            free(name);
        }
        free(names[i]);
    }
}

static void one(const char *path, int depth) {
    struct stat st;
    char **names = NULL, target[4096];
    size_t count = 0;
    unsigned links;
    if (lstat(path, &st) < 0) {
        failed(path, "stat");
        return;
    }
    links = (unsigned)st.st_nlink;
    if (S_ISDIR(st.st_mode))
        names = names_of(path, &count, &links); /* what a directory counts as links differs between file systems */
    printf("%s: mode %o links %u owner %u:%u time %ld.%09ld", path + prefix, st.st_mode, links, st.st_uid, st.st_gid,
           (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    if (st.st_dev != device)
        printf(" ANOTHER DEVICE");
    if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
        printf(" size %ld", (long)st.st_size);
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
        printf(" device %u:%u", major(st.st_rdev), minor(st.st_rdev));
    if (S_ISLNK(st.st_mode)) {
        ssize_t n = readlink(path, target, sizeof(target));
        if (n < 0)
            failed(path, "readlink");
        else
            printf(" -> %.*s", (int)n, target);
    }
    if (S_ISREG(st.st_mode))
        contents(path, &st);
    attributes(path);
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
        unsigned i = 0;
        while (i < seen_count && seen[i].ino != st.st_ino)
            i++;
        if (i < seen_count)
            printf(" the same as %s", seen[i].name);
        else if (seen_count < ENTRIES)
            seen[seen_count++] = (struct seen){st.st_ino, strdup(path + prefix)};
    }
    printf("\n");
    below(path, names, count, depth);
    free(names);
}

int main(int argc, char **argv) {
    struct stat st;
    if (argc < 2 || stat(argv[1], &st) < 0)
        return 1;
    device = st.st_dev;
    prefix = strlen(argv[1]);
    one(argv[1], 0);
    return 0;
}
