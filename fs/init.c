// The first tree of names: the root (an empty tmpfs, an overlay above an image, or the host's directory itself), devtmpfs on /dev, devpts on /dev/pts, procfs on
// /proc, sysfs on /sys, what the configuration has mounted, and the few files of /etc without which a C library finds nobody.
#include "fs/internal.h"
#include "fs/seqbuf.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/uts.h"
#include "net/lwip/config.h"
#include "net/lwip/core.h"
#include <linux/mount.h>

// Is the root not in memory, but the host's directory itself?
static bool writes_through(const struct superblock *sb) { return sb->type == &p9_type; }

static struct dentry *make_on_host(struct dentry *parent, const char *name, uint32_t mode) {
    struct dentry *d = NULL;
    size_t len = strlen(name);
    int err = vfs_mkdir(AT_FDCWD, name, 0755);
    if (!err)
        err = dentry_lookup(parent, name, len, name_hash(name, len), false, &d);
    if (!err && mode != 0755 && (err = vfs_chmod(d->inode, mode)) != 0)
        dentry_unref(d);
    if (err)
        log_err("/%s cannot be made in the host's directory: error %d", name, err);
    return err ? ERR_PTR(err) : d;
}

// A directory in the root of a mount: the image's, or a new one. Referenced. ERR_PTR.
static struct dentry *directory(struct dentry *parent, const char *name, uint32_t mode) {
    size_t len = strlen(name);
    struct dentry *d;
    if (!(parent->sb->flags & SB_COMPLETE)) {
        int err = dentry_lookup(parent, name, len, name_hash(name, len), false, &d);
        if (err == 0 && S_ISDIR(d->inode->mode))
            return d;
        if (err == 0) {
            log_err("/%s of the root image is not a directory", name);
            dentry_unref(d);
            err = -ENOTDIR;
        }
        if (err != -ENOENT)
            return ERR_PTR(err);
    }
    return writes_through(parent->sb) ? make_on_host(parent, name, mode)
                                      : tmpfs_make(parent, name, len, S_IFDIR | mode, 0, NULL);
}

// *made is the new mount, which stays.
static int mount_in(struct mount *parent, const char *name, const struct fs_type *type, struct mount **made) {
    struct superblock *sb = type->mount(type, NULL, 0, "");
    if (IS_ERR(sb))
        return PTR_ERR(sb);
    struct dentry *d = directory(parent->root, name, 0755);
    int err = IS_ERR(d) ? PTR_ERR(d) : 0;
    if (!err) {
        struct path p = {parent, d};
        err = mount_attach(sb, type->name, &p, 0);
        dentry_unref(d);
    }
    if (!err) {
        *made = mount_of(sb);
        mount_unref(*made); // the tree holds it
    }
    superblock_unref(sb);
    return err;
}

// --- /sys ---

static int mount_sysfs(struct dentry *place) {
    struct superblock *sb = sysfs_type.mount(&sysfs_type, NULL, 0, "");
    if (IS_ERR(sb))
        return PTR_ERR(sb);
    struct path p = {mount_root(), place};
    int err = mount_attach(sb, "sysfs", &p, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME);
    superblock_unref(sb);
    return err;
}

// Without an image: when somebody looks for a name in the root that is not there, or lists it.
static int root_populate(struct dentry *root) {
    struct dentry *d = dentry_find(root, "sys", 3, name_hash("sys", 3));
    if (!d)
        d = tmpfs_make(root, "sys", 3, S_IFDIR | 0755, 0, NULL);
    if (IS_ERR(d))
        return PTR_ERR(d);
    int err = S_ISDIR(d->inode->mode) ? mount_sysfs(d) : 0;
    dentry_unref(d);
    return err;
}

static const struct superblock_ops root_sb_ops = {.statistics = tmpfs_statistics, .populate = root_populate};

static struct superblock *empty_root(void) {
    struct superblock *sb = tmpfs_superblock(&tmpfs_type, 0755);
    if (!IS_ERR(sb)) {
        sb->ops = &root_sb_ops;
        sb->root->flags |= DENTRY_LAZY;
    }
    return sb;
}

