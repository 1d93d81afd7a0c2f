/*
 * Fills the guest's root from a cpio archive in any compression.
 */
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/archive.h"
#include "tools/initrd.h"

enum { BLOCK = 256 << 10 };

static void copy_data(struct initrd *initrd, struct archive *archive, const char *file, uint64_t size) {
    char *buffer = xmalloc(BLOCK);

    while (size > 0) {
        la_ssize_t got = lib.archive_read_data(archive, buffer, size < BLOCK ? size : BLOCK);
        if (got < 0)
            archive_fail(archive, file);
        if (got == 0)
            die(STATUS_FAILED, "%s: the archive ends early", file);
        cpio_data(&initrd->cpio, buffer, (size_t)got);
        size -= (uint64_t)got;
    }
    free(buffer);
}

/* Names of the file that came before its bytes: cpio(1) writes the bytes of a file with several names with the last one. */
static void share_data(const void *visited, VISIT order, void *late) {
    struct node *node = *(struct node *const *)visited;
    const struct node *last = late;

    if ((order == postorder || order == leaf) && node->ino == last->ino && node != last) {
        node->size = last->size;
        node->data = last->data;
    }
}

static void add_entry(struct initrd *initrd, struct archive *archive, struct archive_entry *entry, const char *file) {
    const char *name = lib.archive_entry_pathname(entry);
    const char *hardlink = lib.archive_entry_hardlink(entry);
    const char *link = lib.archive_entry_symlink(entry);
    char *path = name ? path_normalize(name) : NULL;

    if (!path)
        die(STATUS_FAILED, "%s: %s: the name leads out of the root", file, name ? name : "(unreadable)");
    if (*path == '\0' || strcmp(path, ".knarr") == 0 || strncmp(path, ".knarr/", 7) == 0) {
        free(path);
        return;
    }

    char *target = hardlink ? path_normalize(hardlink) : NULL;
    struct node *first = target ? tree_find(&initrd->tree, target) : NULL;
    free(target);
    if (hardlink && lib.archive_entry_size(entry) == 0) {
        if (!first || (!S_ISREG(first->mode) && !S_ISLNK(first->mode)))
            die(STATUS_FAILED, "%s: %s: a hard link to %s, which is not a file of the archive", file, name, hardlink);
        initrd_hardlink(initrd, path, first);
        free(path);
        return;
    }

    struct cpio_member member = {
        .path = path,
        .mode = lib.archive_entry_mode(entry),
        .uid = (uint32_t)lib.archive_entry_uid(entry),
        .gid = (uint32_t)lib.archive_entry_gid(entry),
        .nlink = 1,
        .mtime = (uint32_t)lib.archive_entry_mtime(entry),
    };
    if (S_ISREG(member.mode)) {
        member.size = (uint64_t)lib.archive_entry_size(entry);
    } else if (S_ISLNK(member.mode)) {
        link = link ? link : "";
        member.size = strlen(link);
    } else if (S_ISCHR(member.mode) || S_ISBLK(member.mode)) {
        member.rdev_major = (uint32_t)lib.archive_entry_rdevmajor(entry);
        member.rdev_minor = (uint32_t)lib.archive_entry_rdevminor(entry);
    }
    if (first && (!S_ISREG(first->mode) || !S_ISREG(member.mode)))
        first = NULL;
    if (first) {
        initrd_one_more_link(initrd, first);
        member.ino = first->ino;
        member.nlink = first->nlink;
    }
    struct node *node = initrd_begin(initrd, &member, link);
    if (first)
        twalk_r(initrd->tree.nodes, share_data, node);
    if (S_ISREG(member.mode))
        copy_data(initrd, archive, file, member.size);
    else if (member.size > 0)
        cpio_data(&initrd->cpio, link, member.size);
    cpio_pad(&initrd->cpio);
    free(path);
}

void root_from_archive(struct initrd *initrd, int fd, const char *file) {
    struct archive *archive = archive_start(fd, file);
    struct archive_entry *entry;

    while ((entry = archive_member(archive, file)))
        add_entry(initrd, archive, entry, file);
    lib.archive_read_free(archive);
}
