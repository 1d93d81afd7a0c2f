// Each message of 9P2000.L as a function: see client.h.
#include "fs/9p/client.h"

#include "kernel/string.h"

static struct p9_request *begin(struct p9_fid *f, enum p9_type type, uint32_t out_size, uint32_t in_size) {
    struct p9_request *r = p9_request_new(f->client, type, out_size, in_size);
    if (!IS_ERR(r))
        p9_put32(&r->b, f->number);
    return r;
}

static int end(struct p9_request *r) {
    int err = p9_call(r);
    p9_request_free(r);
    return err;
}

// A reply with fields that nobody wants, but that must be there.
static int end_qid(struct p9_request *r, struct p9_qid *qid) {
    int err = p9_call(r);
    if (err == 0) {
        struct p9_qid q = p9_get_qid(&r->b);
        if (qid)
            *qid = q;
        err = p9_fields_end(r);
    }
    p9_request_free(r);
    return err;
}

struct p9_fid *p9_attach(struct p9_client *c, uint32_t uid, const char *uname, const char *aname) {
    struct p9_fid *f = p9_fid_new(c, uid);
    if (!f)
        return ERR_PTR(-ENOMEM);
    struct p9_request *r = begin(f, P9_TATTACH, 4096, P9_REPLY);
    int err = IS_ERR(r) ? (int)PTR_ERR(r) : 0;
    if (err == 0) {
        p9_put32(&r->b, P9_NOFID);
        p9_put_string(&r->b, uname, strlen(uname));
        p9_put_string(&r->b, aname, strlen(aname));
        p9_put32(&r->b, uid);
        err = end_qid(r, &f->qid);
    }
    if (err < 0) {
        p9_fid_abandon(f);
        return ERR_PTR(err);
    }
    return f;
}

struct p9_fid *p9_walk(struct p9_fid *from, const struct p9_name *names, unsigned count) {
    uint32_t size = P9_HEADER + 10;
    for (unsigned i = 0; i < count; i++)
        size += 2 + (uint32_t)names[i].len;
    struct p9_fid *f = p9_fid_new(from->client, from->uid);
    if (!f)
        return ERR_PTR(-ENOMEM);
    struct p9_request *r = begin(from, P9_TWALK, size, P9_REPLY);
    if (IS_ERR(r)) {
        p9_fid_abandon(f);
        return ERR_PTR(PTR_ERR(r));
    }
    p9_put32(&r->b, f->number);
    p9_put16(&r->b, (uint16_t)count);
    for (unsigned i = 0; i < count; i++)
        p9_put_string(&r->b, names[i].name, names[i].len);
    f->qid = from->qid;
    unsigned got = 0;
    int err = p9_call(r);
    if (err == 0) {
        got = p9_get16(&r->b);
        if (got > count || (count && !got)) {
            p9_client_broken(from->client, "more or fewer names walked than there are");
            err = -EIO;
        }
        for (unsigned i = 0; i < got && err == 0; i++)
            f->qid = p9_get_qid(&r->b);
        if (err == 0)
            err = p9_fields_end(r);
        if (err == 0 && got < count)
            err = -ENOENT;
    }
    p9_request_free(r);
    if (err < 0) { // fewer names: the server has made no fid
        p9_fid_abandon(f);
        return ERR_PTR(err);
    }
    return f;
}

// Both give a qid and the best size of a message.
static int end_open(struct p9_fid *f, struct p9_request *r, uint32_t flags) {
    int err = end_qid(r, &f->qid);
    if (err == 0) {
        f->opened = true;
        f->access = (flags & 3) == 0 ? 4 : (flags & 3) == 1 ? 2 : 6;
        f->append = flags & 02000;
    }
    return err;
}

int p9_lopen(struct p9_fid *f, uint32_t flags) {
    struct p9_request *r = begin(f, P9_TLOPEN, P9_HEADER + 8, 64);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    p9_put32(&r->b, flags);
    return end_open(f, r, flags);
}

int p9_lcreate(struct p9_fid *dir, const char *name, size_t len, uint32_t flags, uint32_t mode, uint32_t gid) {
    struct p9_request *r = begin(dir, P9_TLCREATE, P9_SMALL, 64);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    p9_put_string(&r->b, name, len);
    p9_put32(&r->b, flags);
    p9_put32(&r->b, mode);
    p9_put32(&r->b, gid);
    return end_open(dir, r, flags);
}

int p9_mkdir(struct p9_fid *dir, const char *name, size_t len, uint32_t mode, uint32_t gid) {
    struct p9_request *r = begin(dir, P9_TMKDIR, P9_SMALL, 64);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    p9_put_string(&r->b, name, len);
    p9_put32(&r->b, mode);
    p9_put32(&r->b, gid);
    return end_qid(r, NULL);
}

