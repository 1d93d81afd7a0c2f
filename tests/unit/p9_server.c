/* See p9_server.h. */
#include "tests/unit/p9_server.h"

#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "tests/unit/fs_fakes.h"

struct p9_server p9_server;
bool p9_kill_sleeper;

#define SERVER_FIDS 512
static struct {
    bool used, open, xattr;
    int node;
    uint32_t written; /* of an attribute that is being made */
} fids[SERVER_FIDS];

static struct list waiting = LIST_INIT(waiting);
static struct p9_transport transport;

/* --- The tree --- */

int p9_server_add(int parent, const char *name, uint32_t mode, const void *data, uint32_t size) {
    for (int i = 0; i < SERVER_NODES; i++) {
        struct server_node *n = &p9_server.nodes[i];
        if (n->used)
            continue;
        uint8_t *room = n->data ? n->data : __builtin_calloc(1, SERVER_FILE_MAX);
        memset(room, 0, n->high);
        *n = (struct server_node){.used = true, .mode = mode, .parent = parent, .nlink = 1, .mtime = 1000 + (uint64_t)i, .data = room, .size = size, .high = size};
        memcpy(room, data ? data : "", size);
        str_copy(n->name, name, sizeof(n->name));
        return i;
    }
    return -1;
}

int p9_server_find(int parent, const char *name) {
    for (int i = 1; i < SERVER_NODES; i++)
        if (p9_server.nodes[i].used && p9_server.nodes[i].parent == parent && strcmp(p9_server.nodes[i].name, name) == 0)
            return i;
    return -1;
}

void p9_server_remove(int node) { p9_server.nodes[node].used = false; }

/* --- Messages: numbers at fixed places, as this server reads and writes them --- */

struct message {
    uint8_t bytes[600 * 1024];
    uint32_t at, size;
};
static struct message in, out;

static uint64_t take(unsigned n) {
    uint64_t v = 0;
    ASSERT(in.at + n <= in.size); /* the client's messages are whole */
    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)in.bytes[in.at++] << 8 * i;
    return v;
}

static const char *take_name(char *buf) {
    unsigned n = (unsigned)take(2);
    ASSERT(in.at + n <= in.size && n < 5000);
    memcpy(buf, in.bytes + in.at, n);
    buf[n] = 0;
    in.at += n;
    return buf;
}

static void give(uint64_t v, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        out.bytes[out.size++] = (uint8_t)(v >> 8 * i);
}

static void give_qid(int node) {
    const struct server_node *n = &p9_server.nodes[node];
    give(S_ISDIR(n->mode) ? P9_QID_DIRECTORY : S_ISLNK(n->mode) ? P9_QID_SYMLINK : 0, 1);
    give(n->mtime, 4);
    give((uint64_t)node + 100, 8);
}

static int node_of(uint64_t fid) {
    ASSERT(fid < SERVER_FIDS && (fids[fid].used || p9_server.lie || p9_server.fuzz)); /* the client knows which it has */
    return fids[fid].node;
}

static void make_fid(uint64_t fid, int node) {
    /* The client reuses a number only when it was told that it is free, which may have been a lie. */
    ASSERT(fid < SERVER_FIDS && (!fids[fid].used || p9_server.lie || p9_server.fuzz));
    p9_server.fids -= fids[fid].used;
    fids[fid].used = true;
    fids[fid].open = fids[fid].xattr = false;
    fids[fid].node = node;
    p9_server.fids++;
}

static int walk(void) {
    static char name[5000];
    uint64_t from = take(4), to = take(4);
    unsigned count = (unsigned)take(2), done = 0;
    int node = node_of(from);
    ASSERT((!fids[from].open || p9_server.fuzz) && count <= P9_WALK_MAX);
    uint32_t count_at = out.size;
    give(0, 2);
    for (; done < count; done++) {
        take_name(name);
        int next = p9_server.nodes[node].used ? p9_server_find(node, name) : -1;
        if (next < 0)
            break;
        give_qid(next);
        node = next;
    }
    if (count && !done)
        return ENOENT;
    out.bytes[count_at] = (uint8_t)done;
    if (done == count)
        make_fid(to, node);
    return 0;
}

