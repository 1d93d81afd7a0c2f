// The transformation of credentials at execve(2), in the order and with the names of capabilities(7): P the process, F the file,
// X the bounding set, ' what is afterwards.
#include "loader/privileges.h"
#include "fs/vfs.h"
#include "kernel/process/process.h"
#include "loader/loader.h"
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/securebits.h>

// Set-user-ID and set-group-ID bits; scripts have none, since their interpreter is the program.
static bool follow_mode(struct credentials *new, const struct inode *inode) {
    bool user = inode->mode & S_ISUID, group = (inode->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
    if (user)
        new->euid = inode->uid;
    if (group)
        new->egid = inode->gid;
    return user || group;
}

// P'(permitted) = (F(permitted) & X) | (P(inheritable) & F(inheritable)). 0 or 1: the file has capabilities; -errno.
static int follow_file(struct credentials *new, struct inode *inode, bool *effective) {
    struct file_capabilities fc;
    int err = xattr_file_capabilities(inode, &fc);
    if (err < 0)
        return err == -ENODATA ? 0 : err;
    new->cap_permitted = (fc.permitted & new->cap_bounding) | (fc.inheritable & new->cap_inheritable);
    *effective = fc.effective;
    // A program that knows nothing of capabilities would not notice that it lacks some.
    return fc.effective && (fc.permitted & ~new->cap_permitted) ? -EPERM : 1;
}

// Root has all capabilities, as if the file had them.
static void follow_root(struct credentials *new, bool file_has, bool *effective) {
    if ((new->securebits &SECBIT_NOROOT) || (file_has && new->uid != 0 && new->euid == 0))
        return;
    if (new->uid == 0 || new->euid == 0)
        new->cap_permitted = new->cap_bounding | new->cap_inheritable;
    if (new->euid == 0)
        *effective = true;
}

int privileges_choose(struct exec_image *img, const struct file *f) {
    const struct process *p = process_current();
    const struct credentials *old = &p->cred;
    struct credentials *new = &img->cred;
    bool effective = false, raises = f->path.mount && !(f->path.mount->flags & MS_NOSUID);
    int file_has = 0;

    *new = *old;
    img->raised = false;
    new->groups = NULL;
    new->cap_permitted = 0;
    if (raises && !old->no_new_privs)
        img->raised = follow_mode(new, f->inode);
    if (raises)
        file_has = follow_file(new, f->inode, &effective);
    if (file_has < 0)
        return file_has;
    follow_root(new, file_has, &effective);

    bool changed = new->euid != old->euid || !credentials_in_group(new->egid);
    bool shared = p->fs && READ_ONCE(p->fs->refs) > 1; // another process could change root and directory under it
    if ((changed || (new->cap_permitted & ~old->cap_permitted)) && (shared || old->no_new_privs)) {
        if (old->no_new_privs || !(old->cap_effective >> CAP_SETUID & 1)) {
            new->euid = new->uid;
            new->egid = new->gid;
        }
        new->cap_permitted &= old->cap_permitted;
    }
    new->suid = new->fsuid = new->euid;
    new->sgid = new->fsgid = new->egid;
    if (file_has || changed)
        new->cap_ambient = 0;
    new->cap_permitted |= new->cap_ambient;
    new->cap_effective = effective ? new->cap_permitted : new->cap_ambient;
    new->securebits &= ~(uint32_t)SECBIT_KEEP_CAPS;

    img->secure = changed || new->euid != old->uid || new->egid != old->gid ||
                  (new->uid != 0 && (effective || (new->cap_permitted & ~new->cap_ambient)));
    img->raised |= (new->cap_permitted & ~old->cap_permitted) != 0;
    img->unreadable = vfs_permission(f->inode, 4) < 0;
    return 0;
}
