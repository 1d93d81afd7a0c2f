/*
 * Puts the initrd together; see the header.
 */
#include "tools/initrd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/mounts.h"

enum { BUFFER = 256 << 10 };

static void add_parents(struct initrd *initrd, const char *path) {
    char *parent = xstrdup(path);
    char *slash = strrchr(parent, '/');

    if (slash) {
        *slash = '\0';
        if (!tree_find(&initrd->tree, parent)) {
            struct cpio_member member = {.path = parent, .mode = S_IFDIR | 0755, .nlink = 2};
            initrd_begin(initrd, &member, NULL);
        }
    }
    free(parent);
}

struct node *initrd_begin(struct initrd *initrd, struct cpio_member *member, const char *link) {
    if (member->size > UINT32_MAX)
        die(STATUS_FAILED, "/%s: files of 4 GiB and more do not fit into an initrd", member->path);
    add_parents(initrd, member->path);

    struct node *node = tree_node(&initrd->tree, member->path);
    free(node->link);
    member->ino = member->ino ? member->ino : ++initrd->last_ino;
    node->link = link ? xstrdup(link) : NULL;
    node->first = NULL;
    node->ino = member->ino;
    node->mode = member->mode;
    node->uid = member->uid;
    node->gid = member->gid;
    node->mtime = member->mtime;
    node->nlink = member->nlink;
    node->size = member->size;
    node->header = initrd->cpio.offset;
    node->data = cpio_header(&initrd->cpio, member);
    return node;
}

struct node *initrd_copy(struct initrd *initrd, struct cpio_member *member, int fd, const char *host) {
    void *bytes = member->size ? mmap(NULL, member->size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0) : NULL;

    if (bytes == MAP_FAILED)
        die(STATUS_FAILED, "%s: %s", host, strerror(errno));
    const struct node *old = tree_find(&initrd->tree, member->path);
    if (old && S_ISDIR(old->mode))
        die(STATUS_FAILED, "%s: the root has a directory /%s", host, member->path);
    struct node *node = initrd_begin(initrd, member, NULL);
    cpio_data(&initrd->cpio, bytes, member->size);
    cpio_pad(&initrd->cpio);
    if (bytes)
        munmap(bytes, member->size);
    return node;
}

void initrd_one_more_link(struct initrd *initrd, struct node *target) {
    enum { NLINK = 6 + 4 * 8 }; /* the fifth field of eight digits behind the magic number */
    char digits[9];

    snprintf(digits, sizeof(digits), "%08X", ++target->nlink);
    if (fflush(initrd->cpio.file) != 0 || pwrite(initrd->fd, digits, 8, (off_t)(target->header + NLINK)) != 8)
        die(STATUS_FAILED, "cannot write the initrd: %s", strerror(errno));
}

void initrd_hardlink(struct initrd *initrd, const char *path, struct node *target) {
    if (target->first)
        target = target->first;
    if (strcmp(path, target->path) == 0)
        return;
    if (S_ISLNK(target->mode)) { /* two symbolic links of the same content: nobody can tell the difference */
        struct cpio_member copy = {.path = path, .mode = target->mode, .nlink = 1, .mtime = target->mtime};
        char *text = xstrdup(target->link);
        copy.size = strlen(text);
        initrd_begin(initrd, &copy, text);
        cpio_data(&initrd->cpio, text, copy.size);
        cpio_pad(&initrd->cpio);
        free(text);
        return;
    }
    add_parents(initrd, path);
    initrd_one_more_link(initrd, target);

    struct node *node = tree_node(&initrd->tree, path);
    struct cpio_member member = {
        .path = path,
        .ino = target->ino,
        .mode = target->mode,
        .uid = target->uid,
        .gid = target->gid,
        .nlink = target->nlink,
        .mtime = target->mtime,
    };
    free(node->link);
    *node = (struct node){.path = node->path,
                          .first = target,
                          .ino = target->ino,
                          .mode = target->mode,
                          .data = target->data,
                          .size = target->size};
    cpio_add(&initrd->cpio, &member, "");
}

