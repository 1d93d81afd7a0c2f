// What the files of fs/ share with each other and with nobody else: directory entries, path walks, file systems' helpers.
#ifndef FS_INTERNAL_H
#define FS_INTERNAL_H

#include "fs/vfs.h"
#include "kernel/process/process.h"
#include "kernel/memory/slab.h"
#include <linux/capability.h>
#include <linux/mount.h>   // MS_*
#include <linux/openat2.h> // RESOLVE_*

#ifndef PATH_MAX
#define PATH_MAX 4096
#endif
#ifndef NAME_MAX
#define NAME_MAX 255
#endif
#define SYMLINKS_MAX 40

// --- dentry.c ---
struct dentry_children {
    struct dentry **table; // open hash, a power of two
    uint32_t mask, count;
    struct list list; // struct dir_node.link of the entries in order of creation, and of cursors
    uint64_t next_cookie;
    struct dentry *first_table[8];
};

#define NAME_HASH_START 0x9e3779b9u
static inline uint32_t name_hash_step(uint32_t h, unsigned char c) { return (h ^ c) * 0x01000193u; }
static inline uint32_t name_hash(const char *name, size_t len) {
    uint32_t h = NAME_HASH_START;
    for (size_t i = 0; i < len; i++)
        h = name_hash_step(h, (unsigned char)name[i]);
    return h;
}

extern struct spinlock tree_lock; // dentry.parent and dentry.name, for those who walk up

// The entry in the directory's table, referenced; NULL: not there. Takes no lock but the directory's spinlock.
struct dentry *dentry_find(struct dentry *dir, const char *name, size_t len, uint32_t hash);
// The child of a directory whatever its file system: 0 and a referenced positive entry, or -errno (-ENOENT). The directory's
// inode must not be locked; with `locked` it must be.
int dentry_lookup(struct dentry *dir, const char *name, size_t len, uint32_t hash, bool locked, struct dentry **out);
// A new entry, refs 1, not in the table. NULL: no memory.
struct dentry *dentry_alloc(struct dentry *parent, const char *name, size_t len, uint32_t hash);
struct dentry *dentry_alloc_root(struct superblock *sb, struct inode *inode); // takes over the inode's reference
struct dentry *dentry_alloc_anonymous(struct inode *inode, const char *name); // the same; DENTRY_ANON
void dentry_attach(struct dentry *d, struct inode *inode);                    // takes over the inode's reference
// Changes of a directory; its inode is locked.
void dentry_insert(struct dentry *d);
void dentry_insert_behind(struct dentry *d); // the same, of a name that has an entry: it is found when that one goes
void dentry_remove(struct dentry *d);
void dentry_unhash(struct dentry *d); // the same, for who holds the parent's dentry.lock; the table's reference is the caller's
// Renames: `from` becomes `to`'s name and place. An entry `to` that is in the table is removed. Both directories locked.
// What may fail comes first: memory for a long name (0 or -ENOMEM), which dentry_move takes over.
int dentry_move_prepare(const struct dentry *to, char **long_name);
void dentry_move(struct dentry *from, struct dentry *to, char *long_name);
void dentry_exchange(struct dentry *a, struct dentry *b);
bool dentry_has_children(struct dentry *d);
// Empties the table of a directory that leaves the tree, and those of the directories below: entries without users go. `locked`: the
// inode of `dir` is; those below are locked one by one.
void dentry_drop_children(struct dentry *dir, bool locked);
void dentry_populate(struct dentry *dir, bool locked); // makes the entries of a DENTRY_LAZY directory
void dentry_release(struct dentry *d);
static inline struct dentry *dentry_ref(struct dentry *d) {
    atomic_add(&d->refs, 1);
    return d;
}
static inline void dentry_unref(struct dentry *d) {
    if (atomic_sub(&d->refs, 1) == 1)
        dentry_release(d);
}
struct dentry *dentry_parent(struct dentry *d);                     // referenced
bool dentry_is_ancestor(struct dentry *ancestor, struct dentry *d); // or the same

extern const struct file_ops directory_ops; // of directories whose entries are all in the table
// --- directory.c: for others who list entries out of the table ---
bool directory_emit_dots(struct dentry *dir, struct dir_context *ctx); // positions 0 and 1. False: the buffer is full
// The entries that are wanted (NULL: all), at positions from `base` on: base + cookie stands behind an entry.
int directory_iterate_table(struct file *f, struct dir_context *ctx, int64_t base, bool (*wanted)(const struct dentry *d));
int64_t directory_read(struct file *f, struct uio *u, uint64_t *pos);
int64_t directory_seek(struct file *f, int64_t offset, int whence);
int directory_fsync(struct file *f, bool data_only);
void directory_release(struct file *f);

