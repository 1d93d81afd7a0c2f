/*
 * Builds the initrd: .knarr/config, which says what to run (docs/boot-protocol.md), and what of the guest's root filesystem does not
 * come from a disk. It lies in memory (memfd), so nothing is left behind however knarr ends.
 */
#pragma once

#include "tools/cpio.h"
#include "tools/options.h"
#include "tools/root.h"
#include "tools/tree.h"

struct initrd {
    struct cpio cpio;
    struct tree tree;
    const struct root *root;
    int fd;
    uint32_t last_ino;
};

/* How the program's standard streams are connected, and the terminal's size. */
struct stdio_kinds {
    const char *in, *out, *error; /* "tty", "stream", "null" */
    unsigned rows, columns;       /* 0: unknown */
};

/* The whole: root, program, configuration. Returns the file descriptor. Dies with the right status when it cannot. */
int initrd_build(const struct run_options *options, const struct root *root, const struct stdio_kinds *stdio);

/*
 * The program options->argv[0] of the host with its libraries, and no configuration: a cpio archive of a root. *path becomes the program's
 * path in it (allocated).
 */
int initrd_of_program(const struct run_options *options, char **path);

/*
 * Begins a member: member->path must be normalized; link is a symbolic link's target or NULL. Missing parent directories
 * are added. The caller writes member->size bytes of data and calls cpio_pad(). Gives it an inode number when it has none.
 */
struct node *initrd_begin(struct initrd *initrd, struct cpio_member *member, const char *link);

/* Adds a file with the bytes of fd, of which member->size are taken; host: its name in messages. */
struct node *initrd_copy(struct initrd *initrd, struct cpio_member *member, int fd, const char *host);

/* Adds another name of a regular file or symbolic link that was added before. */
void initrd_hardlink(struct initrd *initrd, const char *path, struct node *target);

/* Raises the count of names in the header that a file was written with: only then the guest expects more of them. */
void initrd_one_more_link(struct initrd *initrd, struct node *target);

/* rootarchive.c: fills the root from an archive (tools/archive.h); file is its name in messages. */
void root_from_archive(struct initrd *initrd, int fd, const char *file);

/* program.c: finds the program, adds it when it comes from the host. Returns its path in the guest. */
char *program_find(struct initrd *initrd, const struct run_options *options);
