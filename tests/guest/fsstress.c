// A tree of names under random operations, each compared with a model in memory: files, directories, symbolic and hard links are made,
// moved, exchanged, removed, written, cut, listed and looked at, also when their names are gone and they are still open. Several
// processes work beside each other, each in a directory of its own.
//     fsstress DIR OPERATIONS [SEED [PROCESSES [ATTRIBUTES]]]    works, compares, and removes everything
//     fsstress --keep DIR ...      leaves the trees
//     fsstress --verify DIR ...    compares trees that were left so, on another day, and removes them
//     fsstress --more DIR ...      the same after as many operations more
// Without ATTRIBUTES (0) no extended ones are set: not every file system has them.
// build: musl
// runner: none
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

enum { NODES = 400, NAMES = 300, SIZE_MOST = 70000, HELD = 6, NAME_SIZE = 64 };
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#endif

struct node { // what an inode is to be
    int type; // S_IF*; 0: free
    unsigned mode;
    int links, held; // names; descriptors of ours
    long size;
    char *data; // contents, or the symbolic link's target
    struct node *parent; // of a directory
    char attribute[32];
    unsigned long ino; // once it was seen
};
struct name {
    struct node *directory, *node; // node NULL: free
    char text[NAME_SIZE];
};
static struct node nodes[NODES], *root = nodes;
static struct name names[NAMES];
static struct {
    int fd;
    struct node *node;
} held[HELD];
static uint32_t state;
static bool model_only, has_attributes = true, has_flags = true, has_fifos = true;
static unsigned long step;
static char operation[400];

static void wrong(const char *what)
{
    char line[700];
    int n = snprintf(line, sizeof line, "wrong: %s, %s, in operation %lu: %s\n", what, errno_name(errno), step, operation);
    write(1, line, (size_t)n);
    _exit(1);
}

static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(operation, sizeof operation, format, args);
    va_end(args);
}

static uint32_t below(uint32_t n)
{
    return noise(&state) % n;
}

// --- The model ---

static struct node *new_node(int type, unsigned mode)
{
    for (int i = 0; i < NODES; i++)
        if (!nodes[i].type) {
            nodes[i] = (struct node){.type = type, .mode = mode, .links = 1};
            if (type == S_IFREG)
                nodes[i].data = calloc(1, SIZE_MOST);
            return &nodes[i];
        }
    return NULL;
}

static void drop(struct node *n)
{
    if (n->type == S_IFDIR || (--n->links == 0 && !n->held)) {
        free(n->data);
        *n = (struct node){0};
    }
}

static struct name *find(struct node *directory, const char *text)
{
    for (int i = 0; i < NAMES; i++)
        if (names[i].node && names[i].directory == directory && !strcmp(names[i].text, text))
            return &names[i];
    return NULL;
}

static int entries(struct node *directory, bool directories)
{
    int n = 0;
    for (int i = 0; i < NAMES; i++)
        n += names[i].node && names[i].directory == directory && (!directories || names[i].node->type == S_IFDIR);
    return n;
}

static struct name *any_name(int type)
{
    struct name *found = NULL;
    int seen = 0;
    for (int i = 0; i < NAMES; i++)
        if (names[i].node && (!type || names[i].node->type == type) && below((uint32_t)++seen) == 0)
            found = &names[i];
    return found;
}

static struct node *any_directory(void)
{
    struct name *n = below(5) ? any_name(S_IFDIR) : NULL;
    return n ? n->node : root;
}

static bool inside(struct node *directory, struct node *what)
{
    for (; directory != root; directory = directory->parent)
        if (directory == what)
            return true;
    return false;
}

static void path_of_directory(struct node *d, char *out)
{
    if (d == root) {
        strcpy(out, ".");
        return;
    }
    for (int i = 0; i < NAMES; i++)
        if (names[i].node == d) {
            path_of_directory(names[i].directory, out);
            strcat(out, "/");
            strcat(out, names[i].text);
            return;
        }
}

