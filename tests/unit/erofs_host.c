/* See erofs_host.h. */
#include "tests/unit/erofs_host.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

static char base[64];

void text_add(struct text *t, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    char *line;
    int n = vasprintf(&line, format, ap);
    va_end(ap);
    if (n < 0)
        abort();
    if (t->len + (size_t)n + 1 > t->size) {
        t->size = 2 * (t->len + (size_t)n + 1);
        t->data = realloc(t->data, t->size);
    }
    memcpy(t->data + t->len, line, (size_t)n + 1);
    t->len += (size_t)n;
    free(line);
}

unsigned long text_hash(unsigned long h, const void *data, size_t n) {
    for (const unsigned char *p = data; n; n--, p++)
        h = (h ^ *p) * 0x100000001b3;
    return h;
}

const char *first_difference(const struct text *a, const struct text *b) {
    static char out[2048];
    const char *p = a->data ? a->data : "", *q = b->data ? b->data : "";
    while (*p || *q) {
        size_t n = strcspn(p, "\n"), m = strcspn(q, "\n");
        if (n != m || memcmp(p, q, n) != 0) {
            snprintf(out, sizeof(out), "%.*s\n%.*s", (int)(n > 900 ? 900 : n), p, (int)(m > 900 ? 900 : m), q);
            return out;
        }
        p += n + (p[n] == '\n');
        q += m + (q[m] == '\n');
    }
    return NULL;
}

void host_free(void *p) { free(p); }

static const char *base_directory(void) {
    if (!base[0]) {
        strcpy(base, "/tmp/erofs-test-XXXXXX");
        if (!mkdtemp(base))
            abort();
    }
    return base;
}

void host_remove(void) {
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", base);
    if (base[0] && system(command) != 0)
        abort();
    base[0] = 0;
}

unsigned char *host_image(const char *directory, const char *options, size_t *size) {
    char command[1024], image[128];
    snprintf(image, sizeof(image), "%s/image", base_directory());
    unlink(image);
    snprintf(command, sizeof(command), "mkfs.erofs --quiet %s %s %s >%s/log 2>&1", options, image, directory, base);
    int fd = system(command) == 0 ? open(image, O_RDONLY) : -1;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return NULL;
    unsigned char *data = malloc((size_t)st.st_size);
    *size = (size_t)st.st_size;
    if (read(fd, data, *size) != st.st_size)
        abort();
    close(fd);
    return data;
}

unsigned char *host_file(const char *directory, unsigned number, size_t *size) {
    unsigned char *data = NULL;
    struct dirent *e;
    struct stat st;
    DIR *d = opendir(directory);
    while (d && (e = readdir(d)))
        if (e->d_name[0] != '.' && number-- == 0)
            break;
    if (!d || !e) {
        if (d)
            closedir(d);
        return NULL;
    }
    int fd = openat(dirfd(d), e->d_name, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) < 0 || !(data = malloc((size_t)st.st_size + 1)) ||
        read(fd, data, (size_t)st.st_size) != st.st_size)
        abort();
    *size = (size_t)st.st_size;
    close(fd);
    closedir(d);
    return data;
}

/* --- What to make an image of --- */

static int tree_fd; /* the directory */

static void put(const char *name, size_t size, unsigned seed) {
    int fd = openat(tree_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0644);
    unsigned char *data = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        data[i] = (unsigned char)((seed = seed * 1103515245 + 12345) >> 16);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    free(data);
    close(fd);
}

static void must(int result) {
    if (result < 0) {
        perror("a directory for an image");
        abort();
    }
}

static void name_of(char *out, size_t size, const char *name) { snprintf(out, size, "%s/tree/%s", base, name); }

/* Where the file system has no such attributes the image has none either. */
static void attribute(const char *file, const char *name, const void *value, size_t size) {
    char path[512];
    name_of(path, sizeof(path), file);
    (void)!lsetxattr(path, name, value, size, 0);
}

static void set_time(const char *name, long seconds, long nanoseconds) {
    struct timespec t[2] = {{seconds, nanoseconds}, {seconds, nanoseconds}};
    must(utimensat(tree_fd, name, t, AT_SYMLINK_NOFOLLOW));
}

