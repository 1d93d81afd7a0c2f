/*
 * Parts of images in directories and archives; see the header. An archive's headers are read once: then each member is found by the
 * place of its header.
 */
#include "tools/image/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/archive.h"
#include "tools/image/json.h"

enum { BLOCK = 256 << 10, LINKS_MOST = 10, MEMBERS_MOST = 1 << 20 };

struct member {
    char *name;
    char *link; /* of a symbolic or hard link: where it leads */
    int64_t position;
    uint64_t size;
};

struct store {
    const char *name;
    int fd; /* the directory, or the uncompressed archive */
    bool is_archive;
    struct member *members; /* in the order of the archive */
    size_t count;
};

struct part {
    struct store *store;
    char *name;
    uint64_t size;
    int fd; /* -1: a member */
    struct archive *archive;
};

struct store *store_of_directory(const char *directory) {
    struct store *store = xmalloc(sizeof(*store));

    *store = (struct store){.name = directory, .fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (store->fd < 0)
        die(STATUS_FAILED, "%s: %s", directory, strerror(errno));
    return store;
}

/* The archive itself, when it is compressed: positions in it must be those of the file. */
static int uncompress(int fd, const char *file) {
    struct archive *archive = archive_start_raw(fd, file);
    char *buffer = xmalloc(BLOCK);
    int copy = temporary_file();
    la_ssize_t got;

    archive_member(archive, file);
    while ((got = lib.archive_read_data(archive, buffer, BLOCK)) != 0) {
        if (got < 0)
            archive_fail(archive, file);
        if (!write_all(copy, buffer, (size_t)got))
            die(STATUS_FAILED, "a temporary copy of %s: %s", file, strerror(errno));
    }
    free(buffer);
    lib.archive_read_free(archive);
    close(fd);
    return copy;
}

/* The name that a link in an archive leads to, from its directory, "." and ".." resolved; NULL: out of the archive. */
static char *resolve(const char *name, const char *target) {
    const char *slash = *target == '/' ? NULL : strrchr(name, '/');
    char *path = slash ? xasprintf("%.*s/%s", (int)(slash - name), name, target) : xstrdup(target);
    char *out = xmalloc(strlen(path) + 1), *end = out;

    for (const char *next = path; *next;) {
        size_t length = strcspn(next, "/");
        if (length == 2 && strncmp(next, "..", 2) == 0) {
            if (end == out) {
                free(out);
                free(path);
                return NULL;
            }
            while (end > out && *--end != '/')
                ;
        } else if (length > 0 && !(length == 1 && *next == '.')) {
            if (end > out)
                *end++ = '/';
            memcpy(end, next, length);
            end += length;
        }
        next += length;
        next += *next == '/';
    }
    *end = '\0';
    free(path);
    return out;
}

static void add_member(struct store *store, struct archive *archive, struct archive_entry *entry) {
    const char *given = lib.archive_entry_pathname(entry), *symlink = lib.archive_entry_symlink(entry);
    const char *hardlink = lib.archive_entry_hardlink(entry);
    char *name = given ? path_normalize(given) : NULL;

    if (!name)
        die(STATUS_FAILED, "%s: %s: the name leads out of the archive", store->name, given ? given : "(unreadable)");
    if (lib.archive_entry_mode(entry) != 0 && !hardlink && !symlink && !S_ISREG(lib.archive_entry_mode(entry))) {
        free(name);
        return;
    }
    if (store->count == MEMBERS_MOST)
        die(STATUS_FAILED, "%s: more than %d members", store->name, MEMBERS_MOST);
    if ((store->count & (store->count - 1)) == 0)
        store->members = xrealloc(store->members, (store->count ? 2 * store->count : 1) * sizeof(struct member));
    store->members[store->count++] = (struct member){
        .name = name,
        .link = symlink    ? resolve(name, symlink)
                : hardlink ? resolve("", hardlink)
                           : NULL,
        .position = lib.archive_read_header_position(archive),
        .size = (uint64_t)lib.archive_entry_size(entry),
    };
}

struct store *store_of_archive(const char *file) {
    struct store *store = xmalloc(sizeof(*store));
    struct archive_entry *entry;