static char *path_of(struct node *directory, const char *text, char *out)
{
    path_of_directory(directory, out);
    strcat(out, "/");
    return strcat(out, text);
}

static bool deep(struct node *d)
{
    int depth = 0;
    for (; d != root; d = d->parent)
        depth++;
    return depth > 8;
}

// A name that is free in the directory, or with `may_exist` perhaps not. NULL: the model is full.
static struct name *pick_name(struct node *directory, char *text, bool may_exist)
{
    static const char *const tails[] = {"", "-x", ".txt", "-a-name-that-is-too-long-for-the-place-inside-the-entry"};
    struct name *empty = NULL;
    for (int i = 0; i < NAMES; i++)
        if (!names[i].node)
            empty = &names[i];
    if (!empty)
        return NULL;
    do
        snprintf(text, NAME_SIZE, "%c%u%s", "fdl"[below(3)], below(60), tails[below(16) < 13 ? below(3) : 3]);
    while (!may_exist && find(directory, text));
    return empty;
}

// What a call gave against what it must give: an errno, 0 for success. In the model alone nothing is asked.
static void expect(const char *what, int result, int want)
{
    if (!model_only && (result < 0 ? errno : 0) != want) {
        char text[100];
        snprintf(text, sizeof text, "%s, expected %s", what, want ? errno_name(want) : "success");
        wrong(text);
    }
}
#define CALL(f) (model_only ? 0 : (f))

// --- The operations ---

static void add(struct name *slot, struct node *directory, const char *text, struct node *node)
{
    slot->directory = directory;
    slot->node = node;
    strcpy(slot->text, text);
    if (node->type == S_IFDIR)
        node->parent = directory;
}

static void make(void)
{
    char path[900], text[NAME_SIZE], target[NAME_SIZE];
    struct node *d = any_directory();
    struct name *slot = pick_name(d, text, true);
    int type = (int[]){S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO}[below(7)];
    unsigned mode = type == S_IFLNK ? 0777 : (0600 | below(0200));
    snprintf(target, sizeof target, "../somewhere/%u", below(1000));
    if (!slot || deep(d) || (type == S_IFIFO && !has_fifos))
        return;
    path_of(d, text, path);
    say("make %o %s", type, path);
    bool exists = find(d, text);
    int result = type == S_IFDIR   ? CALL(mkdir(path, mode))
                 : type == S_IFLNK ? CALL(symlink(target, path))
                 : type == S_IFIFO ? CALL(mkfifo(path, mode))
                                   : 0;
    if (type == S_IFREG && !model_only) {
        result = open(path, O_CREAT | O_EXCL | O_RDWR, mode);
        if (result >= 0)
            close(result);
    }
    if (type == S_IFIFO && result < 0 && errno == ENXIO) { // QEMU's 9P server opens what it made, and nobody reads from a FIFO
        has_fifos = false;
        return;
    }
    expect("making it", result, exists ? EEXIST : 0);
    struct node *n = exists ? NULL : new_node(type, mode);
    if (!n) {
        if (!exists)
            give_up("the model is too small");
        return;
    }
    if (type == S_IFLNK) {
        n->data = strdup(target);
        n->size = (long)strlen(target);
    }
    add(slot, d, text, n);
}

static void link_name(void)
{
    char from[900], path[900], text[NAME_SIZE];
    struct name *n = any_name(below(8) ? S_IFREG : 0);
    struct node *d = any_directory();
    struct name *slot = n ? pick_name(d, text, true) : NULL;
    if (!slot)
        return;
    path_of(n->directory, n->text, from);
    path_of(d, text, path);
    say("link %s %s", from, path);
    int want = find(d, text) ? EEXIST : n->node->type == S_IFDIR ? EPERM : 0;
    expect("link", CALL(link(from, path)), want);
    if (want == 0) {
        n->node->links++;
        add(slot, d, text, n->node);
    }
}

static void let_go(unsigned i)
{
    struct node *n = held[i].node;
    if (!n)
        return;
    CALL(close(held[i].fd));
    held[i].node = NULL;
    if (--n->held == 0 && n->links == 0) {
        n->links = 1;
        drop(n);
    }
}