int p9_symlink(struct p9_fid *dir, const char *name, size_t len, const char *target, uint32_t gid) {
    struct p9_request *r = begin(dir, P9_TSYMLINK, (uint32_t)(P9_SMALL + strlen(target)), 64);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    p9_put_string(&r->b, name, len);
    p9_put_string(&r->b, target, strlen(target));
    p9_put32(&r->b, gid);
    return end_qid(r, NULL);
}

// Device numbers of Linux' user space: struct inode has them in this form.
int p9_mknod(struct p9_fid *dir, const char *name, size_t len, uint32_t mode, uint64_t rdev, uint32_t gid) {
    struct p9_request *r = begin(dir, P9_TMKNOD, P9_SMALL, 64);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    p9_put_string(&r->b, name, len);
    p9_put32(&r->b, mode);
    p9_put32(&r->b, (uint32_t)(rdev >> 8 & 0xfff));
    p9_put32(&r->b, (uint32_t)((rdev & 0xff) | (rdev >> 12 & 0xfff00)));
    p9_put32(&r->b, gid);
    return end_qid(r, NULL);
}

int p9_link(struct p9_fid *dir, struct p9_fid *target, const char *name, size_t len) {
    struct p9_request *r = begin(dir, P9_TLINK, P9_SMALL, 64);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    p9_put32(&r->b, target->number);
    p9_put_string(&r->b, name, len);
    return end(r);
}

int p9_renameat(struct p9_fid *from, const struct p9_name *old, struct p9_fid *to, const struct p9_name *new) {
    struct p9_request *r = begin(from, P9_TRENAMEAT, P9_SMALL, 64);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    p9_put_string(&r->b, old->name, old->len);
    p9_put32(&r->b, to->number);
    p9_put_string(&r->b, new->name, new->len);
    return end(r);
}

int p9_unlinkat(struct p9_fid *dir, const char *name, size_t len, bool directory) {
    struct p9_request *r = begin(dir, P9_TUNLINKAT, P9_SMALL, 64);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    p9_put_string(&r->b, name, len);
    p9_put32(&r->b, directory ? 0x200 : 0); // P9_DOTL_AT_REMOVEDIR
    return end(r);
}

int p9_getattr(struct p9_fid *f, struct p9_attr *a) {
    struct p9_request *r = begin(f, P9_TGETATTR, P9_HEADER + 12, P9_REPLY);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    p9_put64(&r->b, P9_GETATTR_BASIC);
    int err = p9_call(r);
    if (err == 0) {
        p9_get_attr(&r->b, a);
        err = p9_fields_end(r);
    }
    p9_request_free(r);
    return err;
}

int p9_setattr(struct p9_fid *f, const struct p9_setattr *a) {
    struct p9_request *r = begin(f, P9_TSETATTR, 128, 64);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    p9_put_setattr(&r->b, a);
    return end(r);
}

int p9_statfs(struct p9_fid *f, struct p9_statfs *s) {
    struct p9_request *r = begin(f, P9_TSTATFS, P9_HEADER + 4, P9_REPLY);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    int err = p9_call(r);
    if (err == 0) {
        p9_get_statfs(&r->b, s);
        err = p9_fields_end(r);
    }
    p9_request_free(r);
    return err;
}

int p9_fsync(struct p9_fid *f, bool data_only) {
    struct p9_request *r = begin(f, P9_TFSYNC, P9_HEADER + 8, 64);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    p9_put32(&r->b, data_only);
    return end(r);
}

long p9_readlink(struct p9_fid *f, char *buf, size_t size) {
    struct p9_request *r = begin(f, P9_TREADLINK, P9_HEADER + 4, 4096 + P9_HEADER + 2);
    if (IS_ERR(r))
        return PTR_ERR(r);
    uint16_t len = 0;
    long err = p9_call(r);
    if (err == 0) {
        const char *target = p9_get_string(&r->b, &len);
        err = p9_fields_end(r);
        if (err == 0)
            memcpy(buf, target, MIN(len, size));
    }
    p9_request_free(r);
    return err < 0 ? err : (long)MIN(len, size);
}

// Whoever holds the lock is known to the server by a number and the machine's name; all of this machine go by one name.
#define CLIENT_ID "knarr"

int p9_lock(struct p9_fid *f, const struct p9_lock *l, uint8_t *status) {
    struct p9_request *r = begin(f, P9_TLOCK, 128, 64);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    p9_put8(&r->b, l->type);
    p9_put32(&r->b, l->flags);
    p9_put64(&r->b, l->start);
    p9_put64(&r->b, l->length);
    p9_put32(&r->b, l->pid);
    p9_put_string(&r->b, CLIENT_ID, strlen(CLIENT_ID));
    int err = p9_call(r);
    if (err == 0) {
        *status = p9_get8(&r->b);
        err = p9_fields_end(r);
    }
    p9_request_free(r);
    return err;
}

