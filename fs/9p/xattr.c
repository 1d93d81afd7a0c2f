// Extended attributes on the server: each is read and written like a small file. xattr(7). The VFS has checked who may.
#include "fs/9p/internal.h"

#include "kernel/string.h"
#include <linux/limits.h>
#include <linux/xattr.h>

// Pieces of a message's size; through a buffer, since the caller's need not be physically contiguous.
static long read_all(struct p9_fid *fid, void *buf, size_t size) {
    size_t done = 0, room = MIN(size, (size_t)fid->client->payload_max);
    char *bounce = room ? kmalloc(room) : NULL;
    long n = room && !bounce ? -ENOMEM : 0;
    while (n >= 0 && done < size) {
        n = p9_read(fid, bounce, (uint32_t)MIN(size - done, room), done);
        if (n == 0)
            n = -EIO; // it is shorter than it said
        if (n > 0) {
            memcpy((char *)buf + done, bounce, (size_t)n);
            done += (size_t)n;
        }
    }
    kfree(bounce);
    return n < 0 ? n : (long)done;
}

static long get(struct inode *inode, const char *name, void *buf, size_t size, size_t max) {
    struct p9_fid *place = p9_inode_fid(inode);
    if (IS_ERR(place))
        return PTR_ERR(place) == -ENOENT ? -ENODATA : PTR_ERR(place);
    uint64_t there;
    struct p9_fid *fid = p9_xattrwalk(place, name, &there);
    p9_fid_put(place);
    if (IS_ERR(fid))
        return PTR_ERR(fid);
    long n;
    if (there > max)
        n = -E2BIG;
    else if (!buf)
        n = (long)there;
    else
        n = there > size ? -ERANGE : read_all(fid, buf, there);
    p9_fid_put(fid);
    return n;
}

long p9_xattr_get(struct inode *inode, const char *name, void *buf, size_t size) {
    return get(inode, name, buf, size, XATTR_SIZE_MAX);
}

long p9_xattr_list(struct inode *inode, char *buf, size_t size) {
    long n = get(inode, "", buf, size, XATTR_LIST_MAX);
    return n == -EOPNOTSUPP ? 0 : n;
}

static long write_all(struct p9_fid *fid, const void *value, size_t size) {
    size_t done = 0, room = MIN(size, (size_t)fid->client->payload_max);
    char *bounce = room ? kmalloc(room) : NULL;
    long n = room && !bounce ? -ENOMEM : 0;
    while (n >= 0 && done < size) {
        uint32_t len = (uint32_t)MIN(size - done, room);
        memcpy(bounce, (const char *)value + done, len);
        n = p9_write(fid, bounce, len, done);
        if (n == 0)
            n = -EIO;
        if (n > 0)
            done += (size_t)n;
    }
    kfree(bounce);
    return n < 0 ? n : 0;
}

// The attribute is set, and the server's opinion known, when its fid is clunked; so this one is clunked by a request that is waited for.
static int clunk(struct p9_fid *fid) {
    struct p9_request *r = p9_request_new(fid->client, P9_TCLUNK, P9_HEADER + 4, 64);
    if (IS_ERR(r)) {
        p9_fid_put(fid);
        return (int)PTR_ERR(r);
    }
    p9_put32(&r->b, fid->number);
    int err = p9_call(r);
    p9_request_free(r);
    p9_fid_abandon(fid);
    return err;
}

int p9_xattr_set(struct inode *inode, const char *name, const void *value, size_t size, int flags) {
    struct p9_fid *place = p9_inode_fid(inode);
    if (IS_ERR(place))
        return (int)PTR_ERR(place);
    struct p9_fid *fid = p9_walk(place, NULL, 0);
    p9_fid_put(place);
    if (IS_ERR(fid))
        return (int)PTR_ERR(fid);
    if (!value) // of size 0 and to be replaced: removed
        size = 0;
    long err = p9_xattrcreate(fid, name, size, value ? (uint32_t)flags : XATTR_REPLACE);
    if (err < 0) {
        p9_fid_put(fid);
        return (int)err;
    }
    err = write_all(fid, value, size);
    int last = clunk(fid);
    p9_inode_of(inode)->fresh_for = NULL;
    return err < 0 ? (int)err : last;
}
