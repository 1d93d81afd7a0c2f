// mount -t 9p TAG DIR -o trans=virtio,version=9p2000.L,msize=N: options, the session, the root. Options as Linux' v9fs has them, and
//     file=NAME   the root is this one file of the exported directory; the last option, as NAME may have commas
// Whatever cache= says, reads and writes go to the server and only mappings are kept in memory: see docs/volumes.md.
#include "fs/9p/internal.h"

#include "fs/seqbuf.h"
#include "kernel/log.h"
#include "kernel/string.h"

#define V9FS_MAGIC 0x01021997

struct p9_fid *p9_user_root(struct p9_mount *m, uint32_t uid) {
    struct p9_user *u;
    struct p9_fid *root = NULL;
    mutex_lock(&m->users_lock);
    list_for_each (u, &m->users, link) {
        if (u->uid == uid) {
            root = p9_fid_ref(u->root);
            break;
        }
    }
    if (!root) {
        u = kmalloc(sizeof(*u));
        root = u ? p9_attach(m->client, uid, m->options.uname ? m->options.uname : "",
                             m->options.aname ? m->options.aname : "")
                 : ERR_PTR(-ENOMEM);
        if (IS_ERR(root)) {
            kfree(u);
        } else {
            *u = (struct p9_user){.uid = uid, .root = p9_fid_ref(root)};
            list_push_back(&m->users, &u->link);
        }
    }
    mutex_unlock(&m->users_lock);
    return root;
}

// --- Options ---

static bool set_string(char **to, const char *value, size_t len) {
    char *s = kmalloc(len + 1);
    if (!s)
        return false;
    memcpy(s, value, len);
    s[len] = '\0';
    kfree(*to);
    *to = s;
    return true;
}

static bool equals(const char *s, size_t len, const char *word) {
    return strlen(word) == len && memcmp(s, word, len) == 0;
}

static int parse_number(const char *s, size_t len, uint64_t *value) {
    char copy[24];
    if (len >= sizeof(copy))
        return -EINVAL;
    memcpy(copy, s, len);
    copy[len] = '\0';
    return str_to_u64(copy, value) ? 0 : -EINVAL;
}

static int parse_option(struct p9_options *o, const char *s, size_t len) {
    const char *equal = memchr(s, '=', len);
    size_t name = equal ? (size_t)(equal - s) : len, size = equal ? len - name - 1 : 0;
    const char *value = equal ? equal + 1 : s + len;
    uint64_t number;
    if (equals(s, name, "msize")) {
        int err = parse_number(value, size, &number);
        if (err < 0 || number < P9_MSIZE_MIN)
            return -EINVAL;
        o->msize = (uint32_t)MIN(number, (uint64_t)P9_MSIZE_MAX);
    } else if (equals(s, name, "trans")) {
        return equals(value, size, "virtio") ? 0 : -EINVAL;
    } else if (equals(s, name, "version")) {
        return equals(value, size, "9p2000.L") ? 0 : -EINVAL;
    } else if (equals(s, name, "access")) {
        // A number: only this user may; the permissions of the files say so, too.
        if (!equals(value, size, "user") && !equals(value, size, "any") && !equals(value, size, "client") &&
            parse_number(value, size, &number) < 0)
            return -EINVAL;
    } else if (equals(s, name, "dfltuid")) {
        if (parse_number(value, size, &number) < 0)
            return -EINVAL;
        o->uid = (uint32_t)number;
    } else if (equals(s, name, "uname")) {
        return set_string(&o->uname, value, size) ? 0 : -ENOMEM;
    } else if (equals(s, name, "aname")) {
        return set_string(&o->aname, value, size) ? 0 : -ENOMEM;
    } else if (equals(s, name, "file")) {
        if (size == 0 || size > NAME_MAX || memchr(value, '/', size) || equals(value, size, ".") ||
            equals(value, size, ".."))
            return -EINVAL;
        return set_string(&o->file, value, size) ? 0 : -ENOMEM;
    } // cache, dfltgid, debug, nodevmap, posixacl, ...: accepted, as what they choose is not there to choose
    return 0;
}

static int parse_options(struct p9_options *o, const char *text) {
    for (const char *s = text; s && *s;) {
        const char *end = strncmp(s, "file=", 5) == 0 ? NULL : strchr(s, ',');
        size_t len = end ? (size_t)(end - s) : strlen(s);
        int err = len ? parse_option(o, s, len) : 0;
        if (err < 0)
            return err;
        s = end ? end + 1 : NULL;
    }
    return 0;
}

// --- The superblock ---

