// The parts of procfs: procfs.c turns tables of entries into a file system, procfs_pid.c, procfs_status.c, procfs_memory.c and
// procfs_mounts.c have those of processes, procfs_fd.c of their descriptors, procfs_system.c and procfs_vm.c those of the machine,
// procfs_sysctl.c /proc/sys.
#ifndef FS_PROCFS_H
#define FS_PROCFS_H

#include "fs/internal.h"
#include "fs/seqbuf.h"

struct proc_entry;

// A file, directory or link of procfs: an entry of a table, and for which process, thread and descriptor.
struct proc_item {
    struct inode inode;
    const struct proc_entry *entry;
    int pid, tid; // 0: not about a process
    int fd;
    nsec_t born; // when the process began: its number may be another's later
};

// What a table's functions get: the item, and the process and thread that it is about, alive.
struct proc_ref {
    struct proc_item *item;
    struct process *process; // NULL for entries of the machine
    struct thread *thread;   // the thread, or one of the process; NULL when it has none left
};

// Members whose names are numbers: processes, threads, descriptors.
struct proc_numbers {
    int (*next)(struct proc_ref *dir, int from); // the first number >= from; -1: no more
    const struct proc_entry *member;
    // What the number becomes: a process, a thread, or the item's fd, which what is below has, too; INNER: above the directory's.
    enum { NUMBER_PID, NUMBER_TID, NUMBER_FD, NUMBER_INNER } kind;
    const char *prefix;                              // NULL: the names are the numbers alone
    void (*print)(int n, char *buf, size_t size);    // with a prefix: the names are something else altogether. May be NULL
};

struct proc_entry {
    const char *name;                                                // NULL ends a table
    uint32_t mode;                                                   // type and permissions
    int (*show)(struct seqbuf *s, struct proc_ref *r);               // the contents. 0 or -errno
    long (*store)(struct proc_ref *r, const char *text, size_t len); // a write; the text is NUL-terminated. 0 or -errno
    long (*readlink)(struct proc_ref *r, char *buf, size_t size);
    int (*follow)(struct proc_ref *r, struct path *out); // for links that are more than text
    uint32_t (*link_mode)(struct proc_ref *r);           // permissions of descriptors' links
    const struct proc_entry *children;
    const struct proc_numbers *numbers;
    bool guarded; // only for who may trace the process (process_may_trace); others get EACCES
};
#define PROC_FILE(nm, fn)                                                                                              \
    { .name = (nm), .mode = S_IFREG | 0444, .show = (fn) }
#define PROC_SECRET(nm, fn)                                                                                            \
    { .name = (nm), .mode = S_IFREG | 0400, .show = (fn) }
#define PROC_GUARDED(nm, perm, fn)                                                                                     \
    { .name = (nm), .mode = S_IFREG | (perm), .show = (fn), .guarded = true }
#define PROC_DIR(nm, entries)                                                                                          \
    { .name = (nm), .mode = S_IFDIR | 0555, .children = (entries) }

// What was written is a number, with a line end or without. 0 or -EINVAL.
int proc_parse_number(const char *text, size_t len, uint64_t *value);

// A setting that fs/procfs_ipc.c knows by the name of its file.
int proc_show_limit(struct seqbuf *s, struct proc_ref *r);
long proc_store_limit(struct proc_ref *r, const char *text, size_t len);
#define PROC_LIMIT(nm)                                                                                                 \
    { .name = (nm), .mode = S_IFREG | 0644, .show = proc_show_limit, .store = proc_store_limit }
extern const struct proc_entry proc_mqueue_entries[], proc_inotify_entries[], proc_sysvipc_entries[];

struct file_lock;
void proc_show_lock(void *seqbuf, const struct file_lock *l, bool waits, int number); // a line of /proc/locks
// A file system of such entries; refs 1. ERR_PTR(-ENOMEM).
struct superblock *procfs_superblock(const struct fs_type *type, const struct proc_entry *root);
extern const struct proc_entry proc_root_entries[], proc_sys_entries[], proc_net_entries[], proc_pid_entries[], proc_task_entries[];
extern const struct proc_numbers proc_processes, proc_fds, proc_fdinfos;
int proc_show_mounts(struct seqbuf *s, struct proc_ref *r);
int proc_show_mountstats(struct seqbuf *s, struct proc_ref *r);
int proc_show_mountinfo(struct seqbuf *s, struct proc_ref *r);
// procfs_vm.c
extern const struct proc_entry proc_vm_entries[];
int proc_show_meminfo(struct seqbuf *s, struct proc_ref *r);
int proc_show_vmstat(struct seqbuf *s, struct proc_ref *r);
// procfs_memory.c
int proc_show_maps(struct seqbuf *s, struct proc_ref *r);
int proc_show_smaps(struct seqbuf *s, struct proc_ref *r);
int proc_show_smaps_rollup(struct seqbuf *s, struct proc_ref *r);
int proc_show_cmdline(struct seqbuf *s, struct proc_ref *r);
int proc_show_environ(struct seqbuf *s, struct proc_ref *r);
int proc_show_auxv(struct seqbuf *s, struct proc_ref *r);
int proc_show_statm(struct seqbuf *s, struct proc_ref *r);
// procfs_status.c
int proc_show_stat(struct seqbuf *s, struct proc_ref *r);
int proc_show_task_stat(struct seqbuf *s, struct proc_ref *r);
int proc_show_status(struct seqbuf *s, struct proc_ref *r);
int proc_show_limits(struct seqbuf *s, struct proc_ref *r);
int proc_show_children(struct seqbuf *s, struct proc_ref *r);
int proc_show_syscall(struct seqbuf *s, struct proc_ref *r);

// References on what another process has, NULL when it has ended.
struct file_table *process_files_get(struct process *p);
unsigned process_umask(struct process *p); // 0 when it has ended
bool process_path_get(struct process *p, bool root, struct path *out);
bool process_exe_get(struct process *p, struct path *out);

#endif