// --- The root ---

static struct superblock *image_root(const char *root) {
    const char *source = strchr(root, ' ');
    char type[16];
    if (!source || (size_t)(source - root) >= sizeof(type))
        return ERR_PTR(-EINVAL);
    memcpy(type, root, (size_t)(source - root));
    type[source - root] = '\0';
    const struct fs_type *t = fs_type_find(type);
    if (!t || !t->mount)
        return ERR_PTR(-ENODEV);
    struct superblock *lower = t->mount(t, source + 1, t == &p9_type ? 0 : MS_RDONLY, "");
    if (IS_ERR(lower) || writes_through(lower))
        return lower;
    struct superblock *sb = overlay_superblock(lower);
    superblock_unref(lower);
    return sb;
}

static int image_directories(void) {
    static const struct {
        const char *name;
        uint32_t mode;
    } wanted[] = {{"sys", 0755}, {"tmp", 01777}};
    for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++) {
        struct dentry *d = directory(mount_root()->root, wanted[i].name, wanted[i].mode);
        if (IS_ERR(d) && d != ERR_PTR(-ENOTDIR))
            return PTR_ERR(d);
        if (IS_ERR(d))
            continue;
        int err = i == 0 ? mount_sysfs(d) : 0;
        dentry_unref(d);
        if (err < 0)
            return err;
    }
    return 0;
}

int vfs_init(const char *root) {
    struct mount *dev = NULL, *m;
    fs_set_hooks();
    struct superblock *sb = root ? image_root(root) : empty_root();
    if (IS_ERR(sb))
        return PTR_ERR(sb);
    int err = mount_create_root(sb);
    superblock_unref(sb);
    if (!err && !(process_current()->fs = fs_context_create()))
        err = -ENOMEM;
    if (!err)
        err = mount_in(mount_root(), "dev", &devfs_type, &dev);
    if (!err)
        err = mount_in(dev, "pts", &devpts_type, &m);
    if (!err)
        err = mount_in(mount_root(), "proc", &proc_type, &m);
    if (!err && root)
        err = image_directories();
    return err;
}

void vfs_init_read_only(void) { atomic_or(&mount_root()->flags, (uint32_t)MS_RDONLY); }

// --- Mounts of the configuration ---

// The next word of a record, with its escapes (\040) undone in place. NULL: there is none.
static char *next_word(char **at) {
    char *word = *at, *to = word, *s = word;
    if (!word || !*word)
        return NULL;
    for (; *s && *s != ' '; s++) {
        bool escape =
            s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7';
        *to++ = escape ? (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0')) : *s;
        s += escape ? 3 : 0;
    }
    *at = *s ? s + 1 : NULL;
    *to = '\0';
    return word;
}

// Takes those options out that belong to the mount. The flags; *file: something below is mounted on a file.
static unsigned long take_options(char *options, bool *file) {
    static const struct {
        const char *name;
        unsigned long flag;
    } known[] = {{"rw", 0}, {"ro", MS_RDONLY}, {"nosuid", MS_NOSUID}, {"nodev", MS_NODEV}, {"noexec", MS_NOEXEC}};
    unsigned long flags = 0;
    char *to = options;
    for (char *s = options, *next; s; s = next) {
        bool name = strncmp(s, "file=", 5) == 0; // the last option: what follows is a name, commas and all
        next = name ? NULL : strchr(s, ',');
        size_t len = next ? (size_t)(next - s) : strlen(s);
        next = next ? next + 1 : NULL;
        bool own = len == 0;
        for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
            if (strlen(known[i].name) == len && memcmp(s, known[i].name, len) == 0) {
                flags |= known[i].flag;
                own = true;
            }
        }
        *file |= name && len > 5;
        if (own)
            continue;
        if (to > options)
            *to++ = ',';
        memmove(to, s, len);
        to += len;
    }
    *to = '\0';
    return flags;
}