static void p9_statistics(struct superblock *sb, struct fs_statistics *st) {
    struct p9_statfs s = {.bsize = PAGE_SIZE, .namelen = NAME_MAX};
    struct p9_fid *fid = p9_inode_fid(sb->root->inode);
    if (!IS_ERR(fid)) {
        int err = p9_statfs(fid, &s);
        p9_fid_put(fid);
        if (err < 0)
            s = (struct p9_statfs){.bsize = PAGE_SIZE, .namelen = NAME_MAX};
    }
    *st = (struct fs_statistics){.magic = V9FS_MAGIC,
                                 .block_size = s.bsize,
                                 .blocks = s.blocks,
                                 .blocks_free = s.bavail,
                                 .files = s.files,
                                 .files_free = s.ffree,
                                 .name_max = s.namelen};
}

// The page cache has been written by the caller; 9P has no message for the rest of the server's.
static int p9_sync(struct superblock *sb) { return p9_mount_of(sb)->client->broken ? -EIO : 0; }

static void p9_show_options(struct superblock *sb, struct seqbuf *s) {
    const struct p9_mount *m = p9_mount_of(sb);
    seq_printf(s, ",access=user,trans=virtio,msize=%u", m->client->msize);
    if (m->options.aname)
        seq_printf(s, ",aname=%s", m->options.aname);
    if (m->options.file)
        seq_printf(s, ",file=%s", m->options.file);
}

static void free_mount(struct p9_mount *m) {
    while (!list_empty(&m->users)) {
        struct p9_user *u = list_first(&m->users, struct p9_user, link);
        list_remove(&u->link);
        p9_fid_put(u->root);
        kfree(u);
    }
    if (m->client)
        p9_client_close(m->client);
    kfree(m->options.uname);
    kfree(m->options.aname);
    kfree(m->options.file);
    kfree(m);
}

static void p9_release(struct superblock *sb) {
    inode_table_destroy(sb);
    free_mount(p9_mount_of(sb));
}

const struct superblock_ops p9_sb_ops = {
    .statistics = p9_statistics,
    .revalidate = p9_revalidate,
    .sync = p9_sync,
    .show_options = p9_show_options,
    .release = p9_release,
};

static int open_root(struct p9_mount *m, struct superblock *sb) {
    struct p9_fid *at = p9_user_root(m, m->options.uid), *fid;
    if (IS_ERR(at))
        return (int)PTR_ERR(at);
    struct p9_name name = {m->options.file, m->options.file ? strlen(m->options.file) : 0};
    fid = p9_walk(at, &name, m->options.file ? 1 : 0);
    p9_fid_put(at);
    if (IS_ERR(fid))
        return (int)PTR_ERR(fid);
    struct inode *inode;
    int err = p9_inode_get(sb, fid, NULL, &inode);
    if (err < 0) {
        p9_fid_put(fid);
        return err;
    }
    if (m->options.file ? S_ISDIR(inode->mode) : !S_ISDIR(inode->mode))
        err = m->options.file ? -EISDIR : -ENOTDIR;
    else if (!(sb->root = dentry_alloc_root(sb, inode)))
        err = -ENOMEM;
    if (err < 0)
        inode_unref(inode);
    return err;
}

static struct superblock *p9_fs_mount(const struct fs_type *type, const char *source, unsigned long flags,
                                      const char *options) {
    struct p9_mount *m = kzalloc(sizeof(*m));
    if (!m)
        return ERR_PTR(-ENOMEM);
    mutex_init(&m->users_lock);
    list_init(&m->users);
    m->options.msize = P9_MSIZE;
    int err = parse_options(&m->options, options);
    struct p9_transport *tr = err < 0 ? ERR_PTR(err) : !source ? ERR_PTR(-EINVAL) : p9_transport_take(source);
    struct p9_client *c = IS_ERR(tr) ? (void *)tr : p9_client_open(tr, m->options.msize);
    if (IS_ERR(c)) {
        free_mount(m);
        return (void *)c;
    }
    m->client = c;
    struct superblock *sb = superblock_alloc(&p9_sb_ops, type, SB_REVALIDATE);
    if (!sb) {
        free_mount(m);
        return ERR_PTR(-ENOMEM);
    }
    m->sb = sb;
    sb->data = m;
    err = inode_table_create(sb);
    if (err == 0)
        err = open_root(m, sb);
    if (err < 0) {
        superblock_unref(sb);
        return ERR_PTR(err);
    }
    return sb;
}

const struct fs_type p9_type = {.name = "9p", .nodev = true, .mount = p9_fs_mount};