static void add_config(struct initrd *initrd, const struct run_options *options, const struct stdio_kinds *stdio,
                       const char *executable) {
    bool has_disk = initrd->root->kind == ROOT_IMAGE && initrd->root->is_disk;
    char *text = NULL;
    size_t size = 0;
    FILE *config = open_memstream(&text, &size);

    if (!config)
        die(STATUS_FAILED, "out of memory");
    for (char **arg = options->argv; *arg; arg++)
        fprintf(config, "arg=%s%c", *arg, 0);
    fprintf(config, "exec=%s%c", executable, 0);
    for (size_t i = 0; i < options->environment.count; i++)
        fprintf(config, "env=%s%c", options->environment.item[i], 0);
    fprintf(config, "cwd=%s%chostname=%s%c", options->directory, 0, options->hostname, 0);
    fprintf(config, "stdin=%s%cstdout=%s%cstderr=%s%c", stdio->in, 0, stdio->out, 0, stdio->error, 0);
    if (stdio->rows > 0)
        fprintf(config, "winsize=%ux%u%c", stdio->rows, stdio->columns, 0);
    if (initrd->root->kind == ROOT_IMAGE)
        fprintf(config, "root=erofs %s%c", initrd->root->source, 0);
    if (options->detach) /* somebody waits for it */
        fprintf(config, "report=start%c", 0);
    if (options->user_ids)
        fprintf(config, "user=%s%c", options->user_ids, 0);
    if (options->read_only)
        fprintf(config, "read-only=1%c", 0);
    mounts_config(&options->mounts, has_disk, config);
    network_config(&options->network, config);
    if (fclose(config) != 0)
        die(STATUS_FAILED, "out of memory");

    struct cpio_member member = {
        .path = ".knarr/config", .ino = ++initrd->last_ino, .mode = S_IFREG | 0600, .nlink = 1, .size = size};
    cpio_add(&initrd->cpio, &member, text);
    free(text);
}

/* A small image lies behind the archive, from the next page on. */
static void add_image(struct initrd *initrd) {
    uint64_t at = (initrd->cpio.offset + CPIO_ALIGN - 1) / CPIO_ALIGN * CPIO_ALIGN;
    off_t from = 0;

    if (lseek(initrd->fd, (off_t)at, SEEK_SET) < 0)
        die(STATUS_FAILED, "cannot write the initrd: %s", strerror(errno));
    while ((uint64_t)from < initrd->root->size) {
        if (sendfile(initrd->fd, initrd->root->fd, &from, initrd->root->size - (uint64_t)from) <= 0)
            die(STATUS_FAILED, "cannot write the initrd: %s", strerror(errno));
    }
}

int initrd_build(const struct run_options *options, const struct root *root, const struct stdio_kinds *stdio) {
    struct initrd initrd = {.fd = -1, .root = root};

    /* QEMU opens it through /proc/self/fd, so it stays open across exec. */
    initrd.fd = options->save_initrd ? open(options->save_initrd, O_RDWR | O_CREAT | O_TRUNC, 0666)
                                     : memfd_create("knarr-initrd", 0);
    if (initrd.fd < 0 || !(initrd.cpio.file = fdopen(initrd.fd, "w+")))
        die(STATUS_FAILED, "%s: %s", options->save_initrd ? options->save_initrd : "initrd", strerror(errno));
    setvbuf(initrd.cpio.file, NULL, _IOFBF, BUFFER);
    tree_node(&initrd.tree, "")->mode = S_IFDIR | 0755;

    if (root->kind == ROOT_CPIO) {
        root_from_archive(&initrd, root->fd, options->root);
    } else if (root->kind == ROOT_NONE) { /* nothing but the program: the one directory that any program may count on */
        struct cpio_member tmp = {.path = "tmp", .mode = S_IFDIR | 01777, .nlink = 2};
        initrd_begin(&initrd, &tmp, NULL);
        if (options->network.count > 0) { /* where the kernel writes what resolvers read */
            struct cpio_member etc = {.path = "etc", .mode = S_IFDIR | 0755, .nlink = 2};
            initrd_begin(&initrd, &etc, NULL);
        }
    }
    char *executable = program_find(&initrd, options);
    add_config(&initrd, options, stdio, executable);
    free(executable);
    if (!cpio_end(&initrd.cpio))
        die(STATUS_FAILED, "cannot write the initrd: %s", strerror(errno));
    if (root->kind == ROOT_IMAGE && !root->is_disk)
        add_image(&initrd);
    return initrd.fd; /* the stream on it stays open: closing it would close the descriptor */
}

int initrd_of_program(const struct run_options *options, char **path) {
    static const struct root none = {.fd = -1};
    struct initrd initrd = {.root = &none, .fd = memfd_create("knarr-root", MFD_CLOEXEC)};
    static const char *const directories[] = {"dev", "etc", "proc", "sys", "tmp"};

    if (initrd.fd < 0 || !(initrd.cpio.file = fdopen(initrd.fd, "w+")))
        die(STATUS_FAILED, "a temporary file: %s", strerror(errno));
    tree_node(&initrd.tree, "")->mode = S_IFDIR | 0755;
    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
        bool is_tmp = strcmp(directories[i], "tmp") == 0;
        struct cpio_member member = {.path = directories[i], .mode = S_IFDIR | (is_tmp ? 01777 : 0755), .nlink = 2};
        initrd_begin(&initrd, &member, NULL);
    }
    *path = program_find(&initrd, options);
    if (!cpio_end(&initrd.cpio))
        die(STATUS_FAILED, "a temporary file: %s", strerror(errno));
    return initrd.fd;
}
