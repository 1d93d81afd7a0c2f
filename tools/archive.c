/*
 * Reading archives with libarchive; see the header.
 */
#include "tools/archive.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARY "libarchive.so.13"

enum { BLOCK = 256 << 10 };

struct archive_library lib;

static void load_library(void) {
    if (lib.archive_read_new)
        return;
    void *library = dlopen(LIBRARY, RTLD_NOW);

    if (!library)
        die(STATUS_FAILED, "reading archives needs %s (Debian: apt-get install libarchive13)", LIBRARY);
#define LOAD(function)                                                                                                 \
    if (!(lib.function = (__typeof__(function) *)dlsym(library, #function)))                                           \
        die(STATUS_FAILED, "%s has no %s", LIBRARY, #function);
    ARCHIVE_FUNCTIONS(LOAD)
}

static int spool(int from, const char *file) {
    int to = temporary_file();
    char *buffer = xmalloc(BLOCK);
    ssize_t got;

    while ((got = read(from, buffer, BLOCK)) != 0) {
        if (got < 0 && errno != EINTR)
            die(STATUS_FAILED, "%s: %s", file, strerror(errno));
        if (got > 0 && !write_all(to, buffer, (size_t)got))
            die(STATUS_FAILED, "a temporary copy of %s: %s", file, strerror(errno));
    }
    free(buffer);
    close(from);
    return to;
}

int archive_open_input(const char *file) {
    struct stat status;
    int fd = open(file, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &status) != 0)
        die(STATUS_FAILED, "%s: %s", file, strerror(errno));
    if (S_ISDIR(status.st_mode))
        die(STATUS_FAILED, "%s: a directory, not an archive", file);
    return S_ISREG(status.st_mode) ? fd : spool(fd, file);
}

void archive_fail(struct archive *archive, const char *file) {
    const char *reason = lib.archive_error_string(archive);

    die(STATUS_FAILED, "%s: %s", file, reason ? reason : "not an archive");
}

struct archive *archive_new(void) {
    load_library();
    struct archive *archive = lib.archive_read_new();

    if (!archive)
        die(STATUS_FAILED, "out of memory");
    return archive;
}

static struct archive *open_at(struct archive *archive, int fd, uint64_t position, const char *file) {
    if (lseek(fd, (off_t)position, SEEK_SET) != (off_t)position)
        die(STATUS_FAILED, "%s: %s", file, strerror(errno));
    if (lib.archive_read_open_fd(archive, fd, BLOCK) != ARCHIVE_OK)
        archive_fail(archive, file);
    return archive;
}

struct archive *archive_start_at(int fd, uint64_t position, const char *file) {
    struct archive *archive = archive_new();

    lib.archive_read_support_filter_all(archive);
    lib.archive_read_support_format_tar(archive);
    lib.archive_read_support_format_cpio(archive);
    lib.archive_read_set_options(archive, "hdrcharset=BINARY"); /* names are bytes */
    return open_at(archive, fd, position, file);
}

struct archive *archive_start(int fd, const char *file) {
    return archive_start_at(fd, 0, file);
}

struct archive *archive_start_raw(int fd, const char *file) {
    struct archive *archive = archive_new();

    lib.archive_read_support_filter_all(archive);
    lib.archive_read_support_format_raw(archive);
    return open_at(archive, fd, 0, file);
}

struct archive_entry *archive_member(struct archive *archive, const char *file) {
    struct archive_entry *entry;
    int status = lib.archive_read_next_header(archive, &entry);

    if (status == ARCHIVE_EOF)
        return NULL;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
        archive_fail(archive, file);
    return entry;
}

bool archive_is_cpio(int fd, const char *file) {
    struct archive *archive = archive_start(fd, file);

    archive_member(archive, file);
    bool is_cpio = (lib.archive_format(archive) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_CPIO;
    lib.archive_read_free(archive);
    return is_cpio;
}
