// The tree of names: inodes, directory entries, mounts, path lookup, and the calls that work on names.
#ifndef FS_VFS_H
#define FS_VFS_H

#include "fs/file.h"
#include "kernel/list.h"
#include "kernel/threads/lock.h"
#include "kernel/types.h"
#include <linux/stat.h> // S_IF*, struct statx is not used below syscall/

struct superblock;
struct inode_ops;
struct inode_table;
struct page_cache;
struct seqbuf;

struct inode {
    const struct inode_ops *ops;
    const struct file_ops *file_ops; // given to files opened on it
    struct superblock *sb;
    uint32_t refs;
    uint8_t watched; // WATCHED_*, for fs/inotify.h
    bool linkable;   // of O_TMPFILE: link(2) may give it a first name
    bool in_table;   // fs/cache/inode_table.h
    bool maybe_capable; // it may have file capabilities: who wants to know asks for the attribute
    uint32_t mode; // S_IFMT and permissions
    uint32_t uid, gid, nlink;
    uint64_t ino, rdev, size, blocks; // blocks of 512 bytes
    nsec_t atime, mtime, ctime, btime; // realtime
    struct mutex lock; // contents of a directory, size and pages of a file. Order: parent before child
    void *data;        // the file system's
    struct spinlock spin; // aliases, pages and locks; a leaf lock
    struct list aliases;  // dentry.alias_link: the names of this inode
    struct pipe *pipe;    // of an open FIFO: fs/pipe.c, under `lock`
    struct file_lock *locks; // flock(2), fcntl(2): fs/lock.c
    struct inotify_mark *watches; // fs/inotify.c
    struct xattr *xattrs;    // extended attributes, under `lock`: fs/xattr.c (file systems in memory)
    struct page_cache *cache;  // fs/cache/pagecache.h: of files whose data lies elsewhere; NULL: none
    struct inode *table_next;  // fs/cache/inode_table.h
    int32_t write_count;     // files open for writing; negative: running programs, which nobody may write to
};

// What inode_ops.set_attributes is to change; `valid` says which.
struct attributes {
    uint32_t valid; // ATTR_*
    uint32_t mode, uid, gid;
    nsec_t atime, mtime, ctime;
};
#define ATTR_MODE 1
#define ATTR_UID 2
#define ATTR_GID 4
#define ATTR_ATIME 8
#define ATTR_MTIME 16
#define ATTR_CTIME 32

// Lookup and change of names; called with the directory's inode locked. New entries are attached to the given dentry.
// After unlink, rmdir and rename the caller takes the old entry out of the table; so a file system whose entries are a cache looks the
// name up again when it is asked for. The inode of a removed directory has nlink 0 (rmdir: it is locked, too; rename over it: not).
struct inode_ops {
    int (*lookup)(struct inode *dir, struct dentry *d); // attach an inode, or leave it negative. 0 or -errno
    // Regular file, fifo, device, socket. -EEXIST: somebody else (of a server) has made one meanwhile, the entry was out of date.
    int (*create)(struct inode *dir, struct dentry *d, uint32_t mode, uint64_t rdev);
    int (*tmpfile)(struct inode *dir, struct dentry *d, uint32_t mode); // O_TMPFILE: no name, nlink 0. NULL: -EOPNOTSUPP
    int (*mkdir)(struct inode *dir, struct dentry *d, uint32_t mode);
    int (*symlink)(struct inode *dir, struct dentry *d, const char *target);
    int (*link)(struct inode *dir, struct dentry *d, struct inode *target);
    int (*unlink)(struct inode *dir, struct dentry *d);
    int (*rmdir)(struct inode *dir, struct dentry *d);
    int (*rename)(struct inode *from_dir, struct dentry *from, struct inode *to_dir, struct dentry *to, unsigned flags);
    long (*readlink)(struct inode *inode, char *buf, size_t size); // length, not NUL-terminated
    // Magic links of /proc (exe, fd/N): the target itself, referenced. NULL: an ordinary symlink.
    int (*follow)(struct inode *inode, struct path *target);
    int (*truncate)(struct inode *inode, uint64_t size);
    void (*update)(struct inode *inode);  // the attributes are about to be read (procfs sizes, ...). May be NULL
    // The attributes are about to change (chmod, chown, utimensat, set-ID bits at a write, ...): 0, and the caller changes the inode,
    // or -errno, and nothing changes. inode.lock held. NULL: an inode in memory, there is nobody to tell. A file system that has this
    // function keeps the times of files and directories that its own functions change (create, rename, write, ...) itself.
    int (*set_attributes)(struct inode *inode, const struct attributes *a);
    // Extended attributes that are not kept in inode.xattrs: after the checks of permission and namespace. inode.lock held.
    // Length, -ENODATA, -ERANGE (buf NULL: the length alone); value NULL removes. NULL: SB_XATTRS decides.
    long (*xattr_get)(struct inode *inode, const char *name, void *buf, size_t size);
    int (*xattr_set)(struct inode *inode, const char *name, const void *value, size_t size, int flags);
    long (*xattr_list)(struct inode *inode, char *buf, size_t size); // all of them; the caller leaves out what may not be seen
    void (*release)(struct inode *inode); // the last reference is gone
};