static int create(uint32_t type) {
    static char name[5000];
    uint64_t fid = take(4);
    int dir = node_of(fid);
    take_name(name);
    if (p9_server_find(dir, name) >= 0)
        return EEXIST;
    int node = p9_server_add(dir, name, type, NULL, 0);
    if (node < 0)
        return ENOSPC;
    struct server_node *n = &p9_server.nodes[node];
    if (S_ISLNK(type)) {
        static char target[5000];
        take_name(target);
        n->size = n->high = (uint32_t)strlen(target);
        memcpy(n->data, target, n->size);
        n->mode |= 0777;
    } else if (S_ISREG(type)) {
        take(4); /* flags */
        n->mode |= (uint32_t)take(4) & 07777;
        fids[fid].node = node;
        fids[fid].open = true;
    } else if (S_ISDIR(type)) {
        n->mode |= (uint32_t)take(4) & 07777;
    } else {
        n->mode = (uint32_t)take(4);
        take(8);
    }
    n->gid = (uint32_t)take(4);
    give_qid(node);
    if (S_ISREG(type))
        give(0, 4);
    return 0;
}

static void getattr(void) {
    int node = node_of(take(4));
    const struct server_node *n = &p9_server.nodes[node];
    give(P9_GETATTR_BASIC, 8);
    give_qid(node);
    give(n->mode, 4);
    give(n->uid, 4);
    give(n->gid, 4);
    give(n->nlink, 8);
    give(0, 8);
    give(n->size, 8);
    give(4096, 8);
    give((n->size + 511) / 512, 8);
    for (int i = 0; i < 3; i++) {
        give(n->mtime, 8);
        give(5, 8);
    }
    for (int i = 0; i < 4; i++)
        give(0, 8);
}

static void setattr(void) {
    struct server_node *n = &p9_server.nodes[node_of(take(4))];
    uint64_t valid = take(4), mode = take(4), uid = take(4), gid = take(4), size = take(8);
    if (valid & 1) {
        ASSERT((mode & S_IFMT) == (n->mode & S_IFMT) || p9_server.fuzz);
        n->mode = (n->mode & S_IFMT) | ((uint32_t)mode & 07777);
    }
    if (valid & 2)
        n->uid = (uint32_t)uid;
    if (valid & 4)
        n->gid = (uint32_t)gid;
    if (valid & 8) {
        if (size < n->size)
            memset(n->data + size, 0, n->size - size);
        n->size = (uint32_t)MIN(size, SERVER_FILE_MAX);
    }
    n->mtime++;
}

static void data_out(uint64_t count, const uint8_t *data) {
    give(count, 4);
    memcpy(out.bytes + out.size, data, count);
    out.size += (uint32_t)count;
}

static int read_file(void) {
    uint64_t fid = take(4), offset = take(8), count = take(4);
    const struct server_node *n = &p9_server.nodes[node_of(fid)];
    ASSERT(fids[fid].open || fids[fid].xattr || p9_server.fuzz);
    if (fids[fid].xattr)
        data_out(offset < 5 ? MIN(count, 5 - offset) : 0, (const uint8_t *)"value" + MIN(offset, 5ul));
    else
        data_out(offset < n->size ? MIN(count, n->size - offset) : 0, n->data + MIN(offset, (uint64_t)n->size));
    return 0;
}

static int write_file(void) {
    uint64_t fid = take(4), offset = take(8), count = take(4);
    struct server_node *n = &p9_server.nodes[node_of(fid)];
    ASSERT(count == in.size - in.at);
    if (fids[fid].xattr) {
        fids[fid].written += (uint32_t)count;
    } else {
        ASSERT(fids[fid].open || p9_server.fuzz);
        if (offset > SERVER_FILE_MAX || offset + count > SERVER_FILE_MAX)
            return ENOSPC;
        memcpy(n->data + offset, in.bytes + in.at, count);
        n->size = (uint32_t)MAX(n->size, offset + count);
        n->high = MAX(n->high, n->size);
        n->mtime++;
    }
    give(count, 4);
    return 0;
}

