// Archives from and to the host: see copy.h. Directories are walked without recursion: those that wait are in a list, so that each comes
// before what is in it. Files with several names are sent once for each. No locks: everything belongs to the calling thread.
#include "loader/copy.h"

#include "fs/vfs.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"

#define HEADER 110
#define CHUNK 4096
#define TRAILER "TRAILER!!!"

_Static_assert(COPY_NAME >= NAME_BUFFER_SIZE, "any path");

struct waiting {
    struct waiting *next;
    char path[];
};

struct copy {
    struct file *stream;
    size_t skip;  // what of a path is not in the archive: outgoing
    char *path;   // in the guest: COPY_NAME bytes
    char *target; // of a symbolic link: COPY_NAME bytes
    uint8_t *chunk;
    struct waiting *first, **last;
    uint32_t number; // of the member
};

enum field {
    INO,
    MODE,
    UID,
    GID,
    NLINK,
    MTIME,
    SIZE,
    DEV_MAJOR_AT,
    DEV_MINOR_AT,
    RDEV_MAJOR,
    RDEV_MINOR,
    NAME_SIZE,
    CHECK,
    FIELDS
};

static int prepare(struct copy *c) {
    c->last = &c->first;
    c->target = kmalloc(COPY_NAME);
    c->chunk = kmalloc(CHUNK);
    return c->target && c->chunk ? 0 : -ENOMEM;
}

static void finish(struct copy *c) {
    for (struct waiting *w; (w = c->first);) {
        c->first = w->next;
        kfree(w);
    }
    kfree(c->target);
    kfree(c->chunk);
}

// --- To the host ---

static int put(struct copy *c, const void *data, size_t n) {
    uint64_t pos = 0;
    for (size_t at = 0; at < n;) {
        int64_t done = file_write_kernel(c->stream, (const char *)data + at, n - at, &pos);
        if (done <= 0)
            return done < 0 ? (int)done : -EIO;
        at += (size_t)done;
    }
    return 0;
}

static int put_padding(struct copy *c, uint64_t written) { return put(c, "\0\0\0", -written & 3); }

static int put_header(struct copy *c, const uint32_t *field, const char *name) {
    char head[HEADER + 1] = "070701";
    for (int i = 0; i < FIELDS; i++)
        snprintf(head + 6 + 8 * i, 9, "%08x", field[i]);
    int err = put(c, head, HEADER);
    if (!err)
        err = put(c, name, field[NAME_SIZE]);
    return err ? err : put_padding(c, HEADER + field[NAME_SIZE]);
}