// A directory entry. It keeps its parent and its inode alive, and while it is in its parent's table the table's reference
// keeps it alive. In a file system that lives in memory these entries are the directory; otherwise they are a cache, with
// negative entries (inode NULL) for names that do not exist.
// Locks: directory's inode.lock (changes) > parent dentry.lock > dentry.lock > tree_lock (names and parents, see dentry.c).
struct dir_node {
    uint64_t cookie; // the seek position behind it: grows with each entry, never reused. 0: somebody's place in the listing
    struct list link;
};
struct dentry {
    struct dentry *hash_next; // in the parent's table
    uint32_t hash, refs;
    uint16_t name_len;
    uint8_t flags;            // DENTRY_*
    bool used;                // looked up since fs/cache/dentry_lru.c looked
    struct spinlock lock;     // the table of children
    struct dentry *parent;    // itself for a root
    struct inode *inode;      // NULL: negative. Does not change from one inode to another
    struct superblock *sb;
    struct dentry_children *children; // NULL until there is one
    char *name;               // NUL-terminated; short_name when it fits
    struct dir_node node;     // in the parent's listing
    struct list alias_link;   // inode.aliases
    struct list lru_link;     // fs/cache/dentry_lru.h: of entries in a table that are a cache
    char short_name[32];
};
#define DENTRY_HASHED 1  // in its parent's table
#define DENTRY_MOUNTED 2 // something is mounted on it, in some mount
#define DENTRY_LAZY 4    // a directory whose entries are made on first use: superblock_ops.populate
#define DENTRY_ANON 8    // stands for a file that is in no tree: the name is what /proc/PID/fd shows
#define DENTRY_REVALIDATE 32 // of a file system with SB_REVALIDATE
#define DENTRY_COMPLETE 64 // a directory with nothing below it: what is not in its table does not exist
#define DENTRY_COVERS 128  // pinned, in the place of a name of the lower directory
#define DENTRY_PINNED 16 // not a cache: nobody else knows it (a change above a lower layer; negative: the name was removed)

