/*
 * Finds out what --root names and makes an image of it; see the header. An image that is made here has no name, so it is gone with
 * the process, however that ends.
 */
#include "tools/root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/archive.h"
#include "tools/erofs/writer.h"

/*
 * Up to this size an image goes into the initrd. QEMU copies that into the guest's memory, where it stays: more than a small part of
 * it would be missed.
 */
enum { INITRD_MOST = 16 << 20, INITRD_PART = 4 };

static void use_image(struct root *root, const char *name) {
    const char *problem = erofs_open(&root->image, root->fd);

    if (problem)
        die(STATUS_FAILED, "--root %s: %s", name, problem);
    root->kind = ROOT_IMAGE;
    root->size = root->image.size;
    root->source = root->is_disk ? "/dev/vda" : "initrd";
}

static void pack(struct root *root, const struct run_options *options, bool is_directory) {
    struct erofs_tree *tree = erofs_tree_new();

    if (is_directory)
        erofs_add_directory(tree, options->root);
    else
        erofs_add_tar(tree, root->fd, options->root, false);
    uint64_t size = erofs_layout(tree);
    root->is_disk = size > INITRD_MOST || size > options->memory / INITRD_PART;
    root->fd = root->is_disk ? temporary_file() : memfd_create("knarr-root", MFD_CLOEXEC);
    if (root->fd < 0)
        die(STATUS_FAILED, "a temporary file: %s", strerror(errno));
    erofs_write(tree, root->fd, 0, "a temporary file for the root");
    erofs_tree_free(tree);
    fcntl(root->fd, F_SETFD, root->is_disk ? 0 : FD_CLOEXEC); /* QEMU opens it through /proc */
    root->path = xasprintf("/proc/self/fd/%d", root->fd);
    use_image(root, options->root);
}

struct root root_open(const struct run_options *options) {
    struct root root = {.fd = -1};
    struct stat status;

    if (!options->root)
        return root;
    if (stat(options->root, &status) != 0)
        die(STATUS_FAILED, "--root %s: %s", options->root, strerror(errno));
    if (S_ISDIR(status.st_mode)) {
        pack(&root, options, true);
        return root;
    }
    if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) {
        root.fd = open(options->root, O_RDONLY | O_CLOEXEC);
        if (root.fd < 0)
            die(STATUS_FAILED, "--root %s: %s", options->root, strerror(errno));
        if (erofs_is_image(root.fd)) {
            root.is_disk = true;
            root.path = realpath(options->root, NULL);
            if (!root.path)
                die(STATUS_FAILED, "--root %s: %s", options->root, strerror(errno));
            use_image(&root, options->root);
            return root;
        }
        close(root.fd);
    }
    root.fd = archive_open_input(options->root);
    if (archive_is_cpio(root.fd, options->root))
        root.kind = ROOT_CPIO;
    else
        pack(&root, options, false);
    return root;
}
