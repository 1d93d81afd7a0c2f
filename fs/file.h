// Open files. Everything that has a file descriptor is a struct file with a table of functions: regular files, directories,
// devices, pipes, terminals, and later sockets, eventfds, timers and epoll instances.
// Locks: file_table.lock (spinlock) protects the slots; file.position_lock (mutex) serialises read/write of one open file.
#ifndef FS_FILE_H
#define FS_FILE_H

#include "kernel/memory/aspace.h"
#include "kernel/memory/page.h"
#include "kernel/threads/lock.h"
#include "kernel/types.h"
#include "kernel/memory/uio.h"
#include "kernel/threads/wait.h"
#include <linux/fcntl.h> // O_*, F_*, AT_*
#include <linux/poll.h>  // POLL*

struct file;
struct file_lock;
struct inode;
struct dentry;
struct mount;
struct process;
struct seqbuf;

// A place in the tree of names: a directory entry in a mount. path_ref/path_unref (vfs.h) keep it alive.
struct path {
    struct mount *mount;
    struct dentry *dentry;
};

// What a poll of a file registers with: `add` is called for each wait queue that the file's readiness depends on.
struct poll_table {
    void (*add)(struct poll_table *pt, struct file *f, struct waitq *wq);
};

struct dir_context {
    // Called for each entry; false: the buffer is full, stop (the entry will come again). `off` is where to continue after it.
    bool (*emit)(struct dir_context *ctx, const char *name, size_t len, uint64_t ino, unsigned type, int64_t off);
    int64_t pos; // file position: updated by iterate
};

// Every function may be NULL: then the default stands in brackets. They return -errno; blocking ones -ERESTARTSYS.
struct file_ops {
    bool never_spliced; // splice(2) and sendfile(2) do not read it
    bool direct;        // O_DIRECT may be asked for
    const char *name; // what /proc/PID/fd shows for files without a place in the tree: "[eventpoll]". NULL: none
    // [0] open(2) of a regular file or directory has made the file, with its path; an error is the call's, and `release` comes next.
    int (*open)(struct file *f);
    // [-EINVAL] `pos` is the position to use and to advance; NULL for files without one (pipes, terminals).
    int64_t (*read)(struct file *f, struct uio *u, uint64_t *pos);
    int64_t (*write)(struct file *f, struct uio *u, uint64_t *pos);
    // [-EOPNOTSUPP] See file_share.
    int64_t (*share)(struct file *f, uint64_t pos, size_t n, struct uio_vec *vec, unsigned max);
    int64_t (*seek)(struct file *f, int64_t offset, int whence); // [by inode size; -ESPIPE for streams]
    long (*ioctl)(struct file *f, unsigned cmd, uint64_t arg);   // [-ENOTTY]
    uint32_t (*poll)(struct file *f, struct poll_table *pt);     // [always readable and writable] pt may be NULL
    int (*iterate)(struct file *f, struct dir_context *ctx);     // [-ENOTDIR]
    // [-ENODEV] The backing for a mapping, with a reference; ERR_PTR.
    struct backing *(*map)(struct file *f, unsigned prot, unsigned flags);
    int (*fsync)(struct file *f, bool data_only);                // [-EINVAL]
    int (*truncate)(struct file *f, uint64_t size);              // [through the inode]
    int (*allocate)(struct file *f, int mode, uint64_t offset, uint64_t len); // fallocate(2) [-EOPNOTSUPP]
    // [0] A lock (F_RDLCK, F_WRLCK) that nobody in this machine objects to, or its end (F_UNLCK): what others of the file's server say.
    // An error takes it back. `owner` as lock_set has it (fs/poll.h), flock(2) over the whole file.
    int (*lock)(struct file *f, void *owner, int type, uint64_t start, uint64_t end, bool wait);
    bool (*lock_test)(struct file *f, int type, struct file_lock *found); // [false] the same question: found->start, end are the range
    void (*show)(struct file *f, struct seqbuf *s);              // what /proc/PID/fdinfo says besides. Any process
    void (*flush)(struct file *f);                               // at each close(2) of a descriptor
    void (*release)(struct file *f);                             // the last reference is gone
};

