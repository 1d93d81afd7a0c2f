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

/* The dynamic linker that a program names must be in the guest too. */
static void check_interpreter(const struct initrd *initrd, const char *program, char *interpreter) {
    if (interpreter && !tree_lookup(&initrd->tree, interpreter)) {
        die(STATUS_NOT_FOUND, "%s: it is dynamically linked, and its linker %s is not in the guest (see --root)",
            program, interpreter);
    }
    free(interpreter);
}

static void check_in_root(struct initrd *initrd, const char *path, const struct node *node) {
    char *interpreter;

    if (S_ISDIR(node->mode))
        die(STATUS_NOT_EXECUTABLE, "%s: a directory in the root", path);
    if (!S_ISREG(node->mode))
        die(STATUS_NOT_EXECUTABLE, "%s: not a regular file in the root", path);
    if (!(node->mode & 0111))
        die(STATUS_NOT_EXECUTABLE, "%s: not executable in the root (its mode is %04o)", path, node->mode & 07777);
    fflush(initrd->cpio.file);
    const char *problem = elf_check(initrd->fd, node->data, node->size, &interpreter);
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

    if (strchr(program, '/')) {
        candidate = *program == '/' ? xstrdup(program) : xasprintf("%s/%s", options->directory, program);
        const struct node *node = tree_lookup(&initrd->tree, candidate);
        if (node) {
            check_in_root(initrd, candidate, node);
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
        const struct node *node = tree_lookup(&initrd->tree, candidate);
        if (node && S_ISREG(node->mode) && (node->mode & 0111)) {
            check_in_root(initrd, candidate, node);
            free(refused);
            return candidate;
        }
        if (node && !refused)
            refused = candidate;
        else
            free(candidate);
        search += length;
        search += *search == ':';
    }
    if (refused)
        check_in_root(initrd, refused, tree_lookup(&initrd->tree, refused)); /* does not return */
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
    const char *problem = elf_check(fd, 0, (uint64_t)status.st_size, &interpreter);
    if (problem)
        die(STATUS_NOT_EXECUTABLE, "%s: %s", program, problem);
    if (options->root) {
        check_interpreter(initrd, program, interpreter);
        interpreter = NULL;
    }

    char *copy = xstrdup(program);
    char *path = xasprintf("/%s", basename(copy));
    free(copy);
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

    return path ? path : take_from_host(initrd, options);
}
