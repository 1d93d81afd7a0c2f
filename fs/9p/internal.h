// What the files of fs/9p/ share: a file system on a session, its inodes and how they find their fids.
//
// An inode has a fid that says where it lies (`fid`, walked by the name `fid_name`), and those that files have opened. A server that
// remembers places by their paths (as QEMU's) says of such a fid what is at that path now; so attributes are taken only when they are
// of the same file (qid.path, and the kind). Once a file's last name is gone, its attributes are kept here (`gone`).
// Locks: inode.lock (the VFS's, and write, truncate) > inode.spin (the fids of an inode; a leaf). A fid that is used is referenced.
#ifndef FS_9P_INTERNAL_H
#define FS_9P_INTERNAL_H

#include "fs/9p/client.h"
#include "fs/cache/inode_table.h"
#include "fs/cache/pagecache.h"
#include "fs/internal.h"

// Roots of the exported directory, one for each user who has made something.
struct p9_user {
    uint32_t uid;
    struct p9_fid *root;
    struct list link;
};

struct p9_options {
    uint32_t msize, uid;        // uid: whom the first Tattach names
    char *uname, *aname, *file; // kmalloc'ed; file: the root is this one file of the directory. NULL: the directory
    char *shown;                // for /proc/mounts
};

struct p9_mount {
    struct superblock *sb;
    struct p9_client *client;
    struct p9_options options;
    struct mutex users_lock;
    struct list users;
};

struct p9_inode {
    struct inode inode;
    struct page_cache cache; // of regular files that were mapped: inode.cache points here
    // Under inode.spin:
    struct p9_fid *fid;                  // NULL: not known, it is walked to by some name
    struct dentry *fid_name;             // the entry by whose name the fid was walked to; only compared
    struct list others;                  // directories: fids of other users than the first
    struct list open;                    // of open files
    struct p9_fid *created;              // open for reading and writing since Tlcreate; the open that follows takes it
    struct p9_fid *map_read, *map_write; // open, for the page cache: mappings outlive files
    bool gone;                           // no name of it is known to the server any more
    bool truncated;                      // the server has set the times already
    uint32_t writers;                    // writes to the server that are on their way
    uint32_t changes; // of the contents, made here: attributes that were asked for before do not say it
    // Attributes were just asked for, by this thread: stat(2) need not ask again what the walk has.
    struct thread *fresh_for;
    nsec_t fresh_at;
    // Of a directory: the entry that was just found to be absent, by this thread. Only compared.
    struct dentry *absent;
    struct thread *absent_for;
    nsec_t absent_at;
    // What the page cache's contents belong to.
    nsec_t cached_mtime;
    uint64_t cached_size;
    uint64_t stale_end; // of a file that is `gone`: the server has bytes up to here that were cut off
};

static inline struct p9_mount *p9_mount_of(const struct superblock *sb) { return sb->data; }
static inline struct p9_inode *p9_inode_of(struct inode *inode) { return container_of(inode, struct p9_inode, inode); }

// --- super.c ---

// The root's fid of a user, referenced. ERR_PTR.
struct p9_fid *p9_user_root(struct p9_mount *m, uint32_t uid);

// --- inode.c ---
extern const struct superblock_ops p9_sb_ops;
// The inode of what `fid` stands for, with attributes: 0, *out referenced, and the fid is taken over; or -errno. `name`: by which it was
// walked to; NULL: the root.
int p9_inode_get(struct superblock *sb, struct p9_fid *fid, struct dentry *name, struct inode **out);
// The fid of an inode, referenced; walked to afresh when it is not known. ERR_PTR(-ENOENT): it has no name any more.
struct p9_fid *p9_inode_fid(struct inode *inode);
struct p9_fid *p9_inode_fid_as(struct inode *inode, uint32_t uid); // acting for that user
void p9_inode_forget(struct inode *inode, struct dentry *name); // the entry's name is gone or is another one: NULL, all
// Asks for the attributes and takes them. 0, -errno (-ESTALE: what is there is another file).
int p9_inode_refresh(struct inode *inode, struct p9_fid *fid);
bool p9_revalidate(struct dentry *d);
int p9_lookup(struct inode *dir, struct dentry *d);
void p9_update(struct inode *inode);
int p9_set_attributes(struct inode *inode, const struct attributes *a);
void p9_inode_release(struct inode *inode);
void p9_size_changed(struct inode *inode, uint64_t size); // by this machine; inode.lock held
// An open fid of the inode, referenced, that may be read (4), written (6); not one that appends. Opened when there is none. ERR_PTR
struct p9_fid *p9_inode_open_fid(struct inode *inode, unsigned access);
// A new fid, opened by Tlopen with these flags. ERR_PTR(-ESTALE): the name is another file's by now.
struct p9_fid *p9_inode_open(struct inode *inode, unsigned flags);

// --- names.c ---
extern const struct inode_ops p9_directory_ops, p9_file_inode_ops, p9_symlink_ops;

// --- lock.c ---
int p9_file_lock(struct file *f, void *owner, int type, uint64_t start, uint64_t end, bool wait);
bool p9_file_lock_test(struct file *f, int type, struct file_lock *found);
void p9_locks_closed(struct file *f); // a descriptor of the current process is closed: its locks on the file go

// --- file.c, io.c, dir.c, cache.c, xattr.c ---
extern const struct file_ops p9_file_ops, p9_dir_file_ops;
extern const struct page_cache_ops p9_cache_ops;
int p9_file_open(struct file *f);
void p9_file_release(struct file *f);
int64_t p9_file_read(struct file *f, struct uio *u, uint64_t *pos);
int64_t p9_file_write(struct file *f, struct uio *u, uint64_t *pos);
int p9_truncate(struct inode *inode, uint64_t size);
struct backing *p9_map(struct file *f, unsigned prot, unsigned flags);
void p9_drop_write_fid(struct p9_inode *p); // the one for mappings, when it is needed no longer
// Bytes of contiguous kernel memory, in as many requests as it takes. 0 or -errno; a read that ends early fills up with zeroes.
int p9_zero_range(struct inode *inode, uint64_t from, uint64_t to);
long p9_xattr_get(struct inode *inode, const char *name, void *buf, size_t size);
int p9_xattr_set(struct inode *inode, const char *name, const void *value, size_t size, int flags);
long p9_xattr_list(struct inode *inode, char *buf, size_t size);

#endif