struct epoll_item;
struct file {
    const struct file_ops *ops;
    uint32_t refs;
    uint32_t flags;   // O_* status flags and access mode
    union {
        struct {
            bool stream;        // no position: read and write get pos NULL
            bool readable, writable;
            bool lock_position : 1; // read and write at the file's own position exclude each other (regular files, directories)
            bool watched : 1;       // somebody wants to know what is done with it: fs/inotify.h
        };
        uint32_t access; // all four at once: FILE_*
    };
    bool path_only;   // O_PATH: a place, not an open file
    bool counts_write; // in inode.write_count
    bool has_lock;    // flock(2) or F_OFD_SETLK was used on it
    uint8_t advice;   // POSIX_FADV_NORMAL, _RANDOM or _SEQUENTIAL: how it is going to be read
    uint64_t position;
    struct mutex position_lock;
    struct path path;     // where it was opened; dentry NULL for anonymous files (pipes)
    struct inode *inode;  // never NULL after file_open; referenced
    void *data;           // the owner's
    int signal_owner;     // F_SETOWN: a process, or a group as a negative number
    bool owner_is_thread; // F_SETOWN_EX: signal_owner is one
    uint32_t write_errors; // of write-back, that it was told of: fs/cache/pagecache.h
    struct epoll_item *epoll; // the epoll instances that watch it: fs/epoll.c
};

// A file with refs 1; takes a reference of its own on the inode. readable and writable follow from `flags`. ERR_PTR(-ENFILE)
// or ERR_PTR(-ENOMEM). Files that are not in the tree (pipes, sockets, ...) use an inode of inode_anonymous() (vfs.h).
struct file *file_alloc(const struct file_ops *ops, struct inode *inode, unsigned flags);
static inline struct file *file_ref(struct file *f) { atomic_add(&f->refs, 1); return f; }
void file_release(struct file *f); // the last reference is gone
static inline void file_unref(struct file *f)
{
    if (atomic_sub(&f->refs, 1) == 1)
        file_release(f);
}
// Read and write with Linux's common checks (mode, position lock, stream or not). `pos` NULL: the file's own.
int64_t file_read(struct file *f, struct uio *u, uint64_t *pos);
int64_t file_write(struct file *f, struct uio *u, uint64_t *pos);
// Instead of a read: references to the pages in which up to n bytes from pos on lie. Each of at most `max` vec becomes the part of one page.
// The bytes, also fewer than there are; 0: the end; -errno; -EOPNOTSUPP: these have to be read.
int64_t file_share(struct file *f, uint64_t pos, size_t n, struct uio_vec *vec, unsigned max);
struct page *file_share_hole(void); // a page of zeroes with a reference; NULL: no memory
void file_share_end(const struct uio_vec *vec, int64_t n); // gives back the references to n bytes
// For file_ops.share: the part of a page that has byte `at` of the file and at most n. Its bytes.
static inline size_t file_share_page(struct uio_vec *vec, const struct page *p, uint64_t at, size_t n)
{
    n = MIN(PAGE_SIZE - (at & ~PAGE_MASK), n);
    *vec = (struct uio_vec){(uint64_t)(uintptr_t)page_to_virt(p) + (at & ~PAGE_MASK), n};
    return n;
}
// A range of n bytes from pos on that no file can have: -EINVAL; else 0. What Linux asks before each read or write.
static inline long file_check_range(uint64_t pos, uint64_t n)
{
    return (int64_t)n < 0 || (int64_t)pos < 0 || (int64_t)(pos + n) < 0 ? -EINVAL : 0;
}
// RWF_SYNC, RWF_DSYNC (O_SYNC is the write functions' business): what a write of n bytes (or -errno) has left behind goes to the medium.
// n or -errno.
int64_t file_write_sync(struct file *f, int64_t n, bool data_only);
#define FILE_STREAM   0x1u // of file.access, as the bools lie
#define FILE_READABLE 0x100u
#define FILE_WRITABLE 0x10000u
#define FILE_LOCK     0x1000000u
#define FILE_WATCHED  0x2000000u
int64_t file_read_kernel(struct file *f, void *buf, size_t n, uint64_t pos);        // for the loader and the kernel itself
int64_t file_write_kernel(struct file *f, const void *buf, size_t n, uint64_t *pos);
int64_t file_seek(struct file *f, int64_t offset, int whence);                      // lseek(2)
// The default for files with a size: SEEK_SET, SEEK_CUR, SEEK_END, and SEEK_DATA, SEEK_HOLE as for a file without holes.
int64_t file_seek_sized(struct file *f, int64_t offset, int whence, uint64_t size);
int64_t file_seek_limited(struct file *f, int64_t offset, int whence, uint64_t size, uint64_t most); // and no further than `most`
int64_t file_seek_nowhere(struct file *f, int64_t offset, int whence);              // for streams on which lseek(2) answers 0
// It was read, through a mount with these flags: the access time follows, as mount(8) says. No lock is needed.
void inode_accessed(struct inode *inode, uint32_t mount_flags);
void file_accessed(struct file *f);
int file_iterate(struct file *f, struct dir_context *ctx);                          // the next entries of a directory
uint32_t file_poll(struct file *f, struct poll_table *pt);                          // POLL* bits

