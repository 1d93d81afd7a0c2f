// The initrd: newc cpio archives, one after another, unpacked into the root. Nothing in them is trusted: every length is
// checked against what is there, names cannot leave the root, and the first thing that is wrong ends the boot with its reason in
// the log. Data on page boundaries is taken over page by page without a copy; what nobody took is given to the page allocator.
// Runs in the boot, before there is a second user of the tree: no locks. The configuration, and an image that lies behind the archives,
// are looked for before there is a root.
#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/string.h"

#define HEADER 110
#define NAME_LIMIT 16384 // with the NULs that align the data
#define CONFIG ".knarr/config"

struct member {
    uint32_t ino, mode, uid, gid, nlink, mtime, size, dev_major, dev_minor, rdev_major, rdev_minor;
    const char *name; // NUL-terminated, inside the initrd
    size_t name_len;
    uint64_t data; // offset in the initrd
};

// A file with several links that has been seen.
struct link_entry {
    struct link_entry *next;
    uint32_t ino, dev_major, dev_minor;
    struct inode *inode; // referenced
};
#define LINK_BUCKETS 64

struct unpacker {
    phys_t start;
    const char *base;
    uint64_t size, at; // `at`: the next byte to look at
    phys_t free_from;  // what lies before was taken over or given back
    struct link_entry *links[LINK_BUCKETS];
    // The directory of the last member, which is most often the next one's, too.
    struct dentry *dir;
    size_t dir_len;
    char dir_name[PATH_MAX];
};

static int bad(const struct unpacker *u, const char *what, const char *name) {
    log_err("bad initrd: %s at offset %lu%s%.200s", what, (unsigned long)u->at, name ? ", member " : "",
            name ? name : "");
    return -EINVAL;
}

// --- Parsing ---

struct word {
    uint64_t value;
} __attribute__((packed, may_alias)); // at any address

// NULs may lie between members, up to a page of them so that the next one's data begins a page.
static uint64_t skip_nuls(const char *base, uint64_t at, uint64_t size) {
    for (; at + 8 <= size; at += 8) {
        uint64_t word = ((const struct word *)(base + at))->value;
        if (word)
            return at + (unsigned)__builtin_ctzl(word) / 8;
    }
    while (at < size && base[at] == 0)
        at++;
    return at;
}

// Eight hexadecimal digits, all at once: each byte becomes its nibble, and what the nibbles would be written as is compared.
static bool parse_hex(const char *text, uint32_t *value) {
    const uint64_t each = 0x0101010101010101ul, s = ((const struct word *)text)->value;
    if (s == each * '0') { // most are
        *value = 0;
        return true;
    }
    uint64_t d = (s & each * 0x0f) + 9 * (s >> 6 & each);                    // letters have bit 6
    uint64_t written = d + each * '0' + 39 * ((d + each * 118) >> 7 & each); // 39: from ':' to 'a'
    if (written != (s | each * 0x20) || ((s | s << 1) & each * 0x40) != each * 0x40 || (d & each * 0xf0))
        return false;
    d = __builtin_bswap64(d);
    d = (d | d >> 4) & 0x00ff00ff00ff00fful;
    d = (d | d >> 8) & 0x0000ffff0000fffful;
    *value = (uint32_t)(d | d >> 16);
    return true;
}

static int parse_header(struct unpacker *u, struct member *m) {
    uint32_t field[13];
    const char *h = u->base + u->at;
    if (u->size - u->at < HEADER)
        return bad(u, "truncated header", NULL);
    if (memcmp(h, "070701", 6) != 0 && memcmp(h, "070702", 6) != 0)
        return bad(u,
                   (uint8_t)h[0] == 0x1f && (uint8_t)h[1] == 0x8b ? "compressed archives are not supported"
                                                                  : "not a newc cpio archive",
                   NULL);
    for (int i = 0; i < 13; i++)
        if (!parse_hex(h + 6 + 8 * i, &field[i]))
            return bad(u, "a number in the header is not hexadecimal", NULL);
    *m = (struct member){.ino = field[0],
                         .mode = field[1],
                         .uid = field[2],
                         .gid = field[3],
                         .nlink = field[4],
                         .mtime = field[5],
                         .size = field[6],
                         .dev_major = field[7],
                         .dev_minor = field[8],
                         .rdev_major = field[9],
                         .rdev_minor = field[10]};
    uint64_t name_size = field[11], name_at = u->at + HEADER;
    if (name_size == 0 || name_size > NAME_LIMIT || name_size > u->size - name_at)
        return bad(u, "the name's length is wrong", NULL);
    m->name = u->base + name_at;
    m->name_len = strnlen(m->name, name_size);
    if (m->name_len == name_size)
        return bad(u, "the name has no end", NULL);
    if (m->name_len >= PATH_MAX)
        return bad(u, "the name is too long", NULL);
    m->data = ALIGN_UP(name_at + name_size, 4);
    if (m->data > u->size || m->size > u->size - m->data)
        return bad(u, "data beyond the end", m->name);
    return 0;
}

