// A session with a 9P server: requests with tags, fids, and each message of 9P2000.L as a function.
//
// A request: p9_request_new, put the fields, p9_call (or p9_submit and later p9_finish, with others on their way meanwhile), get the
// fields, p9_request_end. What the server says is checked; a server that lies is reported once and disabled, and all calls give -EIO.
// A thread that is killed while it waits sends Tflush, and waits for what that gives.
// Locks: client.lock, interrupt-safe, a leaf but for the transport's.
#ifndef FS_9P_CLIENT_H
#define FS_9P_CLIENT_H

#include "fs/9p/protocol.h"
#include "fs/9p/transport.h"
#include "kernel/threads/lock.h"
#include "kernel/threads/wait.h"

#define P9_MSIZE (128 * 1024 + 4096) // a payload of 128 KiB, and its header
#define P9_MSIZE_MIN 4096
#define P9_MSIZE_MAX (1024 * 1024)
#define P9_TAGS 256
#define P9_PAYLOAD_SEGMENTS 40 // of one request: 32 pages, or fewer larger pieces

struct thread;
struct p9_fid;

struct p9_client {
    struct p9_transport *transport;
    uint32_t msize, payload_max; // bytes of data in one Tread, Twrite
    uint32_t segments_max;       // pieces of a payload
    struct spinlock lock;
    uint64_t tags[P9_TAGS / 64]; // bits of those in use
    struct waitq tag_wait;
    uint32_t *free_fids;            // a stack of numbers
    uint32_t free_count, fid_count; // fid_count: numbers ever used, and the stack's room is never less
    uint32_t free_room;
    uint32_t fids; // that live, or whose Tclunk is on its way
    struct waitq fid_wait;
    struct list clunks; // fids that wait for a tag
    bool broken;
    struct p9_request *reserve; // for a Twrite when there is no memory: dirty pages must go for there to be some
    bool reserve_taken;
    uint64_t round_trips; // requests that somebody waited for; relaxed
};

// A handle on the server's side: a place in its tree, later perhaps an open file. Shared by references; the last one sends Tclunk.
struct p9_fid {
    struct p9_client *client;
    uint32_t number, refs;
    uint32_t uid;   // who it acts for
    void *locker;   // whose last lock was set with Tlock: the file, or a process's table of files. NULL: nobody's
    uint8_t access; // of an open one: 4 may be read, 2 written
    bool opened, append;
    struct p9_qid qid;
    struct list link; // the owner's; then client.clunks
    // Its Tclunk, for which no memory need be found.
    uint16_t clunk_tag;
    struct p9_transfer clunk;
    struct p9_segment clunk_segments[2];
    uint8_t clunk_out[16], clunk_in[16];
};

struct p9_request {
    struct p9_transfer transfer;
    struct p9_client *client;
    struct thread *waiting; // NULL: it is done
    enum p9_type type;
    uint16_t tag;
    uint16_t payload_out, payload_in; // segments
    struct p9_buffer b;               // the message, then the reply
    uint32_t in_size;                 // room for the reply, without its payload
    uint8_t *in;
    struct p9_segment segments[P9_PAYLOAD_SEGMENTS + 2];
    uint8_t out[];
};

// Tversion. Takes the transport over, with the error too. ERR_PTR. `msize`: what is wished for.
struct p9_client *p9_client_open(struct p9_transport *tr, uint32_t msize);
void p9_client_close(struct p9_client *c); // no fid is left but for those on their way out: waits for them
void p9_client_broken(struct p9_client *c, const char *why) __attribute__((cold));

// --- Requests ---
#define P9_SMALL 600 // room for the fields of most messages: two names
#define P9_REPLY 256 // for most replies
// Room for `out_size` and `in_size` bytes besides a payload. Waits for a tag. ERR_PTR(-ENOMEM, -EIO, -EINTR).
struct p9_request *p9_request_new(struct p9_client *c, enum p9_type type, uint32_t out_size, uint32_t in_size);
// Data that goes (or comes) behind the fields: at most segments_max pieces.
void p9_payload_out(struct p9_request *r, void *data, uint32_t len);
void p9_payload_in(struct p9_request *r, void *data, uint32_t len);
int p9_submit(struct p9_request *r); // 0, or -ENAMETOOLONG: a field that does not fit; then it is not on its way
int p9_finish(struct p9_request *r); // after p9_submit gave 0: waits. 0, or -errno of the server, -EIO, -EINTR
int p9_call(struct p9_request *r);   // both
// All fields were read: 0, or -EIO when they were not there.
int p9_fields_end(struct p9_request *r);
void p9_request_free(struct p9_request *r); // when it is not on its way