// Whom O_ASYNC signals: 0, -ESRCH, -EINVAL. type: F_OWNER_*, id 0: nobody. The number is F_SETOWN's, a group's is negative.
long file_set_owner(struct file *f, int type, int id);
long file_set_owner_number(struct file *f, int owner);
long file_get_seals(struct file *f);                  // F_GET_SEALS, F_ADD_SEALS; -EINVAL when it is no memfd
long file_add_seals(struct file *f, unsigned seals);

// --- Tables of descriptors ---
struct file_table {
    uint32_t refs; // CLONE_FILES
    struct spinlock lock;
    unsigned capacity, next_free; // no slot below next_free is empty
    struct file **files;
    uint64_t *cloexec; // bitmap
};
struct file_table *file_table_create(void);
struct file_table *file_table_copy(struct file_table *from); // fork
void file_table_unref(struct file_table *t);                 // the last one closes everything
void file_table_close_on_exec(struct file_table *t);
struct file *fd_get(int fd);         // of the current process, with a reference; NULL: EBADF (and for O_PATH unless fd_get_path)
struct file *fd_get_path(int fd);    // the same, O_PATH files too
long fd_room(void); // 0; -EMFILE: fd_install would fail. For calls that do what cannot be undone before they have their file
long fd_install(struct file *f, unsigned flags); // lowest free one; takes over the reference; O_CLOEXEC in flags. Or -EMFILE
long fd_install_at(struct file *f, int fd, unsigned flags); // dup2; closes what was there
long fd_dup(struct file *f, int minimum, unsigned flags);   // F_DUPFD; takes its own reference
long fd_close(int fd);               // 0 or -EBADF
long fd_get_flags(int fd);           // FD_CLOEXEC or 0, -EBADF
long fd_set_flags(int fd, unsigned flags);
long fd_close_range(unsigned first, unsigned last, bool cloexec_only); // close_range(2)
long fd_unshare(void);               // the current process gets a table of its own. 0 or -ENOMEM
// The next open descriptor of a table from `fd` on, with a reference, for /proc; -1: no more.
int fd_next(struct file_table *t, int fd, struct file **file);
bool fd_closes_on_exec(struct file_table *t, int fd); // of any table, for /proc

#endif