static int read_directory(void) {
    uint64_t fid = take(4), offset = take(8), count = take(4);
    int dir = node_of(fid);
    ASSERT(fids[fid].open || p9_server.fuzz);
    uint32_t start = out.size;
    give(0, 4);
    for (uint64_t i = offset; i < SERVER_NODES; i++) {
        const struct server_node *n = &p9_server.nodes[i];
        if (!n->used || n->parent != dir || i == 0)
            continue;
        uint32_t len = (uint32_t)strlen(n->name);
        if (out.size - start - 4 + 24 + len > count)
            break;
        give_qid((int)i);
        give(i + 1, 8);
        give(n->mode >> 12, 1);
        give(len, 2);
        memcpy(out.bytes + out.size, n->name, len);
        out.size += len;
    }
    uint32_t bytes = out.size - start - 4;
    memcpy(out.bytes + start, &bytes, 4);
    return 0;
}

static int unlink_name(void) {
    static char name[5000];
    int dir = node_of(take(4)), node = p9_server_find(dir, take_name(name));
    bool directory = take(4) & 0x200;
    if (node < 0)
        return ENOENT;
    if (S_ISDIR(p9_server.nodes[node].mode) != directory)
        return directory ? ENOTDIR : EISDIR;
    for (int i = 0; i < SERVER_NODES; i++)
        if (p9_server.nodes[i].used && p9_server.nodes[i].parent == node)
            return ENOTEMPTY;
    p9_server.nodes[node].used = false;
    p9_server.nodes[node].nlink = 0;
    return 0;
}

static int rename_name(void) {
    static char old[5000], new[5000];
    int from = node_of(take(4));
    take_name(old);
    int to = node_of(take(4));
    take_name(new);
    int node = p9_server_find(from, old), there = p9_server_find(to, new);
    if (node < 0)
        return ENOENT;
    if (there >= 0)
        p9_server.nodes[there].used = false;
    p9_server.nodes[node].parent = to;
    str_copy(p9_server.nodes[node].name, new, sizeof(p9_server.nodes[node].name));
    return 0;
}

static void clunk(void) {
    uint64_t fid = take(4);
    node_of(fid);
    p9_server.fids -= fids[fid].used;
    fids[fid].used = false;
}

static int answer(uint8_t type) {
    static char name[5000];
    uint64_t fid;
    switch (type) {
    case P9_TVERSION: {
        uint64_t msize = take(4);
        give(p9_server.msize_limit ? MIN(msize, p9_server.msize_limit) : msize, 4);
        give(8, 2);
        memcpy(out.bytes + out.size, "9P2000.L", 8);
        out.size += 8;
        memset(fids, 0, sizeof(fids));
        p9_server.fids = 0;
        return 0;
    }
    case P9_TATTACH:
        make_fid(take(4), 0);
        give_qid(0);
        return 0;
    case P9_TWALK: return walk();
    case P9_TLOPEN:
        fid = take(4);
        fids[fid].open = true;
        give_qid(node_of(fid));
        give(0, 4);
        return 0;
    case P9_TLCREATE: return create(S_IFREG);
    case P9_TMKDIR: return create(S_IFDIR);
    case P9_TSYMLINK: return create(S_IFLNK);
    case P9_TMKNOD: return create(S_IFIFO);
    case P9_TGETATTR: getattr(); return 0;
    case P9_TSETATTR: setattr(); return 0;
    case P9_TREAD: return read_file();
    case P9_TWRITE: return write_file();
    case P9_TREADDIR: return read_directory();
    case P9_TUNLINKAT: return unlink_name();
    case P9_TRENAMEAT: return rename_name();
    case P9_TCLUNK: clunk(); return 0;
    case P9_TSTATFS:
        node_of(take(4));
        give(0x01021997, 4);
        give(4096, 4);
        for (int i = 0; i < 6; i++)
            give(1000, 8);
        give(255, 4);
        return 0;
    case P9_TREADLINK: {
        const struct server_node *n = &p9_server.nodes[node_of(take(4))];
        give(n->size, 2);
        memcpy(out.bytes + out.size, n->data, n->size);
        out.size += n->size;
        return 0;
    }
    case P9_TXATTRWALK: {
        int node = node_of(take(4));
        fid = take(4);
        if (*take_name(name) && strcmp(name, "user.x") != 0)
            return ENODATA;
        make_fid(fid, node);
        fids[fid].xattr = true;
        give(5, 8);
        return 0;
    }
    case P9_TXATTRCREATE:
        fid = take(4);
        node_of(fid);
        fids[fid].xattr = true;
        return 0;
    case P9_TLOCK:
        node_of(take(4));
        give(P9_LOCK_SUCCESS, 1);
        return 0;
    case P9_TGETLOCK:
        node_of(take(4));
        give(P9_LOCK_TYPE_UNLCK, 1);
        give(0, 8);
        give(0, 8);
        give(0, 4);
        give(0, 2);
        return 0;
    case P9_TFSYNC: node_of(take(4)); return 0;
    default: return EOPNOTSUPP;
    }
}