// --- Fids ---
// A number for a fid that the next message makes on the server: until p9_fid_made it is only a number. NULL: no memory.
struct p9_fid *p9_fid_new(struct p9_client *c, uint32_t uid);
void p9_fid_abandon(struct p9_fid *f); // the server refused: the number is free again
static inline struct p9_fid *p9_fid_ref(struct p9_fid *f) {
    atomic_add(&f->refs, 1);
    return f;
}
void p9_fid_put(struct p9_fid *f); // NULL is allowed. Any context that may submit; does not sleep

// --- Messages: 0 or -errno; those that make a fid give it or ERR_PTR. Names are not NUL-terminated. ---
struct p9_name {
    const char *name;
    size_t len;
};
struct p9_fid *p9_attach(struct p9_client *c, uint32_t uid, const char *uname, const char *aname);
// At most P9_WALK_MAX names; 0: another fid for the same place. A name that is not there: -ENOENT.
struct p9_fid *p9_walk(struct p9_fid *from, const struct p9_name *names, unsigned count);
int p9_lopen(struct p9_fid *f, uint32_t flags);
int p9_lcreate(struct p9_fid *dir, const char *name, size_t len, uint32_t flags, uint32_t mode,
               uint32_t gid); // dir becomes the file
int p9_mkdir(struct p9_fid *dir, const char *name, size_t len, uint32_t mode, uint32_t gid);
int p9_symlink(struct p9_fid *dir, const char *name, size_t len, const char *target, uint32_t gid);
int p9_mknod(struct p9_fid *dir, const char *name, size_t len, uint32_t mode, uint64_t rdev, uint32_t gid);
int p9_link(struct p9_fid *dir, struct p9_fid *target, const char *name, size_t len);
int p9_renameat(struct p9_fid *from, const struct p9_name *old, struct p9_fid *to, const struct p9_name *new);
int p9_unlinkat(struct p9_fid *dir, const char *name, size_t len, bool directory);
int p9_getattr(struct p9_fid *f, struct p9_attr *a);
int p9_setattr(struct p9_fid *f, const struct p9_setattr *a);
int p9_statfs(struct p9_fid *f, struct p9_statfs *s);
int p9_fsync(struct p9_fid *f, bool data_only);
long p9_readlink(struct p9_fid *f, char *buf, size_t size); // length, not NUL-terminated; more than fits is cut
int p9_lock(struct p9_fid *f, const struct p9_lock *l, uint8_t *status);
int p9_getlock(struct p9_fid *f, struct p9_lock *l);                                   // type UNLCK: nobody
struct p9_fid *p9_xattrwalk(struct p9_fid *f, const char *name, uint64_t *size);       // "": the list of names
int p9_xattrcreate(struct p9_fid *f, const char *name, uint64_t size, uint32_t flags); // f becomes the attribute's
// One request each; contiguous kernel memory. Bytes done.
long p9_read(struct p9_fid *f, void *buf, uint32_t len, uint64_t offset);
long p9_write(struct p9_fid *f, const void *buf, uint32_t len, uint64_t offset);
long p9_readdir(struct p9_fid *f, void *buf, uint32_t len, uint64_t offset); // bytes of entries: p9_get_dirent

// The same in two steps, with pieces that p9_payload_in and p9_payload_out have added in between: p9_submit, p9_finish_io.
struct p9_request *p9_read_begin(struct p9_fid *f, enum p9_type type, uint32_t len,
                                 uint64_t offset); // P9_TREAD, P9_TREADDIR
struct p9_request *p9_write_begin(struct p9_fid *f, uint32_t len, uint64_t offset);
long p9_finish_io(struct p9_request *r, uint32_t asked); // bytes; frees the request

#endif
