// What mounts are told to be: flags of mount(2), remounts, propagation, mount_setattr(2).
// There is one mount namespace. Shared mounts are remembered and shown, but nothing is propagated between the members of a group.
// Lock: mount_lock (mount.c).
#include "fs/internal.h"
#include "fs/mount.h"
#include "kernel/string.h"

static int next_group = 1; // under mount_lock

int mount_next_group(void) { return next_group++; }

uint32_t mount_flags_of(unsigned long flags) {
    uint32_t f =
        (uint32_t)flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_NOSYMFOLLOW);
    if (flags & MS_STRICTATIME)
        return f & ~(uint32_t)MS_NOATIME;
    return f & MS_NOATIME ? f : f | MS_RELATIME;
}

// --- Propagation ---

// mount_lock held.
static void set_propagation(struct mount *m, unsigned type) {
    struct mount *other;
    bool peers = false;
    m->unbindable = type == MS_UNBINDABLE;
    if (type == MS_SHARED) {
        if (!m->group)
            m->group = mount_next_group();
        return;
    }
    list_for_each (other, &mounts, link)
        peers |= other != m && other->group == m->group;
    if (type != MS_SLAVE)
        m->master = 0;
    else if (m->group && peers)
        m->master = m->group;
    m->group = 0;
}

int mount_change_propagation(const struct path *p, unsigned long flags) {
    unsigned type = (unsigned)flags & ~(unsigned)(MS_REC | MS_SILENT);
    struct mount *m;
    if (!path_is_mount(p) || (type & ~MOUNT_PROPAGATION) || (type & (type - 1)))
        return -EINVAL;
    spin_lock(&mount_lock);
    list_for_each (m, &mounts, link)
        if (m == p->mount || ((flags & MS_REC) && mount_is_below(m, p->mount)))
            set_propagation(m, type);
    spin_unlock(&mount_lock);
    return 0;
}

// --- Remount ---

// First the flag, then the look: who opens a file for writing counts himself before he looks at the flag. mount_lock held.
static int set_read_only(struct superblock *sb) {
    struct mount *m;
    sb->flags |= SB_RDONLY;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    list_for_each (m, &mounts, link) {
        if (m->sb == sb && READ_ONCE(m->writers)) {
            sb->flags &= ~(uint32_t)SB_RDONLY;
            return -EBUSY;
        }
    }
    return 0;
}

int superblock_remount(struct superblock *sb, unsigned long flags, const char *options) {
    bool ro = flags & MS_RDONLY, was = sb->flags & SB_RDONLY;
    int err = 0;
    if (ro && !was) {
        spin_lock(&mount_lock);
        err = set_read_only(sb);
        spin_unlock(&mount_lock);
        if (err == 0)
            err = superblock_sync(sb);
    }
    if (err == 0 && sb->ops->remount)
        err = sb->ops->remount(sb, flags, options);
    spin_lock(&mount_lock);
    if (err == 0)
        sb->flags = flags & MS_LAZYTIME ? sb->flags | SB_LAZYTIME : sb->flags & ~(uint32_t)SB_LAZYTIME;
    if (err == 0 ? !ro : !was)
        sb->flags &= ~(uint32_t)SB_RDONLY;
    spin_unlock(&mount_lock);
    return err;
}

static int remount_mount(struct mount *m, uint32_t flags) {
    int err = 0;
    spin_lock(&mount_lock);
    uint32_t old = m->flags;
    WRITE_ONCE(m->flags, flags);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if ((flags & ~old & MS_RDONLY) && READ_ONCE(m->writers)) {
        WRITE_ONCE(m->flags, old);
        err = -EBUSY;
    }
    spin_unlock(&mount_lock);
    return err;
}

int mount_remount(const struct path *p, unsigned long flags, const char *options) {
    const uint32_t atime = MS_NOATIME | MS_NODIRATIME | MS_RELATIME;
    struct mount *m = p->mount;
    if (!path_is_mount(p) || !mount_in_tree(m))
        return -EINVAL;
    uint32_t new = mount_flags_of(flags);
    if (!(flags & (atime | MS_STRICTATIME)))
        new = (new & ~atime) | (m->flags & atime);
    int err = flags & MS_BIND ? 0 : superblock_remount(m->sb, flags, options);
    return err < 0 ? err : remount_mount(m, new);
}

// --- mount_setattr(2) ---

static bool concerned(const struct mount *m, const struct path *p, const struct mount_change *c) {
    return m == p->mount || (c->recursive && mount_is_below(m, p->mount));
}

// First the flags, then the look at who writes, as above: all of them or none. mount_lock held.
static int change_locked(const struct path *p, const struct mount_change *c) {
    struct mount *m, *busy = NULL;
    list_for_each (m, &mounts, link) {
        if (!concerned(m, p, c))
            continue;
        m->flags_before = m->flags;
        WRITE_ONCE(m->flags, (m->flags & ~c->clear) | c->set);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    list_for_each (m, &mounts, link)
        if (concerned(m, p, c) && (m->flags & ~m->flags_before & MS_RDONLY) && READ_ONCE(m->writers))
            busy = m;
    list_for_each (m, &mounts, link) {
        if (concerned(m, p, c) && busy)
            WRITE_ONCE(m->flags, m->flags_before);
        else if (concerned(m, p, c) && c->propagation)
            set_propagation(m, c->propagation);
    }
    return busy ? -EBUSY : 0;
}

int vfs_mount_change(const struct path *p, const struct mount_change *c) {
    if (!path_is_mount(p) || !mount_in_tree(p->mount))
        return -EINVAL;
    spin_lock(&mount_lock);
    int err = change_locked(p, c);
    spin_unlock(&mount_lock);
    return err;
}