int p9_getlock(struct p9_fid *f, struct p9_lock *l) {
    struct p9_request *r = begin(f, P9_TGETLOCK, 128, P9_REPLY);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    p9_put8(&r->b, l->type);
    p9_put64(&r->b, l->start);
    p9_put64(&r->b, l->length);
    p9_put32(&r->b, l->pid);
    p9_put_string(&r->b, CLIENT_ID, strlen(CLIENT_ID));
    int err = p9_call(r);
    if (err == 0) {
        l->type = p9_get8(&r->b);
        l->start = p9_get64(&r->b);
        l->length = p9_get64(&r->b);
        l->pid = p9_get32(&r->b);
        err = p9_fields_end(r);
    }
    p9_request_free(r);
    return err;
}

struct p9_fid *p9_xattrwalk(struct p9_fid *from, const char *name, uint64_t *size) {
    struct p9_fid *f = p9_fid_new(from->client, from->uid);
    if (!f)
        return ERR_PTR(-ENOMEM);
    struct p9_request *r = begin(from, P9_TXATTRWALK, P9_SMALL, 64);
    int err = IS_ERR(r) ? (int)PTR_ERR(r) : 0;
    if (err == 0) {
        p9_put32(&r->b, f->number);
        p9_put_string(&r->b, name, strlen(name));
        err = p9_call(r);
        if (err == 0) {
            *size = p9_get64(&r->b);
            err = p9_fields_end(r);
        }
        p9_request_free(r);
    }
    if (err < 0) {
        p9_fid_abandon(f);
        return ERR_PTR(err);
    }
    return f;
}

int p9_xattrcreate(struct p9_fid *f, const char *name, uint64_t size, uint32_t flags) {
    struct p9_request *r = begin(f, P9_TXATTRCREATE, P9_SMALL, 64);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    p9_put_string(&r->b, name, strlen(name));
    p9_put64(&r->b, size);
    p9_put32(&r->b, flags);
    return end(r);
}

// --- Data ---

struct p9_request *p9_read_begin(struct p9_fid *f, enum p9_type type, uint32_t len, uint64_t offset) {
    struct p9_request *r = begin(f, type, P9_HEADER + 16, P9_READ_OVERHEAD);
    if (!IS_ERR(r)) {
        p9_put64(&r->b, offset);
        p9_put32(&r->b, len);
    }
    return r;
}

struct p9_request *p9_write_begin(struct p9_fid *f, uint32_t len, uint64_t offset) {
    struct p9_request *r = begin(f, P9_TWRITE, P9_WRITE_OVERHEAD, P9_WRITE_REPLY);
    if (!IS_ERR(r)) {
        p9_put64(&r->b, offset);
        p9_put32(&r->b, len);
    }
    return r;
}

long p9_finish_io(struct p9_request *r, uint32_t asked) {
    long n = p9_finish(r);
    if (n == 0) {
        n = p9_get32(&r->b);
        int err = p9_fields_end(r);
        if (err < 0) {
            n = err;
        } else if (n > asked || (r->type != P9_TWRITE && n > (long)r->transfer.received - P9_READ_OVERHEAD)) {
            p9_client_broken(r->client, r->type == P9_TWRITE ? "more bytes written than there were"
                                                             : "more bytes read than were asked for, or came");
            n = -EIO;
        }
    }
    p9_request_free(r);
    return n;
}

static long io(struct p9_request *r, uint32_t asked) {
    int err = p9_submit(r);
    if (err < 0) {
        p9_request_free(r);
        return err;
    }
    return p9_finish_io(r, asked);
}

long p9_read(struct p9_fid *f, void *buf, uint32_t len, uint64_t offset) {
    struct p9_request *r = p9_read_begin(f, P9_TREAD, len, offset);
    if (IS_ERR(r))
        return PTR_ERR(r);
    p9_payload_in(r, buf, len);
    return io(r, len);
}

long p9_write(struct p9_fid *f, const void *buf, uint32_t len, uint64_t offset) {
    struct p9_request *r = p9_write_begin(f, len, offset);
    if (IS_ERR(r))
        return PTR_ERR(r);
    p9_payload_out(r, (void *)(uintptr_t)buf, len);
    return io(r, len);
}

long p9_readdir(struct p9_fid *f, void *buf, uint32_t len, uint64_t offset) {
    struct p9_request *r = p9_read_begin(f, P9_TREADDIR, len, offset);
    if (IS_ERR(r))
        return PTR_ERR(r);
    p9_payload_in(r, buf, len);
    return io(r, len);
}