struct fs_statistics {
    uint64_t magic, block_size, blocks, blocks_free, files, files_free, name_max;
    uint64_t blocks_kept; // of blocks_free: not for everybody
};
struct superblock_ops {
    void (*statistics)(struct superblock *sb, struct fs_statistics *st);
    int (*populate)(struct dentry *dir);         // DENTRY_LAZY, see there; directory's inode locked
    // SB_REVALIDATE: is this cached entry (positive or negative) still true? False: it is taken out of the table and looked up afresh.
    // The directory's inode may be locked; may sleep.
    bool (*revalidate)(struct dentry *d);
    // sync(2), syncfs(2), umount: all that was changed is on the medium. 0 or -errno. The page cache has been written before. May be NULL.
    int (*sync)(struct superblock *sb);
    // mount(2) with MS_REMOUNT: read-only or not (MS_RDONLY in flags). 0 or -errno. NULL: always possible.
    int (*remount)(struct superblock *sb, unsigned long flags, const char *options);
    // What /proc/mounts shows behind the mount's own flags: ",key=value,...". May be NULL.
    void (*show_options)(struct superblock *sb, struct seqbuf *s);
    void (*release)(struct superblock *sb);      // may be NULL
};
#define SB_UNCACHED 1 // directory entries are looked up afresh each time (procfs)
#define SB_COMPLETE 2 // the directory entries are the directory: what is not in the table does not exist
#define SB_REVALIDATE 4 // directory entries are a cache of what others may change: superblock_ops.revalidate
#define SB_XATTRS 8     // extended attributes are kept in inode.xattrs
#define SB_RDONLY 16    // the file system itself cannot be written, whatever the mounts say
#define SB_TMPFS 32     // its inodes are those of tmpfs.c
#define SB_BELOW 64     // an overlay stands on it, and has a reference
#define SB_LAZYTIME 128 // MS_LAZYTIME: shown; times are written no sooner than other things anyway
struct superblock {
    const struct superblock_ops *ops;
    const struct fs_type *type;
    struct dentry *root; // referenced
    uint32_t refs;       // mounts and inodes' users
    uint32_t flags;      // SB_*
    uint32_t write_back; // fs/cache/writeback.c: who holds inodes of it
    uint64_t dev;        // st_dev
    uint64_t next_ino;
    uint64_t size_max;   // of a file; 0: superblock_size_max()
    uint32_t direct_align; // what O_DIRECT asks of places and lengths, as statx(2) shows it; 0: nothing is said
    struct list link;    // of those with a medium: mount.c
    struct tmpfs_limits *limits; // fs/tmpfs.h, or NULL
    struct inode_table *inodes; // fs/cache/inode_table.h, or NULL
    void *data;
};
static inline uint64_t superblock_size_max(const struct superblock *sb) { return sb->size_max ? sb->size_max : (uint64_t)INT64_MAX; }
struct fs_type {
    const char *name;
    bool nodev; // needs no device, as /proc/filesystems shows it
    // flags: MS_* of mount(2), of which the file system heeds MS_RDONLY. refs 1. ERR_PTR
    struct superblock *(*mount)(const struct fs_type *type, const char *source, unsigned long flags, const char *options);
};
const struct fs_type *fs_type_find(const char *name);
const struct fs_type *fs_type_at(unsigned index); // NULL: no more
struct superblock *superblock_alloc(const struct superblock_ops *ops, const struct fs_type *type, unsigned flags);
void superblock_unref(struct superblock *sb);
// sync(2) for one file system and for all: writes what was changed, waits. 0 or -errno of the file system.
int superblock_sync(struct superblock *sb);
void vfs_sync(void);
void vfs_sync_last(void); // before the end of the machine: the same, with a limit in time
// A user of the inode that is no open file (a mapping, a call after its lookup): it keeps the file system, too, which cannot be unmounted meanwhile.
struct inode *inode_pin(struct inode *inode); // the argument
void inode_unpin(struct inode *inode);

struct mount {
    uint32_t refs;
    int id;
    uint32_t flags; // MOUNT_FLAGS of fs/mount.h: MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, ...
    uint32_t flags_before; // while several are changed together; under mount_lock
    struct superblock *sb;
    struct dentry *root;       // what of the file system is visible
    struct mount *parent;      // itself for the first one; NULL when detached
    struct dentry *mountpoint; // in the parent
    struct mount *hash_next;   // by the two
    uint32_t writers;          // files that are open for writing
    int group;                 // MS_SHARED: the number of its group as mountinfo shows it; 0: private
    int master;                // the group that it was a member of before MS_SLAVE; 0: none
    bool unbindable;           // MS_UNBINDABLE
    uint8_t expiring;          // MNT_EXPIRE was asked for: how many may still come by until it is in use again
    struct list link;          // of all mounts
    const char *source;        // as /proc/mounts shows it; kmalloc'ed
};
// mount(2): source may be NULL; flags MS_*. umount(2): -EBUSY while files are open in it, unless MNT_DETACH.
int vfs_mount(const char *source, const struct path *target, const char *type, unsigned long flags, const char *options);
int vfs_umount(const struct path *target, int flags);
// mount_setattr(2), after the checks of what is asked for. 0, -EBUSY: one to be read-only is written to, -EINVAL: no mount is there.
struct mount_change {
    uint32_t clear, set; // of mount.flags
    uint32_t propagation; // MS_SHARED, ...; 0: as it is
    bool recursive;
};
int vfs_mount_change(const struct path *p, const struct mount_change *c);
int vfs_pivot_root(const struct path *new, const struct path *old); // pivot_root(2), after the lookup and the check of rights
// Walks over the mounts in order: NULL starts; the result is referenced, the argument's reference is dropped.
struct mount *mount_next(struct mount *m);
struct mount *mount_root(void); // what "/" is outside all processes; not referenced

