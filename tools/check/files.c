/*
 * Files of the host or of a root; see load.h. A file of a root becomes a file in memory, once, so that whatever reads files can read it.
 */
#include "tools/check/load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };
static const uint64_t largest = 2ull << 30; /* of a file that is looked at */

static int copy_out(const struct erofs_image *root, const struct erofs_file *file) {
    int fd = memfd_create("knarr-check", MFD_CLOEXEC);
    char *piece = xmalloc(PIECE);

    if (fd < 0)
        die(STATUS_FAILED, "a file in memory: %s", strerror(errno));
    for (uint64_t at = 0; at < file->size;) {
        ssize_t got = erofs_read(root, file, piece, file->size - at < PIECE ? (size_t)(file->size - at) : PIECE, at);
        if (got <= 0 || !write_all(fd, piece, (size_t)got)) {
            close(fd);
            fd = -1;
            errno = EIO;
            break;
        }
        at += (uint64_t)got;
    }
    free(piece);
    return fd;
}

int check_open(void *context, const char *path) {
    struct check_files *files = context;
    struct erofs_file file;

    if (!files->root)
        return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (!erofs_lookup(files->root, path, &file))
        return -1;
    if (!S_ISREG(file.mode) || file.size > largest) {
        errno = EACCES;
        return -1;
    }
    size_t i = 0;
    while (i < files->opened_count && files->opened[i].nid != file.nid)
        i++;
    if (i == files->opened_count) {
        int fd = copy_out(files->root, &file);
        if (fd < 0)
            return -1;
        files->opened = xrealloc(files->opened, (i + 1) * sizeof(*files->opened));
        files->opened[files->opened_count++] = (struct opened){file.nid, fd};
    }
    /* a descriptor of its own has an offset of its own */
    char *again = xasprintf("/proc/self/fd/%d", files->opened[i].fd);
    int fd = open(again, O_RDONLY | O_CLOEXEC);
    free(again);
    return fd;
}

uint8_t *check_read(struct check_files *files, const char *path, size_t *size) {
    struct stat status;
    int fd = check_open(files, path);
    uint8_t *bytes = NULL;

    *size = 0;
    if (fd < 0)
        return NULL;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && (uint64_t)status.st_size <= largest) {
        bytes = xmalloc((size_t)status.st_size + 1);
        ssize_t got = 0;
        while (*size < (size_t)status.st_size && (got = read(fd, bytes + *size, (size_t)status.st_size - *size)) > 0)
            *size += (size_t)got;
        bytes[*size] = '\0';
    } else {
        errno = S_ISDIR(status.st_mode) ? EISDIR : EACCES;
    }
    int error = errno;
    close(fd);
    errno = error;
    return bytes;
}

char *check_find(struct check_files *files, const char *program) {
    const char *search = environment_get(&files->environment, "PATH");

    if (strchr(program, '/') || !search)
        return *program == '/' || !files->root ? xstrdup(program) : xasprintf("/%s", program);
    for (; *search; search += *search == ':') {
        size_t length = strcspn(search, ":");
        char *candidate = xasprintf("%.*s/%s", length ? (int)length : 1, length ? search : ".", program);
        struct erofs_file file;
        struct stat status;
        bool there = files->root ? erofs_lookup(files->root, candidate, &file) && S_ISREG(file.mode) && file.mode & 0111
                                 : stat(candidate, &status) == 0 && S_ISREG(status.st_mode) && status.st_mode & 0111;
        if (there)
            return candidate;
        free(candidate);
        search += length;
    }
    return NULL;
}