// --- Names ---

// Makes name[0..*len) a clean relative path: no slashes or "./" in front, no slash at the end. False: there is a ".." in it.
static bool clean_name(const char **name, size_t *len) {
    const char *s = *name, *end = s + *len;
    while (s < end && (*s == '/' || (*s == '.' && (s + 1 == end || s[1] == '/'))))
        s++;
    while (end > s && end[-1] == '/')
        end--;
    *name = s;
    *len = end - s;
    for (const char *c = s; c < end;) {
        const char *slash = memchr(c, '/', end - c);
        size_t n = (slash ? slash : end) - c;
        if (n == 2 && c[0] == '.' && c[1] == '.')
            return false;
        c += n + 1;
    }
    return true;
}

// The directory of that name, made when it is missing. References go to u->dir.
static int enter_directory(struct unpacker *u, const char *name, size_t len) {
    if (u->dir && len == u->dir_len && memcmp(name, u->dir_name, len) == 0)
        return 0;
    if (u->dir)
        dentry_unref(u->dir);
    u->dir = NULL;
    memcpy(u->dir_name, name, len);
    u->dir_name[len] = 0;
    u->dir_len = len;
    if (len == 0) {
        u->dir = dentry_ref(mount_root()->root);
        return 0;
    }
    struct path p;
    int err = path_lookup(AT_FDCWD, u->dir_name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &p);
    for (size_t i = 1; err == -ENOENT && i <= len; i++) {
        // Parents that the archive does not have as members.
        if (i < len && u->dir_name[i] != '/')
            continue;
        char c = u->dir_name[i];
        u->dir_name[i] = 0;
        int made = vfs_mkdir(AT_FDCWD, u->dir_name, 0755);
        u->dir_name[i] = c;
        if (made < 0 && made != -EEXIST)
            return made;
        if (i == len)
            err = path_lookup(AT_FDCWD, u->dir_name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &p);
    }
    if (err < 0)
        return err;
    u->dir = dentry_ref(p.dentry);
    path_unref(&p);
    return 0;
}

// --- Contents ---

// Gives the allocator what lies between the last taken piece and `to`, all of which has been read.
static void free_up_to(struct unpacker *u, phys_t to) {
    phys_t from = ALIGN_UP(u->free_from, PAGE_SIZE);
    to = ALIGN_DOWN(to, PAGE_SIZE);
    if (from < to)
        page_free_range(from, to);
}

static int fill_file(struct unpacker *u, struct inode *inode, const struct member *m) {
    phys_t data = u->start + m->data;
    uint64_t pages = m->size >> PAGE_SHIFT, copied = 0;
    if (IS_ALIGNED(data, PAGE_SIZE) && pages) {
        for (uint64_t i = 0; i < pages; i++) {
            struct page *p = page_adopt(data + (i << PAGE_SHIFT));
            int err = tmpfs_add_page(inode, i, p);
            if (err < 0) {
                page_unref(p);
                return -ENOMEM;
            }
        }
        free_up_to(u, data);
        u->free_from = data + (pages << PAGE_SHIFT);
        copied = pages << PAGE_SHIFT;
    }
    while (copied < m->size) {
        size_t n = MIN(PAGE_SIZE, m->size - copied);
        struct page *p = page_alloc(0, n < PAGE_SIZE ? PA_ZERO : 0);
        if (!p)
            return -ENOMEM;
        memcpy(page_to_virt(p), u->base + m->data + copied, n);
        if (tmpfs_add_page(inode, copied >> PAGE_SHIFT, p) < 0) {
            page_unref(p);
            return -ENOMEM;
        }
        copied += n;
    }
    inode->size = m->size;
    return 0;
}

static struct link_entry **find_link(struct unpacker *u, const struct member *m) {
    struct link_entry **at = &u->links[(m->ino ^ m->dev_minor) % LINK_BUCKETS];
    while (*at && ((*at)->ino != m->ino || (*at)->dev_major != m->dev_major || (*at)->dev_minor != m->dev_minor))
        at = &(*at)->next;
    return at;
}