// Makes what is missing of the directories above a name, and it itself. 0 or -errno: of what matters the lookup will speak.
static void make_place(char *name, bool file) {
    for (char *s = name + 1; *s; s++) {
        if (*s != '/')
            continue;
        *s = '\0';
        (void)vfs_mkdir(AT_FDCWD, name, 0755);
        *s = '/';
    }
    if (!file) {
        (void)vfs_mkdir(AT_FDCWD, name, 0755);
        return;
    }
    struct file *f = vfs_open(AT_FDCWD, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (!IS_ERR(f))
        file_unref(f);
}

static int mount_at(const struct fs_type *t, const char *source, const char *where, unsigned long flags,
                    const char *options) {
    struct path p;
    int err = path_lookup(AT_FDCWD, where, LOOKUP_FOLLOW, &p);
    if (err < 0)
        return err;
    struct superblock *sb = t->mount(t, source, flags, options);
    if (IS_ERR(sb)) {
        err = PTR_ERR(sb);
    } else {
        bool directory = S_ISDIR(path_inode(&p)->mode);
        if (S_ISDIR(sb->root->inode->mode) != directory)
            err = directory ? -EISDIR : -ENOTDIR;
        else
            err = mount_attach(sb, source, &p, flags);
        superblock_unref(sb);
    }
    path_unref(&p);
    return err;
}

int vfs_init_mount(char *record, const char **where) {
    char *at = record, *type = next_word(&at), *source = next_word(&at), *dir = next_word(&at),
         *options = next_word(&at);
    char none[] = "";
    bool file = false;
    *where = dir ? dir : "a record without a directory";
    if (!dir || *dir != '/' || at)
        return -EINVAL;
    const struct fs_type *t = fs_type_find(type);
    if (!t || !t->mount)
        return -ENODEV;
    options = options ? options : none;
    unsigned long flags = take_options(options, &file);
    make_place(dir, file);
    return mount_at(t, source, dir, flags, options);
}

// --- /etc ---

// Is the file to be written: it is not there or empty, and in the root itself, not in a volume?
static bool wanted(const char *name, bool *ours) {
    struct path p;
    int err = path_lookup(AT_FDCWD, name, LOOKUP_FOLLOW, &p);
    if (err == -ENOENT) {
        err = path_lookup(AT_FDCWD, "/etc", LOOKUP_FOLLOW, &p);
        bool root = err == 0 && p.mount == mount_root();
        if (err == 0)
            path_unref(&p);
        return root;
    }
    if (err < 0)
        return false;
    *ours = p.mount == mount_root() && S_ISREG(path_inode(&p)->mode);
    bool empty = *ours && path_inode(&p)->size == 0;
    path_unref(&p);
    return empty;
}

static int append_file(const char *name, const struct seqbuf *text) {
    uint64_t pos = 0;
    if (text->failed)
        return -ENOMEM;
    struct file *f = vfs_open(AT_FDCWD, name, O_CREAT | O_WRONLY | O_APPEND, 0644);
    int64_t n = IS_ERR(f) ? PTR_ERR(f) : file_write_kernel(f, text->data, text->len, &pos);
    if (!IS_ERR(f))
        file_unref(f);
    if (n < 0)
        log_warn("%s cannot be written: error %d", name, (int)n); // a link to nowhere, say
    return n == -ENOMEM ? (int)n : 0;
}

static void put_localhost(struct seqbuf *s) {
    seq_puts(s, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
                "ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n");
}

// The host's name with the interfaces' addresses.
static void put_host(struct seqbuf *s, const char *hostname) {
    char address[IPADDR_STRLEN_MAX];
    bool any = false;
    if (net_config_any()) {
        net_lock();
        for (struct net_interface *i = net_interface_next(NULL); i; i = net_interface_next(i)) {
            const ip4_addr_t *a = netif_ip4_addr(&i->netif);
            if (!i->device || ip4_addr_isany(a))
                continue;
            seq_printf(s, "%s\t%s\n", ip4addr_ntoa_r(a, address, sizeof(address)), hostname);
            any = true;
        }
        net_unlock();
    }
    if (!any)
        seq_printf(s, "127.0.1.1\t%s\n", hostname);
}

// Does an image's /etc/hosts name the host itself? Looked for in its beginning.
static bool names_host(const char *hostname) {
    enum { SIZE = 16384 };
    bool found = false;
    char *text = kmalloc(SIZE);
    struct file *f = text ? vfs_open(AT_FDCWD, "/etc/hosts", O_RDONLY, 0) : ERR_PTR(-ENOMEM);
    int64_t n = IS_ERR(f) ? -1 : file_read_kernel(f, text, SIZE - 1, 0);
    if (!IS_ERR(f))
        file_unref(f);
    if (n > 0) {
        size_t len = strlen(hostname);
        text[n] = '\0';
        for (const char *s = text; len && !found && (s = strstr(s, hostname)); s += len)
            found = s > text && (s[-1] == ' ' || s[-1] == '\t') && (!s[len] || strchr(" \t\n", s[len]));
    }
    kfree(text);
    return found;
}

static void put_named_hosts(struct seqbuf *s) {
    const char *line;
    for (unsigned n = 0; (line = net_config_hosts(n)); n++)
        seq_printf(s, "%s\n", line);
}

static void put_resolver(struct seqbuf *s) {
    char address[IPADDR_STRLEN_MAX];
    const char *domain;
    ip_addr_t server;
    for (unsigned n = 0; (domain = net_config_search(n)); n++)
        seq_printf(s, "%s%s", n ? " " : "search ", domain);
    if (net_config_search(0))
        seq_puts(s, "\n");
    for (unsigned n = 0; net_config_dns(n, &server); n++) {
        ipaddr_ntoa_r(&server, address, sizeof(address));
        for (char *c = address; *c; c++)
            if (*c >= 'A' && *c <= 'F') // as everybody else writes IPv6's addresses
                *c += 'a' - 'A';
        seq_printf(s, "nameserver %s\n", address);
    }
}

// Name servers that come when the program is running already, by DHCP or from a router: into the file, if it is still empty.
static void write_late_resolver(void *file) {
    struct file *f = file;
    struct seqbuf text = {0};
    uint64_t pos = 0;
    net_config_dns_wait();
    put_resolver(&text);
    if (!text.failed && READ_ONCE(f->inode->size) == 0 && file_write_kernel(f, text.data, text.len, &pos) < 0)
        log_warn("/etc/resolv.conf cannot be written");
    seq_free(&text);
    file_unref(f);
}

static void wait_for_name_servers(void) {
    ip_addr_t server;
    if (!net_config_any() || net_config_dns(0, &server) || net_config_search(0))
        return;
    struct file *f = vfs_open(AT_FDCWD, "/etc/resolv.conf", O_WRONLY, 0);
    struct thread *t = IS_ERR(f) ? NULL : thread_create_kernel("resolver", write_late_resolver, f);
    if (t)
        thread_start(t);
    else if (!IS_ERR(f))
        file_unref(f);
}

int vfs_init_etc(void) {
    struct mount *root = mount_root();
    struct dentry *etc;
    if (root->sb->flags & SB_COMPLETE) { // no image: only where somebody has brought an /etc
        etc = dentry_find(root->root, "etc", 3, name_hash("etc", 3));
        if (!etc)
            return 0;
    } else {
        etc = directory(root->root, "etc", 0755);
        if (IS_ERR(etc))
            return PTR_ERR(etc);
    }
    dentry_unref(etc);
    static const char *const names[] = {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"};
    struct new_utsname uts;
    int err = 0;
    uts_get(&uts);
    for (unsigned i = 0; i < ARRAY_SIZE(names) && !err; i++) {
        bool ours = false, whole = wanted(names[i], &ours);
        struct seqbuf text = {0};
        if (!whole && !(i == 1 && ours)) // behind an image's own hosts goes what is known of this run
            continue;
        if (i == 0)
            seq_printf(&text, "%s\n", uts.nodename);
        else if (i == 1 && whole)
            put_localhost(&text);
        else if (i == 2)
            put_resolver(&text);
        if (i == 1 && (whole || !names_host(uts.nodename)))
            put_host(&text, uts.nodename);
        if (i == 1)
            put_named_hosts(&text);
        err = whole || text.len ? append_file(names[i], &text) : 0;
        seq_free(&text);
        if (i == 2 && !err)
            wait_for_name_servers();
    }
    return err;
}
