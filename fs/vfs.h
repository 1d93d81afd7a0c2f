// The tree of names: inodes, directory entries, mounts, path lookup, and the calls that work on names.
#ifndef FS_VFS_H
#define FS_VFS_H

#include "fs/file.h"
#include "kernel/list.h"
#include "kernel/lock.h"
#include "kernel/types.h"
#include <linux/stat.h> // S_IF*, struct statx is not used below syscall/

struct superblock;
struct inode_ops;

struct inode {
    const struct inode_ops *ops;
    const struct file_ops *file_ops; // given to files opened on it
    struct superblock *sb;
    uint32_t refs;
    uint32_t mode; // S_IFMT and permissions
    uint32_t uid, gid, nlink;
    uint64_t ino, rdev, size, blocks; // blocks of 512 bytes
    nsec_t atime, mtime, ctime, btime; // realtime
    struct mutex lock; // contents of a directory, size and pages of a file. Order: parent before child
    void *data;        // the file system's
};

// Lookup and change of names; called with the directory's inode locked. New entries are attached to the given dentry.
struct inode_ops {
    int (*lookup)(struct inode *dir, struct dentry *d); // attach an inode, or leave it negative. 0 or -errno
    int (*create)(struct inode *dir, struct dentry *d, uint32_t mode, uint64_t rdev); // regular, fifo, device, socket
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
    void (*release)(struct inode *inode); // the last reference is gone
};
// The rest (struct dentry, struct mount, struct superblock, file system types) is declared by the owner of this header below.

// --- Lookup. `at`: AT_FDCWD or a descriptor of the current process. Paths are kernel strings. ---
#define LOOKUP_FOLLOW 1      // the last component, when it is a symlink
#define LOOKUP_DIRECTORY 2   // must be a directory
#define LOOKUP_PARENT 4      // stop before the last component
#define LOOKUP_EMPTY 8       // "" means `at` itself (AT_EMPTY_PATH)
int path_lookup(int at, const char *name, unsigned flags, struct path *out); // 0 or -errno; out is referenced
void path_ref(const struct path *p);
void path_unref(const struct path *p);
struct inode *path_inode(const struct path *p);
// The absolute path as the current process sees it; "(unreachable)"-prefixed outside its root. Length or -ENAMETOOLONG.
long path_name(const struct path *p, char *buf, size_t size);

// open(2) without the descriptor. ERR_PTR.
struct file *vfs_open(int at, const char *name, unsigned flags, uint32_t mode);
// For execve: checks that it is a regular file with execute permission. ERR_PTR(-EACCES, -ENOENT, ...).
struct file *vfs_open_exec(int at, const char *name, unsigned lookup_flags);

// Attributes as stat shows them.
struct vfs_stat {
    uint64_t dev, ino, rdev, size, blocks;
    uint32_t mode, nlink, uid, gid, block_size;
    nsec_t atime, mtime, ctime, btime;
    uint64_t mount_id;
};
void vfs_stat_inode(struct inode *inode, struct vfs_stat *out);
int vfs_permission(struct inode *inode, unsigned mask); // 4 read, 2 write, 1 execute; current credentials. 0 or -EACCES

int vfs_mkdir(int at, const char *name, uint32_t mode);
int vfs_mknod(int at, const char *name, uint32_t mode, uint64_t rdev);
int vfs_symlink(const char *target, int at, const char *name);
int vfs_link(int from_at, const char *from, int to_at, const char *to, unsigned flags);
int vfs_unlink(int at, const char *name, bool directory);
int vfs_rename(int from_at, const char *from, int to_at, const char *to, unsigned flags);
long vfs_readlink(int at, const char *name, char *buf, size_t size);
int vfs_truncate(struct inode *inode, uint64_t size);
int vfs_chmod(struct inode *inode, uint32_t mode);
int vfs_chown(struct inode *inode, uint32_t uid, uint32_t gid); // ~0: unchanged
int vfs_set_times(struct inode *inode, nsec_t atime, nsec_t mtime); // NSEC_MAX: unchanged

// Root, working directory, umask of a process (CLONE_FS shares it).
struct fs_context {
    uint32_t refs;
    struct spinlock lock;
    struct path root, cwd;
    uint32_t umask;
};
struct fs_context *fs_context_create(void); // at the root of the first mount
struct fs_context *fs_context_copy(struct fs_context *from);
void fs_context_unref(struct fs_context *fs);

// Called for each path that was looked for and is absent (--missing-files); NULL: nobody listens.
extern void (*vfs_missing_hook)(const char *name);

// Boot: mounts tmpfs on /, devfs on /dev, procfs on /proc; unpacks the initrd into /. 0 or -errno (bad archive: -EINVAL,
// with the reason in the log). The member .knarr/config goes to `config` (a pointer into the initrd or a copy) instead.
int vfs_init(void);
struct initrd_config {
    const char *data;
    size_t size;
};
int initrd_unpack(phys_t start, phys_t end, struct initrd_config *config);

#endif
