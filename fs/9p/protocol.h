// 9P2000.L: the messages as bytes. Packing and unpacking with all bounds checked: a message that does not fit, or a reply that is
// shorter than it says, marks the buffer as bad, and every later access is harmless. Knows nothing of sessions; runs on the host.
// Format: size[4] type[1] tag[2] ...; numbers little endian; s: a 16-bit length and so many bytes.
#ifndef FS_9P_PROTOCOL_H
#define FS_9P_PROTOCOL_H

#include "kernel/types.h"

enum p9_type {
    P9_RLERROR = 7,
    P9_TSTATFS = 8,
    P9_TLOPEN = 12,
    P9_TLCREATE = 14,
    P9_TSYMLINK = 16,
    P9_TMKNOD = 18,
    P9_TREADLINK = 22,
    P9_TGETATTR = 24,
    P9_TSETATTR = 26,
    P9_TXATTRWALK = 30,
    P9_TXATTRCREATE = 32,
    P9_TREADDIR = 40,
    P9_TFSYNC = 50,
    P9_TLOCK = 52,
    P9_TGETLOCK = 54,
    P9_TLINK = 70,
    P9_TMKDIR = 72,
    P9_TRENAMEAT = 74,
    P9_TUNLINKAT = 76,
    P9_TVERSION = 100,
    P9_TATTACH = 104,
    P9_TFLUSH = 108,
    P9_TWALK = 110,
    P9_TREAD = 116,
    P9_TWRITE = 118,
    P9_TCLUNK = 120,
    P9_TREMOVE = 122,
};
#define P9_HEADER 7 // size, type, tag
#define P9_NOTAG 0xffffu
#define P9_NOFID 0xffffffffu
#define P9_NONUNAME 0xffffffffu
#define P9_WALK_MAX 16
#define P9_READ_OVERHEAD 11  // Rread: header and count
#define P9_WRITE_OVERHEAD 23 // Twrite: header, fid, offset, count
#define P9_WRITE_REPLY 16    // Rwrite or Rlerror, and some room
#define P9_VERSION "9P2000.L"

#define P9_QID_DIRECTORY 0x80
#define P9_QID_SYMLINK 0x02
#define P9_QID_FILE 0x00
struct p9_qid {
    uint8_t type;
    uint32_t version;
    uint64_t path;
};
#define P9_QID_SIZE 13

#define P9_GETATTR_BASIC 0x7ffull
struct p9_attr {
    uint64_t valid;
    struct p9_qid qid;
    uint32_t mode, uid, gid;
    uint64_t nlink, rdev, size, blksize, blocks;
    nsec_t atime, mtime, ctime, btime;
};

#define P9_SETATTR_MODE 0x1
#define P9_SETATTR_UID 0x2
#define P9_SETATTR_GID 0x4
#define P9_SETATTR_SIZE 0x8
#define P9_SETATTR_ATIME 0x10
#define P9_SETATTR_MTIME 0x20
#define P9_SETATTR_CTIME 0x40
#define P9_SETATTR_ATIME_SET 0x80
#define P9_SETATTR_MTIME_SET 0x100
struct p9_setattr {
    uint32_t valid, mode, uid, gid;
    uint64_t size;
    nsec_t atime, mtime;
};

struct p9_statfs {
    uint32_t type, bsize;
    uint64_t blocks, bfree, bavail, files, ffree, fsid;
    uint32_t namelen;
};

struct p9_dirent {
    struct p9_qid qid;
    uint64_t offset;  // of the next one
    uint8_t type;     // DT_*
    const char *name; // inside of the buffer, not NUL-terminated
    uint16_t len;
};

#define P9_LOCK_TYPE_RDLCK 0
#define P9_LOCK_TYPE_WRLCK 1
#define P9_LOCK_TYPE_UNLCK 2
#define P9_LOCK_SUCCESS 0
#define P9_LOCK_BLOCKED 1
#define P9_LOCK_ERROR 2
#define P9_LOCK_GRACE 3
#define P9_LOCK_FLAGS_BLOCK 1
struct p9_lock {
    uint8_t type;
    uint32_t flags;
    uint64_t start, length; // length 0: to the end
    uint32_t pid;
};

// A message being written or read.
struct p9_buffer {
    uint8_t *data;
    uint32_t size; // of `data`; of a reply: what of it is there
    uint32_t at;
    bool bad;
};

// --- Writing ---
void p9_begin(struct p9_buffer *b, void *data, uint32_t size, enum p9_type type, uint16_t tag);
void p9_put8(struct p9_buffer *b, uint8_t v);
void p9_put16(struct p9_buffer *b, uint16_t v);
void p9_put32(struct p9_buffer *b, uint32_t v);
void p9_put64(struct p9_buffer *b, uint64_t v);
void p9_put_bytes(struct p9_buffer *b, const void *data, size_t len);
void p9_put_string(struct p9_buffer *b, const char *s, size_t len);
// Writes the size into the header: what was put, and `payload` bytes that follow elsewhere. 0, or -ENAMETOOLONG: it did not fit.
int p9_end(struct p9_buffer *b, uint32_t payload);

// --- Reading ---
uint8_t p9_get8(struct p9_buffer *b); // 0 behind the end, and b->bad
uint16_t p9_get16(struct p9_buffer *b);
uint32_t p9_get32(struct p9_buffer *b);
uint64_t p9_get64(struct p9_buffer *b);
const char *p9_get_string(struct p9_buffer *b, uint16_t *len); // in the buffer; NULL and bad when it is cut
struct p9_qid p9_get_qid(struct p9_buffer *b);
// A reply's header: `received` bytes came, of which `size` lie in data (the rest went to a payload elsewhere); `type`: of the request.
// 0 and b stands behind the header; an error of the server (Rlerror) as -errno; -EPROTO: it lies.
int p9_begin_reply(struct p9_buffer *b, void *data, uint32_t size, uint32_t received, enum p9_type type, uint16_t tag);
// 0, or -EPROTO: fewer bytes than the fields need.
int p9_end_reply(const struct p9_buffer *b);

void p9_get_attr(struct p9_buffer *b, struct p9_attr *a);
void p9_put_setattr(struct p9_buffer *b, const struct p9_setattr *a);
void p9_get_statfs(struct p9_buffer *b, struct p9_statfs *s);
// The entry at b->at of a directory's listing. False: no more, or bad.
bool p9_get_dirent(struct p9_buffer *b, struct p9_dirent *d);
// Linux' error numbers as they are; what is none: -EIO.
int p9_error(uint32_t code);

#endif