static void hold(struct name *n, const char *path)
{
    unsigned i = below(HELD);
    let_go(i);
    held[i].node = n->node;
    held[i].fd = CALL(open(path, O_RDWR));
    if (held[i].fd < 0)
        wrong("open");
    n->node->held++;
}

static void remove_name(void)
{
    char path[900];
    struct name *n = any_name(0);
    if (!n)
        return;
    path_of(n->directory, n->text, path);
    bool directory = n->node->type == S_IFDIR, as_directory = below(10) ? directory : !directory;
    if (n->node->type == S_IFREG && (n->node->mode & 0600) == 0600 && below(3) == 0)
        hold(n, path);
    say("%s %s", as_directory ? "rmdir" : "unlink", path);
    int want = as_directory ? (!directory ? ENOTDIR : entries(n->node, false) ? ENOTEMPTY : 0) : directory ? EISDIR : 0;
    expect("removing it", CALL(as_directory ? rmdir(path) : unlink(path)), want);
    if (want == 0) {
        drop(n->node);
        n->node = NULL;
    }
}

static int rename_errno(struct name *n, struct node *d, struct name *to, unsigned flags)
{
    bool directory = n->node->type == S_IFDIR;
    if (flags == RENAME_NOREPLACE && to)
        return EEXIST;
    if (flags == RENAME_EXCHANGE && !to)
        return ENOENT;
    if (directory && inside(d, n->node))
        return EINVAL;
    if (to && to->node->type == S_IFDIR && inside(n->directory, to->node))
        return flags == RENAME_EXCHANGE ? EINVAL : ENOTEMPTY;
    if (flags == RENAME_EXCHANGE || !to || to->node == n->node)
        return 0;
    if (directory != (to->node->type == S_IFDIR))
        return directory ? ENOTDIR : EISDIR;
    return directory && entries(to->node, false) ? ENOTEMPTY : 0;
}

static void rename_name(void)
{
    char from[900], path[900], text[NAME_SIZE];
    struct name *n = any_name(0), *over = below(3) ? NULL : any_name(0);
    if (!n)
        return;
    struct node *d = over ? over->directory : any_directory();
    struct name *slot = pick_name(d, text, true);
    unsigned flags = has_flags && below(3) == 0 ? 1 + below(2) : 0;
    if (!slot || (n->node->type == S_IFDIR && deep(d)))
        return;
    if (over)
        strcpy(text, over->text);
    path_of(n->directory, n->text, from);
    path_of(d, text, path);
    say("rename %u %s %s", flags, from, path);
    struct name *to = find(d, text);
    if (flags == RENAME_EXCHANGE && to && to->node->type == S_IFDIR && deep(n->directory))
        return;
    int want = rename_errno(n, d, to, flags);
    int result = CALL((int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, path, flags));
    if (result < 0 && errno == EINVAL && flags && want != EINVAL) {
        has_flags = false; // 9P
        return;
    }
    expect("rename", result, want);
    if (want || (to && to->node == n->node))
        return;
    if (flags == RENAME_EXCHANGE) {
        struct node *node = n->node;
        n->node = to->node;
        to->node = node;
        if (n->node->type == S_IFDIR)
            n->node->parent = n->directory;
        if (to->node->type == S_IFDIR)
            to->node->parent = to->directory;
        return;
    }
    if (to) {
        drop(to->node);
        to->node = NULL;
    }
    struct node *node = n->node;
    n->node = NULL;
    add(n, d, text, node);
}