// --- Inodes ---
// Fills in what all file systems need (number, times, owner from the current credentials, refs 1, nlink 1).
void inode_init(struct inode *inode, struct superblock *sb, const struct inode_ops *ops, uint32_t mode);
static inline struct inode *inode_ref(struct inode *i) { atomic_add(&i->refs, 1); return i; }
void inode_unref(struct inode *inode);
// An inode outside any tree, refs 1, for pipes, sockets, epoll instances...: mode is S_IFIFO | 0600 and the like. NULL: no
// memory. With file_ops set, opening its /proc/PID/fd link makes another file with these operations and the inode's data.
struct inode *inode_anonymous(uint32_t mode, uint64_t rdev);
bool capable(unsigned cap); // the current thread has CAP_...
// Writing and running exclude each other (ETXTBSY): a file open for writing, or the moment of a truncation, is counted by
// get_write; a program that runs, by deny_write. 0 or -ETXTBSY.
int inode_get_write(struct inode *inode);
void inode_put_write(struct inode *inode);
int inode_deny_write(struct inode *inode);
void inode_allow_write(struct inode *inode);
// Its contents change: set-ID bits and file capabilities go. inode.lock held.
int inode_drop_privileges_slow(struct inode *inode);
static inline int inode_drop_privileges(struct inode *inode) { // 0, or what the file system says to it
    if (unlikely((inode->mode & (S_ISUID | S_ISGID)) || inode->maybe_capable))
        return inode_drop_privileges_slow(inode);
    return 0;
}
// Tells the file system (inode_ops.set_attributes) and changes the inode. inode.lock held. 0 or -errno, then nothing has changed.
int inode_set_attributes(struct inode *inode, const struct attributes *a);
void attributes_apply(struct inode *inode, const struct attributes *a); // the second half: for file systems that write the inode at once

// --- Extended attributes, kept by file systems in memory. xattr(7) ---
// The value's length (buf may be NULL for that alone), -ENODATA, -ERANGE, -EOPNOTSUPP.
long xattr_get(struct inode *inode, const char *name, void *buf, size_t size);
int xattr_set(struct inode *inode, const char *name, const void *value, size_t size, int flags); // XATTR_CREATE, XATTR_REPLACE
int xattr_remove(struct inode *inode, const char *name);
long xattr_list(struct inode *inode, char *buf, size_t size); // names, each with its NUL
struct file_capabilities {
    uint64_t permitted, inheritable;
    bool effective;
};
// capabilities(7): what the file gives to who executes it. 0, -ENODATA: nothing, -EINVAL: it cannot be understood.
int xattr_file_capabilities(struct inode *inode, struct file_capabilities *out);

// --- Character devices: what opening a device node does. ---
struct device {
    uint64_t rdev;
    const char *name; // in /dev; NULL: no node of its own
    uint32_t mode;    // permissions of the node
    const struct file_ops *ops;            // a file with these operations, or
    struct file *(*open)(unsigned flags);  // a new file of the driver's. ERR_PTR. It gets the node's inode and path
};
const struct device *device_find(uint64_t rdev);
#define MAKE_DEV(major, minor) ((((uint64_t)(major)&0xfff) << 8) | ((minor)&0xff) | (((uint64_t)(minor) & 0xfff00) << 12))
#define DEV_MAJOR(dev) ((unsigned)((dev) >> 8) & 0xfff)
#define DEV_MINOR(dev) ((unsigned)((dev)&0xff) | ((unsigned)((dev) >> 12) & 0xfff00))

// 4 KiB buffers for names that are too long for the stack. NULL: no memory.
char *name_buffer_get(void);
void name_buffer_put(char *buf);
#define NAME_BUFFER_SIZE 4096

// --- Lookup. `at`: AT_FDCWD or a descriptor of the current process. Paths are kernel strings. ---
#define LOOKUP_FOLLOW 1      // the last component, when it is a symlink
#define LOOKUP_DIRECTORY 2   // must be a directory
#define LOOKUP_PARENT 4      // stop before the last component
#define LOOKUP_EMPTY 8       // "" means `at` itself (AT_EMPTY_PATH)
int path_lookup(int at, const char *name, unsigned flags, struct path *out); // 0 or -errno; out is referenced
void path_ref(const struct path *p);
void path_unref(const struct path *p);
void path_to_top(struct path *p); // onto what is mounted there, as for "." no lookup does it (umount, mount)
struct inode *path_inode(const struct path *p);
// The absolute path as the current process sees it; "(unreachable)"-prefixed outside its root. Length or -ENAMETOOLONG.
long path_name(const struct path *p, char *buf, size_t size);
bool path_deleted(const struct path *p); // its name was removed
bool path_equal(const struct path *a, const struct path *b);

