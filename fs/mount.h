// The tree of mounts as mount.c keeps it and mount_calls.c changes it.
#ifndef FS_MOUNT_H
#define FS_MOUNT_H

#include "fs/vfs.h"
#include <linux/mount.h> // MS_*

// What a mount keeps of the flags of mount(2).
#define MOUNT_FLAGS (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME | \
                     MS_NOSYMFOLLOW)

extern struct spinlock mount_lock; // see mount.c
extern struct list mounts;         // in the order they were made; under mount_lock

struct mount *mount_alloc(struct superblock *sb, struct dentry *root, const char *source,
                          uint32_t flags); // NULL: no memory
// Puts a mount onto the topmost file system at the target; the tree takes over the caller's reference. mount_lock held.
void mount_attach_locked(struct mount *m, const struct path *target);
// Takes it from there: the place is returned, the caller drops its references when the lock is free, and the tree's of the mount.
// It stays in the list. mount_lock held.
struct path mount_detach_locked(struct mount *m);
// Takes a mount and all on top of it out of the tree. No lock is held. A reference of the caller's keeps `top`.
void mount_detach_tree(struct mount *top);
bool mount_is_below(const struct mount *m, const struct mount *top); // or the same. mount_lock held
void fs_context_move_all(const struct path *from,
                         const struct path *to); // roots and working directories of all processes
void mount_set_root(struct mount *m);            // pivot_root(2). mount_lock held

static inline bool path_is_mount(const struct path *p) { return p->dentry == p->mount->root; }
static inline bool mount_in_tree(const struct mount *m) { return m->parent; }

// --- mount_flags.c ---
#define MOUNT_PROPAGATION (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)
int mount_next_group(void);                    // of shared mounts. mount_lock held
uint32_t mount_flags_of(unsigned long flags);  // what a new mount gets for the flags of mount(2)
int mount_change_propagation(const struct path *p, unsigned long flags);
int mount_remount(const struct path *p, unsigned long flags, const char *options);
int superblock_remount(struct superblock *sb, unsigned long flags, const char *options); // -EBUSY, or what the file system says

#endif