static void change_data(struct node *n, int fd)
{
    long at = below(SIZE_MOST), count = 1 + below(below(2) ? 300 : 30000);
    if (at + count > SIZE_MOST)
        count = SIZE_MOST - at;
    if (below(4) == 0) {
        say("%s, to %ld", strtok(operation, ","), at);
        expect("ftruncate", CALL(ftruncate(fd, at)), 0);
        if (at < n->size)
            memset(n->data + at, 0, (size_t)(n->size - at));
        n->size = at;
        return;
    }
    say("%s, %ld at %ld", strtok(operation, ","), count, at);
    for (long i = 0; i < count; i++)
        n->data[at + i] = (char)(state + (uint32_t)(i * 13));
    if (CALL(pwrite(fd, n->data + at, (size_t)count, at)) != (model_only ? 0 : count))
        wrong("pwrite");
    if (at + count > n->size)
        n->size = at + count;
}

static void compare_data(struct node *n, int fd)
{
    static char buffer[SIZE_MOST + 10];
    struct stat s;
    if (model_only)
        return;
    if (fstat(fd, &s) || s.st_size != n->size || pread(fd, buffer, sizeof buffer, 0) != n->size)
        wrong("the size");
    if (memcmp(buffer, n->data, (size_t)n->size))
        wrong("the contents");
}

static void write_file(void)
{
    char path[900];
    struct name *n = any_name(S_IFREG);
    if (!n)
        return;
    path_of(n->directory, n->text, path);
    say("write %s,", path);
    int fd = CALL(open(path, O_RDWR));
    expect("open", fd, 0);
    change_data(n->node, fd);
    if (below(3) == 0)
        compare_data(n->node, fd);
    if (below(12) == 0)
        expect("fsync", CALL(fsync(fd)), 0);
    CALL(close(fd));
}

static void use_held(void)
{
    unsigned i = below(HELD);
    if (!held[i].node)
        return;
    say("held file with %d names,", held[i].node->links);
    compare_data(held[i].node, held[i].fd);
    change_data(held[i].node, held[i].fd);
    compare_data(held[i].node, held[i].fd);
}

static void look(struct name *n)
{
    char path[900], target[100];
    struct stat s;
    struct node *node = n->node;
    if (model_only)
        return;
    path_of(n->directory, n->text, path);
    say("look at %s", path);
    if (lstat(path, &s))
        wrong("lstat");
    if ((int)(s.st_mode & S_IFMT) != node->type || (s.st_mode & 07777) != node->mode)
        wrong("the mode");
    if (node->type != S_IFDIR && (int)s.st_nlink != node->links)
        wrong("the number of links");
    if (node->type != S_IFDIR && node->type != S_IFIFO && s.st_size != node->size)
        wrong("the size");
    if (node->ino && node->ino != s.st_ino)
        wrong("another inode number");
    node->ino = s.st_ino;
    if (node->type == S_IFLNK && (readlink(path, target, sizeof target) != node->size || memcmp(target, node->data, (size_t)node->size)))
        wrong("the link's target");
    if (node->type == S_IFREG) {
        int fd = open(path, O_RDONLY);
        if (fd < 0)
            wrong("open");
        compare_data(node, fd);
        close(fd);
    }
    char value[40];
    if (has_attributes && (node->type == S_IFREG || node->type == S_IFDIR)) {
        long got = getxattr(path, "user.stress", value, sizeof value), want = node->attribute[0] ? (long)strlen(node->attribute) : -1;
        if (got != want || (want > 0 && memcmp(value, node->attribute, (size_t)want)))
            wrong("the attribute");
    }
}

static void list(struct node *d)
{
    char path[900];
    static bool seen[NAMES];
    if (model_only)
        return;
    path_of_directory(d, path);
    say("list %s", path);
    memset(seen, 0, sizeof seen);
    DIR *stream = opendir(path);
    if (!stream)
        wrong("opendir");
    int count = 0;
    for (struct dirent *e; (e = readdir(stream));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        struct name *n = find(d, e->d_name);
        if (!n || seen[n - names])
            wrong(n ? "a name twice" : "a name too many");
        if (n->node->ino && n->node->ino != e->d_ino)
            wrong("d_ino");
        seen[n - names] = true;
        count++;
    }
    closedir(stream);
    if (count != entries(d, false))
        wrong("a name is missing");
}

