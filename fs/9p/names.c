// Names in directories of a server: made, removed and moved there, and known here afterwards. The VFS holds the directory's lock.
// New things belong to the file system's user and group of who makes them: the fid acts for that user.
#include "fs/9p/internal.h"

#include "kernel/string.h"
#include <linux/fs.h>

static uint32_t group_for(const struct inode *dir) { return dir->mode & S_ISGID ? dir->gid : current_cred()->fsgid; }

// Who is not of the group may not make files that act for it.
static uint32_t mode_for(const struct inode *dir, uint32_t mode) {
    if ((dir->mode & S_ISGID) && !S_ISDIR(mode) && (mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
        !credentials_in_group(dir->gid) && !capable(CAP_FSETID))
        mode &= ~S_ISGID;
    return mode;
}

static struct p9_fid *maker(struct inode *dir) { return p9_inode_fid_as(dir, current_cred()->fsuid); }

// The directory has changed: its own attributes are asked for when somebody wants to know them.
static void dir_changed(struct inode *dir) { p9_inode_of(dir)->fresh_for = NULL; }

// A name was made by a message that leaves no fid.
static int attach_made(struct inode *dir, struct dentry *d, int err) {
    if (err < 0)
        return err;
    dir_changed(dir);
    err = p9_lookup(dir, d);
    return err < 0 ? err : d->inode ? 0 : -ENOENT; // gone again
}

static int create_file(struct inode *dir, struct dentry *d, struct p9_fid *place, uint32_t mode) {
    struct p9_fid *fid = p9_walk(place, NULL, 0);
    if (IS_ERR(fid))
        return (int)PTR_ERR(fid);
    // Never somebody else's file: O_EXCL, and the VFS looks again.
    int err = p9_lcreate(fid, d->name, d->name_len, O_RDWR | O_CREAT | O_EXCL, mode & 07777, group_for(dir));
    struct inode *inode = NULL;
    if (err == 0) {
        dir_changed(dir);
        err = p9_inode_get(dir->sb, p9_fid_ref(fid), d, &inode);
        if (err < 0)
            p9_fid_put(fid);
    }
    if (err == 0) {
        inode->maybe_capable = false; // it is new
        p9_inode_forget(inode, d);    // an open fid is no place to walk from
        struct p9_inode *p = p9_inode_of(inode);
        spin_lock(&inode->spin);
        struct p9_fid *old = p->created;
        p->created = p9_fid_ref(fid);
        spin_unlock(&inode->spin);
        p9_fid_put(old);
        dentry_attach(d, inode);
    }
    p9_fid_put(fid);
    return err;
}

static int p9_create(struct inode *dir, struct dentry *d, uint32_t mode, uint64_t rdev) {
    struct p9_fid *place = maker(dir);
    if (IS_ERR(place))
        return (int)PTR_ERR(place);
    mode = mode_for(dir, mode);
    int err = S_ISREG(mode) ? create_file(dir, d, place, mode)
                            : attach_made(dir, d, p9_mknod(place, d->name, d->name_len, mode, rdev, group_for(dir)));
    p9_fid_put(place);
    return err;
}

static int p9_make_directory(struct inode *dir, struct dentry *d, uint32_t mode) {
    struct p9_fid *place = maker(dir);
    if (IS_ERR(place))
        return (int)PTR_ERR(place);
    int err = attach_made(dir, d, p9_mkdir(place, d->name, d->name_len, mode & 07777, group_for(dir)));
    p9_fid_put(place);
    return err;
}

static int p9_make_symlink(struct inode *dir, struct dentry *d, const char *target) {
    struct p9_fid *place = maker(dir);
    if (IS_ERR(place))
        return (int)PTR_ERR(place);
    int err = attach_made(dir, d, p9_symlink(place, d->name, d->name_len, target, group_for(dir)));
    p9_fid_put(place);
    return err;
}

static int p9_make_link(struct inode *dir, struct dentry *d, struct inode *target) {
    if (p9_inode_of(target)->gone)
        return -ENOENT;
    struct p9_fid *place = p9_inode_fid(dir);
    if (IS_ERR(place))
        return (int)PTR_ERR(place);
    struct p9_fid *fid = p9_inode_fid(target);
    int err = IS_ERR(fid) ? (int)PTR_ERR(fid) : p9_link(place, fid, d->name, d->name_len);
    if (!IS_ERR(fid))
        p9_fid_put(fid);
    p9_fid_put(place);
    return attach_made(dir, d, err);
}

// The name is gone on the server; perhaps the file has others.
static void name_removed(struct inode *dir, struct dentry *d) {
    struct inode *inode = d->inode;
    struct p9_inode *p = p9_inode_of(inode);
    dir_changed(dir);
    p->fresh_for = NULL;
    if (S_ISDIR(inode->mode) || inode->nlink <= 1) {
        inode->nlink = 0;
        p->gone = true;
        p9_inode_forget(inode, NULL);
    } else {
        inode->nlink--;
        p9_inode_forget(inode, d);
    }
    inode->ctime = inode_now();
}

static int remove_name(struct inode *dir, struct dentry *d, bool directory) {
    struct p9_fid *place = p9_inode_fid(dir);
    if (IS_ERR(place))
        return (int)PTR_ERR(place);
    int err = p9_unlinkat(place, d->name, d->name_len, directory);
    p9_fid_put(place);
    if (err == 0)
        name_removed(dir, d);
    return err;
}

static int p9_unlink(struct inode *dir, struct dentry *d) { return remove_name(dir, d, false); }

static int p9_rmdir(struct inode *dir, struct dentry *d) { return remove_name(dir, d, true); }

static int p9_rename(struct inode *from_dir, struct dentry *from, struct inode *to_dir, struct dentry *to,
                     unsigned flags) {
    if (flags)
        return -EINVAL; // the protocol knows none, as Linux says, too
    struct p9_fid *old_place = p9_inode_fid(from_dir);
    if (IS_ERR(old_place))
        return (int)PTR_ERR(old_place);
    struct p9_fid *new_place = p9_inode_fid(to_dir);
    int err = IS_ERR(new_place) ? (int)PTR_ERR(new_place) : 0;
    if (err == 0) {
        struct p9_name old = {from->name, from->name_len}, new = {to->name, to->name_len};
        err = p9_renameat(old_place, &old, new_place, &new);
        p9_fid_put(new_place);
    }
    p9_fid_put(old_place);
    if (err < 0)
        return err;
    dir_changed(from_dir);
    if (to->inode)
        name_removed(to_dir, to);
    dir_changed(to_dir);
    // A server that goes by paths has changed those that it knows below this one; others of ours are walked to again.
    p9_inode_of(from->inode)->fresh_for = NULL;
    return 0;
}

static long p9_readlink_op(struct inode *inode, char *buf, size_t size) {
    struct p9_fid *fid = p9_inode_fid(inode);
    if (IS_ERR(fid))
        return PTR_ERR(fid);
    long n = p9_readlink(fid, buf, size);
    p9_fid_put(fid);
    return n;
}

#define COMMON                                                                                                         \
    .update = p9_update, .set_attributes = p9_set_attributes, .xattr_get = p9_xattr_get, .xattr_set = p9_xattr_set,    \
    .xattr_list = p9_xattr_list, .release = p9_inode_release

const struct inode_ops p9_file_inode_ops = {.truncate = p9_truncate, COMMON};
const struct inode_ops p9_symlink_ops = {.readlink = p9_readlink_op, COMMON};
const struct inode_ops p9_directory_ops = {
    .lookup = p9_lookup,
    .create = p9_create,
    .mkdir = p9_make_directory,
    .symlink = p9_make_symlink,
    .link = p9_make_link,
    .unlink = p9_unlink,
    .rmdir = p9_rmdir,
    .rename = p9_rename,
    COMMON,
};