static void forget_links(struct unpacker *u) {
    for (unsigned i = 0; i < LINK_BUCKETS; i++) {
        for (struct link_entry *l = u->links[i], *next; l; l = next) {
            next = l->next;
            inode_unref(l->inode);
            kfree(l);
        }
        u->links[i] = NULL;
    }
}

// --- Members ---

static void set_attributes(struct inode *inode, const struct member *m) {
    const struct attributes all = {.valid = 0};
    if (inode->ops->set_attributes) // a directory of the image
        (void)inode->ops->set_attributes(inode, &all);
    inode->mode = (inode->mode & S_IFMT) | (m->mode & 07777);
    inode->uid = m->uid;
    inode->gid = m->gid;
    inode->atime = inode->mtime = m->mtime * NSEC_PER_SEC;
}

// Takes an older member of the same name away, unless both are directories. Returns that directory, NULL, or an error.
static struct dentry *replace_existing(struct unpacker *u, const struct member *m, const char *name, size_t len) {
    struct dentry *old;
    int err;
    if (u->dir->flags & DENTRY_LAZY) { // a node in /dev: no reason to make all the others
        old = dentry_find(u->dir, name, len, name_hash(name, len));
        err = old ? 0 : -ENOENT;
    } else {
        err = dentry_lookup(u->dir, name, len, name_hash(name, len), false, &old);
    }
    if (err < 0)
        return err == -ENOENT ? NULL : ERR_PTR(err);
    if (S_ISDIR(m->mode) && S_ISDIR(old->inode->mode))
        return old;
    if (old->flags & DENTRY_MOUNTED)
        err = bad(u, "a file in the place of a mount", m->name);
    else if (tmpfs_remove(old) < 0)
        err = bad(u, "a file in the place of a directory that is not empty", m->name);
    else
        err = 0;
    dentry_unref(old);
    return err ? ERR_PTR(err) : NULL;
}

static struct dentry *make_member(struct unpacker *u, const struct member *m, const char *name, size_t len) {
    if (S_ISLNK(m->mode)) {
        char *target = name_buffer_get();
        if (!target)
            return ERR_PTR(-ENOMEM);
        struct dentry *d;
        if (m->size == 0 || m->size >= PATH_MAX || memchr(u->base + m->data, 0, m->size)) {
            d = ERR_PTR(bad(u, "a symbolic link without a usable target", m->name));
        } else {
            memcpy(target, u->base + m->data, m->size);
            target[m->size] = 0;
            d = tmpfs_make(u->dir, name, len, S_IFLNK | 0777, 0, target);
        }
        name_buffer_put(target);
        return d;
    }
    if (S_ISREG(m->mode) && m->nlink > 1) {
        struct link_entry **slot = find_link(u, m), *l = *slot;
        if (l)
            return tmpfs_make_link(u->dir, name, len, l->inode);
        l = kzalloc(sizeof(*l));
        if (!l)
            return ERR_PTR(-ENOMEM);
        struct dentry *d = tmpfs_make(u->dir, name, len, S_IFREG | 0600, 0, NULL);
        if (IS_ERR(d)) {
            kfree(l);
            return d;
        }
        *l = (struct link_entry){*slot, m->ino, m->dev_major, m->dev_minor, inode_ref(d->inode)};
        *slot = l;
        return d;
    }
    uint64_t rdev = S_ISCHR(m->mode) || S_ISBLK(m->mode) ? MAKE_DEV(m->rdev_major, m->rdev_minor) : 0;
    return tmpfs_make(u->dir, name, len, m->mode & (S_IFMT | 07777), rdev, NULL);
}

static bool known_type(uint32_t mode) {
    return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISCHR(mode) || S_ISBLK(mode) || S_ISFIFO(mode) ||
           S_ISSOCK(mode);
}