    *store = (struct store){.name = file, .fd = archive_open_input(file), .is_archive = true};
    struct archive *archive = archive_start(store->fd, file);
    entry = archive_member(archive, file);
    if (lib.archive_filter_code(archive, 0) != ARCHIVE_FILTER_NONE) {
        lib.archive_read_free(archive);
        store->fd = uncompress(store->fd, file);
        archive = archive_start(store->fd, file);
        entry = archive_member(archive, file);
    }
    for (; entry; entry = archive_member(archive, file))
        add_member(store, archive, entry);
    lib.archive_read_free(archive);
    return store;
}

void store_close(struct store *store) {
    for (size_t i = 0; i < store->count; i++) {
        free(store->members[i].name);
        free(store->members[i].link);
    }
    free(store->members);
    close(store->fd);
    free(store);
}

const char *store_name(const struct store *store) { return store->name; }

/* The last member of a name counts, as when an archive is unpacked. */
static const struct member *find_member(const struct store *store, const char *name) {
    const struct member *found = NULL;

    for (int links = 0; name && links < LINKS_MOST; links++) {
        found = NULL;
        for (size_t i = store->count; i > 0 && !found; i--) {
            if (strcmp(store->members[i - 1].name, name) == 0)
                found = &store->members[i - 1];
        }
        if (!found || !found->link)
            return found;
        name = found->link;
    }
    return NULL;
}

static bool open_member(struct part *part, const char *name) {
    const struct member *member = find_member(part->store, name);

    if (!member)
        return false;
    part->size = member->size;
    part->archive = archive_start_at(part->store->fd, (uint64_t)member->position, part->store->name);
    archive_member(part->archive, part->store->name);
    return true;
}

static bool open_file(struct part *part, const char *name) {
    struct stat status;

    part->fd = openat(part->store->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (part->fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return false;
    if (part->fd < 0 || fstat(part->fd, &status) != 0)
        die(STATUS_FAILED, "%s/%s: %s", part->store->name, name, strerror(errno));
    if (!S_ISREG(status.st_mode))
        die(STATUS_FAILED, "%s/%s: not a regular file", part->store->name, name);
    part->size = (uint64_t)status.st_size;
    return true;
}

struct part *part_open(struct store *store, const char *name) {
    char *path = path_normalize(name);
    struct part *part = xmalloc(sizeof(*part));

    if (!path || *path == '\0')
        die(STATUS_FAILED, "%s: %s: the name leads out of the image", store->name, name);
    *part = (struct part){.store = store, .name = path, .fd = -1};
    if (store->is_archive ? open_member(part, path) : open_file(part, path))
        return part;
    free(path);
    free(part);
    return NULL;
}

uint64_t part_size(const struct part *part) { return part->size; }

size_t part_read(struct part *part, void *data, size_t size) {
    ssize_t got;

    if (part->archive) {
        got = lib.archive_read_data(part->archive, data, size);
        if (got < 0)
            archive_fail(part->archive, part->store->name);
    } else {
        do
            got = read(part->fd, data, size);
        while (got < 0 && errno == EINTR);
        if (got < 0)
            die(STATUS_FAILED, "%s/%s: %s", part->store->name, part->name, strerror(errno));
    }
    return (size_t)got;
}

void part_close(struct part *part) {
    if (part->archive)
        lib.archive_read_free(part->archive);
    if (part->fd >= 0)
        close(part->fd);
    free(part->name);
    free(part);
}

char *store_read(struct store *store, const char *name, size_t *size) {
    struct part *part = part_open(store, name);
    size_t got, done = 0;

    if (!part)
        return NULL;
    if (part->size > JSON_MOST)
        die(STATUS_FAILED, "%s: %s: %ju bytes of JSON are too many", store->name, name, (uintmax_t)part->size);
    char *text = xmalloc(part->size + 1);
    while (done < part->size && (got = part_read(part, text + done, part->size - done)) > 0)
        done += got;
    text[done] = '\0';
    *size = done;
    part_close(part);
    return text;
}

char *blob_name(const struct digest *digest) {
    return xasprintf("blobs/%s/%s", digest_algorithm(digest), digest_hex(digest));
}

char *store_read_blob(struct store *store, const struct digest *digest, size_t *size) {
    char *name = blob_name(digest);
    char *text = store_read(store, name, size);

    if (!text)
        die(STATUS_FAILED, "%s: %s is not there", store->name, digest->text);
    struct digest real = digest_of(digest_algorithm(digest), text, *size);
    if (strcmp(real.text, digest->text) != 0)
        die(STATUS_FAILED, "%s: the blob %s is damaged: its digest is %s", store->name, digest->text, real.text);
    free(name);
    return text;
}