static void make_special(void) {
    must(mkfifoat(tree_fd, "fifo", 0600));
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    name_of(a.sun_path, sizeof(a.sun_path), "socket");
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    must(bind(fd, (struct sockaddr *)&a, sizeof(a)));
    close(fd);
    /* Not allowed in every sandbox. */
    (void)!mknodat(tree_fd, "character", S_IFCHR | 0620, makedev(4, 65));
    (void)!mknodat(tree_fd, "block", S_IFBLK | 0660, makedev(259, 70000));
}

static void make_names(void) {
    char name[256], target[3000];
    memset(name, 'n', 254); /* mkfs.erofs 1.5 cannot do 255 */
    name[254] = 0;
    put(name, 10, 1);
    put("!before the dots", 11, 2);
    put("-", 12, 3);
    put("\xc3\xa9\xff", 13, 4);
    must(mkdirat(tree_fd, "many", 0755));
    for (int i = 0; i < 1200; i++) {
        snprintf(name, sizeof(name), "many/%.*s%d", i % 37, "aabbccddeeffgghhiijjkkllmmnnooppqqrrss", i);
        put(name, (size_t)(i % 5), (unsigned)i);
    }
    must(symlinkat("sizes/4096", tree_fd, "link"));
    must(symlinkat("nowhere", tree_fd, "dangling"));
    memset(target, 't', sizeof(target));
    target[sizeof(target) - 1] = 0;
    must(symlinkat(target, tree_fd, "long link"));
    must(linkat(tree_fd, "-", tree_fd, "many/hard", 0));
    must(linkat(tree_fd, "-", tree_fd, "hard", 0));
    strcpy(name, "deep");
    for (int i = 0; i < 12; i++) {
        must(mkdirat(tree_fd, name, 0700));
        strcat(name, "/d");
    }
    must(mkdirat(tree_fd, "empty", 01777));
}

static void make_sizes(void) {
    static const int sizes[] = {0,    1,    100,  4000, 4031, 4032,  4033,  4063,  4064,   4065,    4095,
                                4096, 4097, 8191, 8192, 8193, 12288, 20000, 65536, 100000, 1000003, 3145728};
    char name[64];
    must(mkdirat(tree_fd, "sizes", 0755));
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        snprintf(name, sizeof(name), "sizes/%d", sizes[i]);
        put(name, (size_t)sizes[i], i);
    }
    put("sparse", 10000, 5);
    char path[512];
    name_of(path, sizeof(path), "sparse");
    must(truncate(path, 300000));
    int fd = openat(tree_fd, "sparse", O_WRONLY);
    must((int)pwrite(fd, "in the middle", 13, 200000));
    close(fd);
}

static void make_attributes(void) {
    static const char capability[20] = {0, 0, 0, 2, 0, 4};
    char large[3000];
    memset(large, 'L', sizeof(large));
    put("owned", 5000, 6);
    put("program", 100, 7);
    put("secret", 100, 8);
    must(fchmodat(tree_fd, "secret", 0, 0));
    (void)!fchownat(tree_fd, "owned", 1000, 70000, 0);
    must(fchmodat(tree_fd, "program", 06755, 0));
    attribute("program", "security.capability", capability, sizeof(capability));
    attribute("owned", "user.one", "1", 1);
    attribute("owned", "user.empty", "", 0);
    attribute("owned", "trusted.root", "only", 4);
    attribute("sizes/4000", "user.large", large, sizeof(large));
    attribute("many", "user.directory", "yes", 3);
    attribute("link", "trusted.link", "yes", 3);
    for (int i = 0; i < 1200; i += 100) { /* shared by several */
        char name[64];
        snprintf(name, sizeof(name), "many/%.*s%d", i % 37, "aabbccddeeffgghhiijjkkllmmnnooppqqrrss", i);
        attribute(name, "user.shared", "the same in all", 15);
        attribute(name, "user.large.shared", large, 1000);
        attribute(name, "user.own", &i, sizeof(i));
    }
    set_time("owned", 2222222222, 987654321); /* after 2038 */
    set_time("link", 1000000000, 1);
    set_time("secret", -100, 5);
}