static void change_attributes(void)
{
    char path[900];
    struct name *n = any_name(below(3) ? S_IFREG : S_IFDIR);
    if (!n)
        return;
    path_of(n->directory, n->text, path);
    unsigned mode = 0700 | below(0100);
    say("chmod %s", path);
    expect("chmod", CALL(chmod(path, mode)), 0);
    n->node->mode = mode;
    if (!has_attributes)
        return;
    char value[32];
    snprintf(value, sizeof value, "%u", noise(&state));
    bool away = n->node->attribute[0] && below(3) == 0;
    say("attribute of %s", path);
    int result = CALL(away ? removexattr(path, "user.stress") : setxattr(path, "user.stress", value, strlen(value), 0));
    if (result < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        has_attributes = false;
        return;
    }
    expect("the attribute", result, 0);
    strcpy(n->node->attribute, away ? "" : value);
}

static void look_at_all(void)
{
    for (int i = 0; i < NAMES; i++)
        if (names[i].node) {
            look(&names[i]);
            if (names[i].node->type == S_IFDIR)
                list(names[i].node);
        }
    list(root);
}

static void remove_all(void)
{
    for (bool any = true; any;) {
        any = false;
        for (int i = 0; i < NAMES; i++) {
            char path[900];
            if (!names[i].node || (names[i].node->type == S_IFDIR && entries(names[i].node, false)))
                continue;
            path_of(names[i].directory, names[i].text, path);
            say("remove %s", path);
            if (names[i].node->type == S_IFDIR ? rmdir(path) : unlink(path))
                wrong("removing it");
            drop(names[i].node);
            names[i].node = NULL;
            any = true;
        }
    }
}

static void work(unsigned long operations)
{
    static void (*const kinds[])(void) = {make, make, make, link_name, remove_name, remove_name, rename_name, rename_name, write_file, write_file, use_held, change_attributes};
    for (step = 0; step < operations; step++) {
        uint32_t choice = below(16), r = noise(&state);
        if (choice < sizeof kinds / sizeof kinds[0]) {
            kinds[choice]();
        } else if (choice < 15) {
            struct name *n = any_name(0);
            if (n)
                look(n);
        } else {
            list(any_directory());
        }
        state ^= r; // the same course whatever an operation found
        if (step % 500 == 499)
            look_at_all();
    }
}

int main(int argc, char **argv)
{
    bool keep = argc > 1 && !strcmp(argv[1], "--keep"), more = argc > 1 && !strcmp(argv[1], "--more");
    bool verify = more || (argc > 1 && !strcmp(argv[1], "--verify"));
    argv += keep || verify;
    argc -= keep || verify;
    if (argc < 3)
        give_up("fsstress [--keep|--verify|--more] DIR OPERATIONS [SEED [PROCESSES [ATTRIBUTES]]]");
    unsigned long operations = strtoul(argv[2], NULL, 10);
    int seed = argc > 3 ? atoi(argv[3]) : 1, processes = argc > 4 ? atoi(argv[4]) : 2, failed = 0;
    has_attributes = argc <= 5 || atoi(argv[5]);
    umask(0);
    for (int i = 0; i < processes; i++) {
        if (fork())
            continue;
        char directory[32];
        snprintf(directory, sizeof directory, "stress-%d-%d", seed, i);
        if (chdir(argv[1]) || (!verify && mkdir(directory, 0700)) || chdir(directory))
            give_up("%s/%s", argv[1], directory);
        root->type = S_IFDIR;
        state = (uint32_t)(seed * 64 + i) * 2654435761u | 1;
        model_only = verify;
        work(operations);
        for (unsigned j = 0; j < HELD; j++)
            let_go(j);
        model_only = false;
        look_at_all();
        if (more) {
            work(operations);
            look_at_all();
        }
        if (!keep)
            remove_all();
        if (!keep && (chdir("..") || rmdir(directory)))
            wrong("the last directory");
        _exit(0);
    }
    for (int status; wait(&status) > 0;)
        failed += status != 0;
    printf("%d of %d processes found everything right\n", processes - failed, processes);
    return failed != 0;
}