/* --- Lies --- */

static void set_size(void) { memcpy(out.bytes, &out.size, 4); }

static void lie(enum server_lie how) {
    uint32_t v;
    switch (how) {
    case LIE_SHORT:
        out.size = out.size > P9_HEADER + 1 ? P9_HEADER + 1 : P9_HEADER - 1;
        set_size();
        break;
    case LIE_EMPTY: out.size = 0; break;
    case LIE_TAG: out.bytes[5] ^= 0x55; break;
    case LIE_TYPE: out.bytes[4] = 3; break;
    case LIE_SIZE:
        v = out.size + 1;
        memcpy(out.bytes, &v, 4);
        break;
    case LIE_COUNT:
        v = 0x7ffffff0;
        memcpy(out.bytes + P9_HEADER, &v, 4);
        break;
    case LIE_ERROR:
    case LIE_FAIL:
        out.bytes[4] = P9_RLERROR;
        out.size = P9_HEADER;
        give(how == LIE_FAIL ? EACCES : 0xfffffff0, 4);
        set_size();
        break;
    case LIE_GARBAGE: memset(out.bytes + P9_HEADER, 0xff, out.size - P9_HEADER); break;
    default: break;
    }
}

static unsigned fuzz_byte(void) {
    if (!p9_server.fuzz_left)
        return 0;
    p9_server.fuzz_left--;
    return *p9_server.fuzz++;
}

/* Most replies are honest, so that the file system gets anywhere. */
static void fuzz_reply(void) {
    unsigned how = fuzz_byte();
    if (how < 0x80)
        return;
    if (how < 0xc0) { /* some of its bytes */
        for (unsigned n = how & 7, i = 0; i <= n; i++) {
            unsigned at = P9_HEADER + fuzz_byte();
            if (at < out.size)
                out.bytes[at] = (uint8_t)fuzz_byte();
        }
    } else if (how < 0xd0) {
        lie(how % LIES);
    } else if (how < 0xe0) { /* an error */
        out.bytes[4] = P9_RLERROR;
        out.size = P9_HEADER;
        give(fuzz_byte(), 4);
        set_size();
    } else if (how < 0xf0) { /* a word of it */
        unsigned at = P9_HEADER + fuzz_byte() % 64;
        uint32_t v = fuzz_byte() << 24 | fuzz_byte();
        if (at + 4 <= out.size)
            memcpy(out.bytes + at, &v, 4);
    } else {
        out.size = MIN(out.size, fuzz_byte());
    }
}

/* --- The transport --- */

static void finish(struct p9_transfer *t, bool silent) {
    uint8_t type = in.bytes[4];
    list_remove(&t->link);
    p9_server.in_flight--;
    if (silent)
        out.size = 0;
    uint32_t left = out.size, at = 0;
    for (unsigned i = t->out; i < (unsigned)t->out + t->in && left; i++) {
        uint32_t n = MIN(left, t->segments[i].len);
        memcpy(t->segments[i].data, out.bytes + at, n);
        at += n;
        left -= n;
    }
    /* A real device cannot give more than there is room for. */
    ASSERT(!left || p9_server.lie || p9_server.fuzz || type == P9_TCLUNK);
    t->received = out.size - left;
    t->error = 0;
    t->done(t);
}