// As much as was promised: what the file has lost meanwhile is zeros.
static int put_content(struct copy *c, uint64_t size) {
    struct file *f = vfs_open(AT_FDCWD, c->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    int err = 0;
    if (IS_ERR(f))
        return (int)PTR_ERR(f);
    for (uint64_t at = 0; !err && at < size;) {
        size_t want = (size_t)MIN(size - at, (uint64_t)CHUNK);
        int64_t got = file_read_kernel(f, c->chunk, want, at);
        if (got < 0) {
            err = (int)got;
            break;
        }
        if (got == 0)
            memset(c->chunk, 0, want);
        err = put(c, c->chunk, got ? (size_t)got : want);
        at += got ? (size_t)got : want;
    }
    file_unref(f);
    return err ? err : put_padding(c, size);
}

static int remember_directory(struct copy *c) {
    size_t size = strlen(c->path) + 1;
    struct waiting *w = kmalloc(sizeof(*w) + size);
    if (!w)
        return -ENOMEM;
    memcpy(w->path, c->path, size);
    w->next = NULL;
    *c->last = w;
    c->last = &w->next;
    return 0;
}

// c->path. Sockets cannot be copied, as with docker; newc has 32 bits for a size.
static int send_one(struct copy *c, bool follow) {
    struct path p;
    struct vfs_stat st;
    int err = path_lookup(AT_FDCWD, c->path, follow ? LOOKUP_FOLLOW : 0, &p);
    if (err)
        return err;
    vfs_stat_path(&p, &st);
    path_unref(&p);
    bool link = S_ISLNK(st.mode), regular = S_ISREG(st.mode);
    if (S_ISSOCK(st.mode))
        return 0;
    if (regular && st.size > UINT32_MAX)
        return -EFBIG;
    long target = link ? vfs_readlink(AT_FDCWD, c->path, c->target, COPY_NAME) : 0;
    if (target < 0)
        return (int)target;
    const char *name = c->path + c->skip;
    if (!*name)
        name = ".";
    bool device = S_ISCHR(st.mode) || S_ISBLK(st.mode);
    uint32_t field[FIELDS] = {[INO] = ++c->number,
                              [MODE] = st.mode,
                              [UID] = st.uid,
                              [GID] = st.gid,
                              [NLINK] = 1,
                              [MTIME] = (uint32_t)(st.mtime / 1000000000),
                              [SIZE] = link      ? (uint32_t)target
                                       : regular ? (uint32_t)st.size
                                                 : 0,
                              [RDEV_MAJOR] = device ? DEV_MAJOR(st.rdev) : 0,
                              [RDEV_MINOR] = device ? DEV_MINOR(st.rdev) : 0,
                              [NAME_SIZE] = (uint32_t)strlen(name) + 1};
    err = put_header(c, field, name);
    if (!err && link) {
        err = put(c, c->target, (size_t)target);
        return err ? err : put_padding(c, (uint64_t)target);
    }
    if (!err && regular)
        return put_content(c, st.size);
    return err || !S_ISDIR(st.mode) ? err : remember_directory(c);
}

struct names {
    struct dir_context ctx;
    size_t len;
    char buffer[CHUNK]; // NUL-terminated names
};

static bool take_name(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type, int64_t off) {
    struct names *n = container_of(ctx, struct names, ctx);
    (void)ino, (void)type, (void)off;
    if (len + 1 > sizeof(n->buffer) - n->len)
        return false;
    memcpy(n->buffer + n->len, name, len);
    n->buffer[n->len + len] = '\0';
    n->len += len + 1;
    return true;
}

static int send_names(struct copy *c, const struct names *n) {
    size_t len = strlen(c->path), slash = len == 0 || c->path[len - 1] != '/';
    for (const char *name = n->buffer; name < n->buffer + n->len; name += strlen(name) + 1) {
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (len + slash + strlen(name) >= COPY_NAME)
            return -ENAMETOOLONG;
        if (slash)
            c->path[len] = '/';
        memcpy(c->path + len + slash, name, strlen(name) + 1);
        int err = send_one(c, false);
        if (err && err != -ENOENT) // it was removed meanwhile
            return err;
        c->path[len] = '\0';
    }
    return 0;
}

static int send_directory(struct copy *c, struct names *n) {
    struct file *f = vfs_open(AT_FDCWD, c->path, O_RDONLY | O_DIRECTORY, 0);
    int err;
    if (IS_ERR(f))
        return (int)PTR_ERR(f);
    do {
        n->ctx = (struct dir_context){.emit = take_name};
        n->len = 0;
        err = file_iterate(f, &n->ctx);
        if (!err)
            err = send_names(c, n);
    } while (!err && n->len > 0);
    file_unref(f);
    return err;
}

static int send_all(struct copy *c, struct names *n, bool follow) {
    int err = send_one(c, follow);
    for (struct waiting *w; !err && (w = c->first);) {
        if (!(c->first = w->next))
            c->last = &c->first;
        memcpy(c->path, w->path, strlen(w->path) + 1);
        kfree(w);
        err = send_directory(c, n);
    }
    uint32_t field[FIELDS] = {[NLINK] = 1, [NAME_SIZE] = sizeof(TRAILER)};
    return err ? err : put_header(c, field, TRAILER);
}

int copy_to_host(struct file *to, const char *path, char *name) {
    struct copy c = {.stream = to, .path = name};
    size_t len = strlen(path);
    if (len == 0 || len >= COPY_NAME)
        return len ? -ENAMETOOLONG : -ENOENT;
    memcpy(name, path, len + 1);
    bool follow = path[len - 1] == '/'; // and then what a link leads to is meant
    while (len > 1 && name[len - 1] == '/')
        name[--len] = '\0';
    for (c.skip = len; c.skip > 0 && name[c.skip - 1] != '/';)
        c.skip--;
    struct names *n = kmalloc(sizeof(*n));
    int err = n ? prepare(&c) : -ENOMEM;
    if (!err)
        err = send_all(&c, n, follow);
    kfree(n);
    finish(&c);
    return err;
}

// --- From the host ---

static int get(struct copy *c, void *data, size_t n) {
    for (size_t at = 0; at < n;) {
        int64_t got = file_read_kernel(c->stream, (char *)data + at, n - at, 0);
        if (got <= 0)
            return got < 0 ? (int)got : -EINVAL; // it ends in the middle
        at += (size_t)got;
    }
    return 0;
}

static int get_padding(struct copy *c, uint64_t read) {
    char nuls[4];
    return get(c, nuls, -read & 3);
}

static int get_header(struct copy *c, uint32_t *field) {
    char head[HEADER];
    int err = get(c, head, sizeof(head));
    if (err)
        return err;
    if (memcmp(head, "070701", 6) != 0)
        return -EINVAL;
    for (int i = 0; i < FIELDS; i++) {
        field[i] = 0;
        for (const char *d = head + 6 + 8 * i, *end = d + 8; d < end; d++) {
            unsigned digit = *d >= '0' && *d <= '9' ? (unsigned)(*d - '0') : (unsigned)((*d | 32) - 'a') + 10;
            if (digit > 15 || (digit >= 10 && (*d | 32) < 'a'))
                return -EINVAL;
            field[i] = field[i] << 4 | digit;
        }
    }
    return 0;
}

// A name within the directory: no empty, "." or ".." component but for "." alone.
static bool is_inside(const char *name) {
    if (strcmp(name, ".") == 0)
        return true;
    for (const char *end; *name; name = end + (*end == '/')) {
        for (end = name; *end && *end != '/';)
            end++;
        size_t len = (size_t)(end - name);
        if (len == 0 || (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'))) || (*end && !end[1]))
            return false;
    }
    return true;
}

static int set_attributes(const char *path, const uint32_t *field) {
    struct path p;
    int err = path_lookup(AT_FDCWD, path, 0, &p);
    if (err)
        return err;
    struct inode *inode = path_inode(&p);
    err = vfs_chown(inode, field[UID], field[GID]);
    if (!err && !S_ISLNK(field[MODE]))
        err = vfs_chmod(inode, field[MODE] & 07777);
    if (!err)
        err = vfs_set_times(inode, NSEC_MAX, (nsec_t)field[MTIME] * 1000000000);
    path_unref(&p);
    return err;
}

static int receive_file(struct copy *c, uint32_t size) {
    struct file *f = vfs_open(AT_FDCWD, c->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (IS_ERR(f))
        return (int)PTR_ERR(f);
    uint64_t pos = 0;
    int err = 0;
    while (!err && pos < size) {
        size_t want = (size_t)MIN(size - pos, (uint64_t)CHUNK);
        err = get(c, c->chunk, want);
        for (size_t at = 0; !err && at < want;) {
            int64_t done = file_write_kernel(f, c->chunk + at, want - at, &pos);
            err = done < 0 ? (int)done : done == 0 ? -EIO : 0;
            at += (size_t)MAX(done, (int64_t)0);
        }
    }
    file_unref(f);
    return err ? err : get_padding(c, size);
}

static int receive_directory(struct copy *c) {
    struct path p;
    struct vfs_stat st;
    int err = vfs_mkdir(AT_FDCWD, c->path, 0700);
    if (err != -EEXIST)
        return err;
    err = path_lookup(AT_FDCWD, c->path, 0, &p);
    if (err)
        return err;
    vfs_stat_path(&p, &st);
    path_unref(&p);
    return S_ISDIR(st.mode) ? 0 : -EEXIST;
}

static int receive_one(struct copy *c, const uint32_t *field) {
    uint32_t size = field[SIZE];
    int err;
    if (S_ISDIR(field[MODE])) {
        err = size ? -EINVAL : receive_directory(c);
        return err ? err : set_attributes(c->path, field);
    }
    err = vfs_unlink(AT_FDCWD, c->path, false);
    if (err && err != -ENOENT)
        return err;
    if (S_ISREG(field[MODE])) {
        err = receive_file(c, size);
    } else if (S_ISLNK(field[MODE])) {
        if (size == 0 || size >= COPY_NAME)
            return -EINVAL;
        err = get(c, c->target, size);
        if (!err)
            err = get_padding(c, size);
        c->target[size] = '\0';
        if (!err)
            err = vfs_symlink(c->target, AT_FDCWD, c->path);
    } else {
        bool device = S_ISCHR(field[MODE]) || S_ISBLK(field[MODE]);
        if (size || !(device || S_ISFIFO(field[MODE])))
            return -EINVAL;
        err = vfs_mknod(AT_FDCWD, c->path, field[MODE], device ? MAKE_DEV(field[RDEV_MAJOR], field[RDEV_MINOR]) : 0);
    }
    return err ? err : set_attributes(c->path, field);
}

static int receive_all(struct copy *c) {
    size_t dir = strlen(c->path);
    for (;;) {
        uint32_t field[FIELDS];
        int err = get_header(c, field);
        if (err)
            return err;
        size_t len = field[NAME_SIZE];
        if (len < 2 || len > COPY_NAME - dir)
            return -ENAMETOOLONG;
        err = get(c, c->path + dir, len);
        if (!err)
            err = get_padding(c, HEADER + len);
        if (err || c->path[dir + len - 1] || strlen(c->path + dir) != len - 1 || !is_inside(c->path + dir)) {
            c->path[dir + len - 1] = '\0';
            return err ? err : -EINVAL;
        }
        if (strcmp(c->path + dir, TRAILER) == 0)
            return 0;
        err = receive_one(c, field);
        if (err)
            return err;
    }
}

int copy_from_host(struct file *from, const char *dir, char *name) {
    struct copy c = {.stream = from, .path = name};
    struct path p;
    size_t len = strlen(dir);
    if (len == 0 || len + 2 >= COPY_NAME)
        return len ? -ENAMETOOLONG : -ENOENT;
    memcpy(name, dir, len + 1);
    int err = path_lookup(AT_FDCWD, dir, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &p);
    if (err)
        return err;
    path_unref(&p);
    memcpy(name + len, "/", 2);
    err = prepare(&c);
    if (!err)
        err = receive_all(&c);
    finish(&c);
    return err;
}
