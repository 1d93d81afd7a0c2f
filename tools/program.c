/*
 * Finds the program to run: in the guest's root first, by its path or along PATH, then on the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/elfcheck.h"
#include "tools/initrd.h"
#include "tools/libraries.h"

/* A file of the guest's root, wherever that lies. */
struct found {
    uint32_t mode;
    uint64_t size, data;
    struct erofs_file file;
};

static bool look_up(const struct initrd *initrd, const char *path, struct found *found) {
    if (initrd->root->kind == ROOT_IMAGE) {
        if (!erofs_lookup(&initrd->root->image, path, &found->file))
            return false;
        found->mode = found->file.mode;
        found->size = found->file.size;
        return true;
    }
    const struct node *node = tree_lookup(&initrd->tree, path);
    if (!node)
        return false;
    found->mode = node->mode;
    found->size = node->size;
    found->data = node->data;
    return true;
}

/* What is wrong with a program in the root, or NULL. */
static const char *check_file(const struct initrd *initrd, const struct found *found, char **interpreter) {
    char *head = xmalloc(ELF_HEAD);
    size_t size = found->size < ELF_HEAD ? found->size : ELF_HEAD;
    ssize_t length = initrd->root->kind == ROOT_IMAGE ? erofs_read(&initrd->root->image, &found->file, head, size, 0)
                                                      : pread(initrd->fd, head, size, (off_t)found->data);

    *interpreter = NULL;
    const char *problem = length < 0 ? "it cannot be read" : elf_check(head, (size_t)length, found->size, interpreter);
    free(head);
    return problem;
}

/* The dynamic linker that a program names must be in the guest too. */
static void check_interpreter(const struct initrd *initrd, const char *program, char *interpreter) {
    struct found found;

    if (interpreter && !look_up(initrd, interpreter, &found)) {
        die(STATUS_NOT_FOUND, "%s: it is dynamically linked, and its linker %s is not in the guest (see --root)",
            program, interpreter);
    }
    free(interpreter);
}

static void check_in_root(struct initrd *initrd, const char *path, const struct found *found) {
    char *interpreter;

    if (S_ISDIR(found->mode))
        die(STATUS_NOT_EXECUTABLE, "%s: a directory in the root", path);
    if (!S_ISREG(found->mode))
        die(STATUS_NOT_EXECUTABLE, "%s: not a regular file in the root", path);
    if (!(found->mode & 0111))
        die(STATUS_NOT_EXECUTABLE, "%s: not executable in the root (its mode is %04o)", path, found->mode & 07777);
    fflush(initrd->cpio.file);
    const char *problem = check_file(initrd, found, &interpreter);
    if (problem)
        die(STATUS_NOT_EXECUTABLE, "%s in the root: %s", path, problem);
    check_interpreter(initrd, path, interpreter);
}

/* The path in the root, or NULL when it is not there. */
static char *find_in_root(struct initrd *initrd, const struct run_options *options) {
    const char *program = options->argv[0];
    const char *search = environment_get(&options->environment, "PATH");
    char *candidate;
    char *refused = NULL;
    struct found found;

    if (strchr(program, '/')) {
        candidate = *program == '/' ? xstrdup(program) : xasprintf("%s/%s", options->directory, program);
        if (look_up(initrd, candidate, &found)) {
            check_in_root(initrd, candidate, &found);
            return candidate;
        }
        free(candidate);
        return NULL;
    }

    while (search && *search != '\0') {
        size_t length = strcspn(search, ":");
        candidate = length > 0 && *search == '/'
                        ? xasprintf("%.*s/%s", (int)length, search, program)
                        : xasprintf("%s/%.*s/%s", options->directory, (int)length, search, program);
        bool exists = look_up(initrd, candidate, &found);
        if (exists && S_ISREG(found.mode) && (found.mode & 0111)) {
            check_in_root(initrd, candidate, &found);
            free(refused);
            return candidate;
        }
        if (exists && !refused)
            refused = candidate;
        else
            free(candidate);
        search += length;
        search += *search == ':';
    }
    if (refused && look_up(initrd, refused, &found))
        check_in_root(initrd, refused, &found); /* does not return */
    return NULL;
}

static char *take_from_host(struct initrd *initrd, const struct run_options *options) {
    const char *program = options->argv[0];
    struct stat status;
    char *interpreter;
    int fd = open(program, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        die(STATUS_NOT_FOUND, "%s: not found%s", program, options->root ? ", neither in the root nor on the host" : "");
    if (fd < 0)
        die(STATUS_NOT_EXECUTABLE, "%s: %s", program, strerror(errno));
    if (fstat(fd, &status) != 0)
        die(STATUS_FAILED, "%s: %s", program, strerror(errno));
    if (S_ISDIR(status.st_mode))
        die(STATUS_NOT_EXECUTABLE, "%s: a directory", program);
    if (!S_ISREG(status.st_mode))
        die(STATUS_NOT_EXECUTABLE, "%s: not a regular file", program);
    if (!(status.st_mode & 0111))
        die(STATUS_NOT_EXECUTABLE, "%s: not executable (its mode is %04o)", program, status.st_mode & 07777);
    char *head = xmalloc(ELF_HEAD);
    ssize_t length = pread(fd, head, ELF_HEAD, 0);
    if (length < 0)
        die(STATUS_NOT_EXECUTABLE, "%s: %s", program, strerror(errno));
    const char *problem = elf_check(head, (size_t)length, (uint64_t)status.st_size, &interpreter);
    free(head);
    if (problem)
        die(STATUS_NOT_EXECUTABLE, "%s: %s", program, problem);
    if (options->root) {
        check_interpreter(initrd, program, interpreter);
        interpreter = NULL;
    }

    char *copy = xstrdup(program);
    char *path = xasprintf("/%s", basename(copy));
    free(copy);
    struct found found;
    if (look_up(initrd, path, &found) && S_ISDIR(found.mode))
        die(STATUS_FAILED, "%s: the root has a directory %s", program, path);
    struct cpio_member member = {.path = path + 1,
                                 .mode = S_IFREG | (status.st_mode & 0777),
                                 .nlink = 1,
                                 .mtime = (uint32_t)status.st_mtime,
                                 .size = (uint64_t)status.st_size};
    initrd_copy(initrd, &member, fd, program);
    if (interpreter)
        libraries_add(initrd, options, program, fd, path, interpreter);
    free(interpreter);
    close(fd);
    return path;
}

char *program_find(struct initrd *initrd, const struct run_options *options) {
    char *path = options->root ? find_in_root(initrd, options) : NULL;

    if (!path && options->is_image)
        die(STATUS_NOT_FOUND, "%s: not found in the image", options->argv[0]);
    return path ? path : take_from_host(initrd, options);
}