static void gather(const struct p9_transfer *t) {
    in.size = 0;
    for (unsigned i = 0; i < t->out; i++) {
        memcpy(in.bytes + in.size, t->segments[i].data, t->segments[i].len);
        in.size += t->segments[i].len;
    }
    in.at = 0;
    ASSERT(take(4) == in.size);
    in.at = P9_HEADER;
}

static void begin_reply(uint8_t type) {
    out.size = 0;
    give(0, 4);
    give(type, 1);
    give(in.bytes[5] | in.bytes[6] << 8, 2);
}

static void serve(struct p9_transfer *t) {
    gather(t);
    uint8_t type = in.bytes[4];
    p9_server.requests++;
    p9_server.by_type[type]++;
    begin_reply(type + 1);
    if (type == P9_TFLUSH) {
        uint16_t tag = (uint16_t)take(2);
        struct p9_transfer *other;
        list_for_each (other, &waiting, link) {
            if (((const uint8_t *)other->segments[0].data)[5] != (uint8_t)tag)
                continue;
            if (p9_server.answer_flushed) {
                p9_server.hold_type = 0;
                serve(other);
                gather(t);
                begin_reply(P9_TFLUSH + 1);
            } else {
                finish(other, true);
            }
            break;
        }
        set_size();
    } else {
        int err = answer(type);
        if (err) {
            out.size = P9_HEADER;
            out.bytes[4] = P9_RLERROR;
            give((uint64_t)err, 4);
        }
        set_size();
        bool chosen = p9_server.lie_type ? type == p9_server.lie_type : type != P9_TVERSION && type != P9_TATTACH && type != P9_TCLUNK;
        if (p9_server.lie && chosen)
            lie(p9_server.lie);
        if (p9_server.fuzz)
            fuzz_reply();
    }
    finish(t, false);
}

/* All that waits, the newest first; what is held back stays. */
static void serve_all(void) {
    if (p9_kill_sleeper) {
        p9_kill_sleeper = false;
        thread_current()->work |= WORK_EXIT;
        if (!list_empty(&waiting))
            fake_on_sleep = serve_all;
        return;
    }
    for (bool any = true; any;) {
        struct p9_transfer *t, *found = NULL;
        list_for_each (t, &waiting, link) {
            if (!p9_server.hold_type || ((const uint8_t *)t->segments[0].data)[4] != p9_server.hold_type)
                found = t;
        }
        any = found;
        if (found)
            serve(found);
    }
}

static void submit(struct p9_transport *tr, struct p9_transfer *t) {
    if (p9_server.disabled) {
        t->error = -EIO;
        t->received = 0;
        t->done(t);
        return;
    }
    ASSERT((unsigned)t->out + t->in <= transport.segments_max && t->out && t->in);
    list_push_back(&waiting, &t->link);
    p9_server.in_flight++;
    p9_server.most_in_flight = MAX(p9_server.most_in_flight, p9_server.in_flight);
    if (p9_server.immediately)
        serve(t);
    else
        fake_on_sleep = serve_all;
}

static void disable(struct p9_transport *tr, const char *why) {
    ASSERT(!p9_server.disabled++); /* said once */
    while (!list_empty(&waiting)) {
        struct p9_transfer *t = list_first(&waiting, struct p9_transfer, link);
        list_remove(&t->link);
        p9_server.in_flight--;
        t->error = -EIO;
        t->received = 0;
        t->done(t);
    }
}

static const struct p9_transport_ops ops = {.submit = submit, .disable = disable};

void p9_server_start(void) {
    static struct server_node keep[SERVER_NODES];
    memcpy(keep, p9_server.nodes, sizeof(keep));
    memset(&p9_server, 0, sizeof(p9_server));
    for (int i = 0; i < SERVER_NODES; i++) {
        p9_server.nodes[i].data = keep[i].data;
        p9_server.nodes[i].high = keep[i].high;
    }
    memset(fids, 0, sizeof(fids));
    list_init(&waiting);
    thread_current()->work &= ~WORK_EXIT;
    p9_kill_sleeper = false;
    p9_server_add(-1, "", S_IFDIR | 0755, NULL, 0);
    if (!transport.ops) {
        transport.ops = &ops;
        str_copy(transport.tag, "vol0", sizeof(transport.tag));
        p9_transport_register(&transport);
    }
    transport.segments_max = 64;
}
