/*
 * Layers; see the header. One pass over the part makes both sums; nothing of the result is used before they are right.
 */
#include "tools/image/layer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/archive.h"
#include "tools/image/cache.h"
#include "tools/image/progress.h"

enum { BLOCK = 256 << 10 };

struct reading {
    struct part *part;
    struct sum *sum; /* NULL: nothing to compare with */
    uint64_t size;
    char buffer[BLOCK];
};

static la_ssize_t next_block(struct archive *archive, void *arg, const void **data) {
    struct reading *reading = arg;
    size_t got = part_read(reading->part, reading->buffer, BLOCK);

    if (reading->sum)
        sum_add(reading->sum, reading->buffer, got);
    reading->size += got;
    progress_add(got);
    *data = reading->buffer;
    return (la_ssize_t)got;
}

/* False with errno when it cannot be written. */
static bool unpack(struct reading *reading, int to, struct sum *sum, const char *name) {
    struct archive *archive = archive_new();
    char *buffer = xmalloc(BLOCK);
    const void *rest;
    la_ssize_t got = 0;
    bool written = true;

    /* Only what layers may be compressed with; some of libarchive's others start programs. */
    lib.archive_read_support_filter_gzip(archive);
    lib.archive_read_support_filter_zstd(archive);
    lib.archive_read_support_filter_xz(archive);
    lib.archive_read_support_filter_bzip2(archive);
    lib.archive_read_support_format_raw(archive);
    lib.archive_read_support_format_empty(archive);
    if (lib.archive_read_open(archive, reading, NULL, next_block, NULL) != ARCHIVE_OK)
        archive_fail(archive, name);
    if (archive_member(archive, name)) {
        while (written && (got = lib.archive_read_data(archive, buffer, BLOCK)) > 0) {
            sum_add(sum, buffer, (size_t)got);
            written = write_all(to, buffer, (size_t)got);
        }
    }
    int error = errno;
    if (got < 0)
        archive_fail(archive, name);
    while (written && next_block(archive, reading, &rest) > 0) /* what lies behind the end is part of the blob */
        ;
    lib.archive_read_free(archive);
    free(buffer);
    errno = error;
    return written;
}

/* Unpacks the layer into a file; false with errno when there is no room for it. */
static bool fetch(struct store *store, const struct layer *layer, int to) {
    struct reading *reading = xmalloc(sizeof(*reading));
    char *name = xasprintf("%s: the layer %s", store_name(store), layer->name);

    reading->part = part_open(store, layer->name);
    if (!reading->part)
        die(STATUS_FAILED, "%s is not there", name);
    bool has_digest = layer->blob.text[0] != '\0';
    if (has_digest && part_size(reading->part) != layer->size)
        die(STATUS_FAILED, "%s has %ju bytes instead of %ju", name, (uintmax_t)part_size(reading->part),
            (uintmax_t)layer->size);
    reading->sum = has_digest ? sum_new(digest_algorithm(&layer->blob)) : NULL;
    reading->size = 0;
    struct sum *sum = sum_new(digest_algorithm(&layer->diff_id));
    progress_goal(part_size(reading->part));
    bool written = unpack(reading, to, sum, name);
    struct digest content = sum_end(sum);
    if (has_digest) {
        struct digest real = sum_end(reading->sum);
        if (written && strcmp(real.text, layer->blob.text) != 0)
            die(STATUS_FAILED, "%s is damaged: its digest is %s", name, real.text);
    }
    if (written && strcmp(content.text, layer->diff_id.text) != 0)
        die(STATUS_FAILED, "%s is not what the image says: its content's digest is %s instead of %s", name,
            content.text, layer->diff_id.text);
    part_close(reading->part);
    free(name);
    free(reading);
    return written;
}

int layer_open(struct store *store, const struct layer *layer, bool use_cache, bool *cached) {
    int fd = use_cache ? cache_find(&layer->diff_id) : -1;

    *cached = fd >= 0;
    if (fd >= 0)
        return fd;
    fd = use_cache ? cache_create() : -1;
    if (fd >= 0) {
        if (fetch(store, layer, fd)) {
            cache_keep(fd, &layer->diff_id);
            return fd;
        }
        close(fd); /* no room in the cache */
    }
    fd = temporary_file();
    if (!fetch(store, layer, fd))
        die(STATUS_FAILED, "a temporary copy of the layer %s: %s", layer->name, strerror(errno));
    return fd;
}