// open(2) without the descriptor. ERR_PTR.
struct file *vfs_open(int at, const char *name, unsigned flags, uint32_t mode);
// For execve: checks that it is a regular file with execute permission. ERR_PTR(-EACCES, -ENOENT, ...).
struct file *vfs_open_exec(int at, const char *name, unsigned lookup_flags);
struct file *vfs_open_resolve(int at, const char *name, unsigned flags, uint32_t mode, uint32_t resolve); // RESOLVE_*
struct file *vfs_open_path(const struct path *p, unsigned flags); // what is already looked up; follows no links. ERR_PTR
struct file *memfd_open(const char *name, unsigned flags, uint32_t mode); // a regular file without a name. ERR_PTR

// Attributes as stat shows them.
struct vfs_stat {
    uint64_t dev, ino, rdev, size, blocks;
    uint32_t mode, nlink, uid, gid, block_size;
    nsec_t atime, mtime, ctime, btime;
    uint32_t mount_id;
    bool mount_root; // it is what the mount shows at its place
};
void vfs_stat_inode(struct inode *inode, struct vfs_stat *out);
void vfs_stat_path(const struct path *p, struct vfs_stat *out); // also mount_id
void vfs_stat_file(struct file *f, struct vfs_stat *out);
int vfs_permission(struct inode *inode, unsigned mask); // 4 read, 2 write, 1 execute; current credentials. 0 or -EACCES

int vfs_mkdir(int at, const char *name, uint32_t mode);
int vfs_mknod(int at, const char *name, uint32_t mode, uint64_t rdev);
int vfs_make_socket(const char *name, uint32_t mode, struct path *made); // S_IFSOCK; *made is referenced
int vfs_symlink(const char *target, int at, const char *name);
int vfs_link(int from_at, const char *from, int to_at, const char *to, unsigned flags);
int vfs_unlink(int at, const char *name, bool directory);
int vfs_rename(int from_at, const char *from, int to_at, const char *to, unsigned flags);
long vfs_readlink(int at, const char *name, char *buf, size_t size);
int vfs_truncate(struct inode *inode, uint64_t size);
int vfs_chmod(struct inode *inode, uint32_t mode);
int vfs_chown(struct inode *inode, uint32_t uid, uint32_t gid); // ~0: unchanged
// NSEC_MAX: unchanged
int vfs_set_times(struct inode *inode, nsec_t atime, nsec_t mtime);
int vfs_touch(struct inode *inode);                // both times now: write permission suffices
bool vfs_owns(const struct inode *inode);           // the current process is its owner, or may act as such
bool path_read_only(const struct path *p);         // by its mount or its file system
uint32_t path_mount_flags(const struct path *p);    // MS_* of its mount; MS_RDONLY also for the file system; 0: in no mount

// Root, working directory, umask of a process (CLONE_FS shares it).
struct fs_context {
    uint32_t refs;
    struct spinlock lock;
    struct path root, cwd;
    uint32_t umask;
};
struct fs_context *fs_context_create(void); // at the root of the first mount
struct fs_context *fs_context_copy(struct fs_context *from);
long fs_context_unshare(void); // the current process gets one of its own. 0 or -ENOMEM
void fs_context_unref(struct fs_context *fs);
int fs_set_cwd(const struct path *p);  // chdir(2): a directory that may be searched
int fs_set_root(const struct path *p); // chroot(2)

extern uint8_t protected_symlinks, protected_hardlinks, protected_fifos, protected_regular; // /proc/sys/fs, off

// Called for each path that was looked for and is absent (--missing-files); NULL: nobody listens.
extern void (*vfs_missing_hook)(const char *name);

// --- The boot: fs/init.c, fs/initrd.c. The errors' reasons are in the log ---
// Mounts the root, devfs on /dev, procfs on /proc, and gives the current process its fs_context. `root`: "TYPE SOURCE" of the file system
// below an overlay (of type 9p: of the root itself), which then has the usual directories, too; NULL: an empty tmpfs. 0 or -errno.
int vfs_init(const char *root);
// A record mount= of docs/boot-protocol.md (which is changed): 0 or -errno. *where: its DIR.
int vfs_init_mount(char *record, const char **where);
// hostname, hosts and resolv.conf, when there is an /etc or an image below the root, and no such file in it but an empty one. After the
// network has its addresses. 0 or -errno.
int vfs_init_etc(void);
void vfs_init_read_only(void); // the root, not what is mounted on it
struct initrd_config {
    const char *data; // in the initrd
    size_t size;
};
// The first member .knarr/config; without one `config` is left alone.
void initrd_find_config(phys_t start, phys_t end, struct initrd_config *config);
phys_t initrd_find_image(phys_t start, phys_t end); // of EROFS, behind the archives, up to the end. 0: none
int initrd_unpack(phys_t start, phys_t end); // archives only. 0, -ENOMEM, -EINVAL

#endif