// --- mount.c ---
// Walks over the superblocks with ops->sync: NULL starts; the result is referenced, the argument's reference is dropped.
struct superblock *superblock_next(struct superblock *sb);
bool superblock_any(void); // is there one?
void mount_ref(struct mount *m);
void mount_unref(struct mount *m);
bool mount_cross(struct path *p); // onto what is mounted there: true when p changed (references are adjusted)
bool mount_climb(struct path *p); // from a mount's root to its mountpoint
// MS_STRICTATIME: what is read there has the time of each access.
static inline bool path_accessed_always(const struct path *p) {
    return p->mount && !(p->mount->flags & (MS_RELATIME | MS_NOATIME));
}
// A symbolic link at this place was read or followed. Times of what is made up anew for each look count for nothing.
static inline void link_accessed(struct inode *link, const struct path *p) {
    if (unlikely(link->atime <= link->mtime || link->atime <= link->ctime || !(p->mount->flags & (MS_RELATIME | MS_NOATIME))) &&
        !(link->sb->flags & SB_UNCACHED))
        inode_accessed(link, p->mount->flags | path_read_only(p));
}
int mount_create_root(struct superblock *sb);
int mount_attach(struct superblock *sb, const char *source, const struct path *target, uint32_t flags);
void mount_detach_below(struct dentry *d); // what is mounted on an entry that is no longer true, or below it
int mount_parent_id(struct mount *m); // as mountinfo shows it
struct mount *mount_anonymous(void); // where entries of files without a tree live

// --- path.c ---
enum last_type { LAST_NONE, LAST_NORMAL, LAST_DOT, LAST_DOTDOT };
struct walk {
    struct path path; // where we are; referenced
    const char *last; // LOOKUP_PARENT: the last component, not NUL-terminated
    uint32_t last_len, last_hash;
    enum last_type last_type;
    bool trailing_slash;
    uint8_t links;
    uint32_t resolve; // RESOLVE_*
    char *buffer;     // holds the expanded names of symbolic links
    struct path jail; // RESOLVE_BENEATH, RESOLVE_IN_ROOT: where the walk began, referenced; otherwise not used
};
#define WALK_JAILED(w) unlikely((w)->resolve &(RESOLVE_BENEATH | RESOLVE_IN_ROOT))
int walk_start(struct walk *w, int at, const char *name,
               unsigned flags); // and goes: 0 or -errno (then nothing is held)
// LOOKUP_PARENT stopped before a symbolic link: follows it, up to the last component of its target.
// Magic links leave last_type LAST_NONE and path at the target.
int walk_follow(struct walk *w, struct dentry *link);
void walk_end(struct walk *w); // drops the references
void path_get_cwd(struct path *out);
void path_get_root(struct path *out);

// --- context.c ---
void fs_set_hooks(void);

// --- inode.c ---
uint32_t current_umask(void);
nsec_t inode_now(void);
int permission_sticky(struct inode *dir, struct inode *victim); // -EPERM in sticky directories
void inode_touch_change(struct inode *inode); // mtime and ctime: contents of a directory or file changed
// The same after a name in it was made or removed, unless the file system has done it itself.
static inline void directory_touch(struct inode *dir) {
    if (!dir->ops->set_attributes)
        inode_touch_change(dir);
}
static inline int search_permission(struct inode *dir) {
    return likely((dir->mode & 0111) == 0111) ? 0 : vfs_permission(dir, 1);
}

// --- xattr.c ---
void xattrs_free(struct inode *inode);
// Keeps with `to`, which is in memory and nobody's yet, what `from` has, which is locked. 0, -ENOMEM, -EIO.
int xattrs_copy(struct inode *to, struct inode *from);
int xattr_drop_capabilities(struct inode *inode); // inode.lock held. 0, also when there are none

// --- tmpfs.c ---
extern const struct fs_type tmpfs_type, proc_type, sysfs_type, devfs_type, devpts_type, mqueue_type, erofs_type, p9_type, ext4_type, ext3_type, ext2_type;
// Without permission checks, for the boot: names in a tmpfs directory (not there yet). Referenced entry or ERR_PTR.
struct dentry *tmpfs_make(struct dentry *dir, const char *name, size_t len, uint32_t mode, uint64_t rdev,
                          const char *target);
struct dentry *tmpfs_make_link(struct dentry *dir, const char *name, size_t len, struct inode *target);
int tmpfs_remove(struct dentry *d);                                         // -ENOTEMPTY
int tmpfs_add_page(struct inode *inode, uint64_t index, struct page *page); // takes over the reference
// Empty superblock with a root directory of this mode; refs 1. ERR_PTR.
struct superblock *tmpfs_superblock(const struct fs_type *type, uint32_t mode);
// --- overlay/ ---
// A tmpfs above a file system, whose reference stays the caller's; refs 1. ERR_PTR(-ENOMEM, -EIO).
struct superblock *overlay_superblock(struct superblock *lower);

void tmpfs_statistics(struct superblock *sb, struct fs_statistics *st);
bool tmpfs_owns(const struct inode *inode);

// --- pathname.c ---
long dentry_path(struct dentry *d, char *buf, size_t size); // inside its file system. Length or -ENAMETOOLONG
long path_name_marked(const struct path *p, char *buf,
                      size_t size); // path_name, with " (deleted)" behind it when it is
// What /proc/PID/maps shows for a mapped file: its name (" (deleted)" behind it when that is gone), device and number.
void inode_describe(struct inode *inode, char *name, size_t size, uint64_t *dev, uint64_t *ino);
struct mount *mount_of(struct superblock *sb); // some mount of it, referenced; NULL: none

// --- open.c ---
struct file *open_inode(const struct path *p, struct inode *inode, unsigned flags); // after the permission checks

#endif