const char *host_tree(void) {
    static char path[128];
    snprintf(path, sizeof(path), "%s/tree", base_directory());
    if (access(path, F_OK) == 0)
        return path;
    umask(0);
    must(mkdir(path, 0755));
    tree_fd = open(path, O_RDONLY | O_DIRECTORY);
    make_sizes();
    make_names();
    make_special();
    make_attributes();
    close(tree_fd);
    return path;
}

const char *host_large_directory(unsigned entries) {
    static char path[128];
    snprintf(path, sizeof(path), "%s/large", base_directory());
    must(mkdir(path, 0755));
    tree_fd = open(path, O_RDONLY | O_DIRECTORY);
    for (unsigned i = 0; i < entries; i++) {
        char name[64];
        snprintf(name, sizeof(name), "entry-%05u", i);
        put(name, 0, 0);
    }
    close(tree_fd);
    return path;
}

/* --- What is in it --- */

static int names_order(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int attributes_order(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list_attributes(struct text *t, const char *path) {
    char names[4096], value[65536], *sorted[64];
    int count = 0;
    ssize_t n = llistxattr(path, names, sizeof(names));
    for (char *at = names; n > 0 && at < names + n; at += strlen(at) + 1)
        if (strncmp(at, "user.", 5) == 0 || strncmp(at, "trusted.", 8) == 0 || strcmp(at, "security.capability") == 0)
            sorted[count++] = at;
    qsort(sorted, (size_t)count, sizeof(*sorted), attributes_order);
    for (int i = 0; i < count; i++) {
        ssize_t size = lgetxattr(path, sorted[i], value, sizeof(value));
        text_add(t, " %s=%zd:%lx", sorted[i], size, text_hash(0, value, (size_t)size));
    }
}

static void list_content(struct text *t, const char *path, const struct stat *st) {
    char buf[65536];
    if (S_ISLNK(st->st_mode)) {
        ssize_t n = readlink(path, buf, sizeof(buf));
        text_add(t, " -> %lx", text_hash(0, buf, (size_t)n));
    }
    if (S_ISREG(st->st_mode)) {
        unsigned long h = 0;
        int fd = open(path, O_RDONLY);
        ssize_t n;
        while ((n = read(fd, buf, sizeof(buf))) > 0)
            h = text_hash(h, buf, (size_t)n);
        close(fd);
        text_add(t, " %lx", h);
    }
}

static void list_one(struct text *t, const char *directory, const char *name, long time) {
    char path[4096];
    struct dirent **names;
    struct stat st;
    snprintf(path, sizeof(path), "%s%s", directory, name);
    must(lstat(path, &st));
    int n = S_ISDIR(st.st_mode) ? scandir(path, &names, NULL, names_order) : 0;
    unsigned links = (unsigned)st.st_nlink;
    if (S_ISDIR(st.st_mode)) { /* file systems differ in how they count */
        links = 0;
        for (int i = 0; i < n; i++)
            links += names[i]->d_type == DT_DIR;
    }
    text_add(t, "%s mode %o links %u owner %u:%u time %ld.%09ld", *name ? name : "/", st.st_mode, links, st.st_uid,
             st.st_gid, time == -1 ? (long)st.st_mtim.tv_sec : time, time == -1 ? st.st_mtim.tv_nsec : 0);
    if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
        text_add(t, " size %ld", (long)st.st_size);
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
        text_add(t, " device %u:%u", major(st.st_rdev), minor(st.st_rdev));
    list_content(t, path, &st);
    list_attributes(t, path);
    text_add(t, "\n");
    for (int i = 0; i < n; i++) {
        char below[4096];
        if (strcmp(names[i]->d_name, ".") != 0 && strcmp(names[i]->d_name, "..") != 0) {
            snprintf(below, sizeof(below), "%s/%s", name, names[i]->d_name);
            list_one(t, directory, below, time);
        }
        free(names[i]);
    }
    if (S_ISDIR(st.st_mode))
        free(names);
}

void host_list(struct text *t, const char *directory, long time) { list_one(t, directory, "", time); }