static int unpack_member(struct unpacker *u, const struct member *m) {
    const char *name = m->name;
    size_t len = m->name_len;
    if (!clean_name(&name, &len))
        return bad(u, "a name with \"..\"", m->name);
    if (!known_type(m->mode))
        return bad(u, "an unknown type of file", m->name);
    if (len == 0) { // the root itself
        if (S_ISDIR(m->mode))
            set_attributes(mount_root()->root->inode, m);
        return 0;
    }
    if (len >= 6 && memcmp(name, ".knarr", 6) == 0 && (len == 6 || name[6] == '/'))
        return 0;

    size_t dir_len = len;
    while (dir_len > 0 && name[dir_len - 1] != '/')
        dir_len--;
    const char *last = name + dir_len;
    size_t last_len = len - dir_len;
    while (dir_len > 0 && name[dir_len - 1] == '/')
        dir_len--;
    if (last_len > NAME_MAX)
        return bad(u, "a component of the name is too long", m->name);
    if (last_len == 1 && *last == '.')
        return 0;
    int err = enter_directory(u, name, dir_len);
    if (err < 0)
        return err == -ENOMEM || err == -ENOSPC ? -ENOMEM : bad(u, "the name's directory cannot be used", m->name);
    if (!tmpfs_owns(u->dir->inode)) {
        log_debug("initrd: %s lies in a file system of its own and is left out", m->name);
        return 0;
    }
    struct dentry *d = replace_existing(u, m, last, last_len);
    if (!d)
        d = make_member(u, m, last, last_len);
    if (IS_ERR(d))
        return PTR_ERR(d) == -ENOSPC ? -ENOMEM : PTR_ERR(d);
    err = 0;
    if (S_ISREG(m->mode) && m->size > 0 && d->inode->size == 0)
        err = fill_file(u, d->inode, m);
    set_attributes(d->inode, m);
    dentry_unref(d);
    return err;
}

static int unpack(struct unpacker *u) {
    while (u->at < u->size) {
        u->at = skip_nuls(u->base, u->at, u->size);
        if (u->at == u->size)
            break;
        if (!IS_ALIGNED(u->at, 4))
            return bad(u, "a header that is not aligned", NULL);
        struct member m;
        int err = parse_header(u, &m);
        if (err < 0)
            return err;
        if (m.name_len == 10 && memcmp(m.name, "TRAILER!!!", 10) == 0)
            forget_links(u);
        else if ((err = unpack_member(u, &m)) < 0)
            return err;
        u->at = MIN(ALIGN_UP(m.data + m.size, 4), u->size);
    }
    return 0;
}

int initrd_unpack(phys_t start, phys_t end) {
    if (start >= end)
        return 0;
    struct unpacker *u = kzalloc(sizeof(*u));
    if (!u)
        return -ENOMEM;
    u->start = u->free_from = start;
    u->base = phys_to_virt(start);
    u->size = end - start;
    int err = unpack(u);
    if (err == -ENOMEM)
        log_err("no memory to unpack the initrd of %lu bytes", (unsigned long)u->size);
    forget_links(u);
    if (u->dir)
        dentry_unref(u->dir);
    if (err == 0)
        free_up_to(u, end);
    kfree(u);
    return err;
}

// --- Before anything is unpacked ---

// The next member from *at on, as far as it is one: name, size and data. *at: behind it. What is wrong with it unpack() will say.
static bool next_member(const char *base, uint64_t size, uint64_t *at, struct member *m) {
    uint32_t name_size;
    *at = skip_nuls(base, *at, size);
    const char *h = base + *at;
    if (size - *at < HEADER || memcmp(h, "07070", 5) != 0 || !parse_hex(h + 54, &m->size) ||
        !parse_hex(h + 94, &name_size))
        return false;
    if (name_size == 0 || name_size > NAME_LIMIT || name_size > size - *at - HEADER)
        return false;
    m->name = h + HEADER;
    m->name_len = strnlen(m->name, name_size);
    m->data = ALIGN_UP(*at + HEADER + name_size, 4);
    if (m->name_len == name_size || m->data > size || m->size > size - m->data)
        return false;
    *at = MIN(ALIGN_UP(m->data + m->size, 4), size);
    return true;
}

static bool is_named(const struct member *m, const char *name) {
    return m->name_len == strlen(name) && memcmp(m->name, name, m->name_len) == 0;
}

void initrd_find_config(phys_t start, phys_t end, struct initrd_config *config) {
    const char *base = phys_to_virt(start);
    struct member m;
    for (uint64_t at = 0; start < end && next_member(base, end - start, &at, &m);) {
        if (is_named(&m, CONFIG)) {
            *config = (struct initrd_config){base + m.data, m.size};
            return;
        }
    }
}

#define EROFS_MAGIC 0xe0f5e1e2u
#define EROFS_MAGIC_AT 1024

phys_t initrd_find_image(phys_t start, phys_t end) {
    const char *base = phys_to_virt(start);
    uint64_t size = end - start, at = 0;
    struct member m;
    while (start < end && next_member(base, size, &at, &m)) {
        uint64_t image = ALIGN_UP(start + at, PAGE_SIZE) - start;
        uint32_t magic;
        if (!is_named(&m, "TRAILER!!!") || image > size || size - image < EROFS_MAGIC_AT + sizeof(magic))
            continue;
        memcpy(&magic, base + image + EROFS_MAGIC_AT, sizeof(magic));
        if (magic == EROFS_MAGIC)
            return start + image;
    }
    return 0;
}
