/*
 * The shared libraries of a dynamically linked program of the host: found as its dynamic linker would find them, without
 * running anything, and put into the guest's root where that linker will look for them.
 */
#pragma once

#include "tools/initrd.h"

/* Where libraries are looked for, and who is told. */
struct library_search {
    const struct strings *environment; /* LD_LIBRARY_PATH, LD_PRELOAD */
    const char *directory;             /* the program's working directory */
    void *context;                     /* of the functions */
    /* A descriptor of the file, or -1; each call on one file gives the same inode. NULL: files of the host. */
    int (*open)(void *context, const char *path);
    /* Each file once; fd is closed afterwards, or -1: a file of the dynamic linker's own. same: a file of the same inode came before. */
    void (*found)(void *context, const char *host, const char *guest, int fd, const char *same);
    /* loader: the library that needs it, NULL: the program. */
    void (*missing)(void *context, const char *name, const char *loader);
};

/*
 * Finds the dynamic linker and the libraries that a program (in fd) needs at its start. 0, or an exit status with what is wrong with
 * the program itself in *problem.
 */
int libraries_find(const struct library_search *search, const char *program, int fd, const char *guest,
                   const char *interpreter, const char **problem);

/*
 * Adds the dynamic linker and every library that the program (in fd; `program` is its path on the host, `guest` the one
 * in the guest) needs at its start. Those that it would load later, with dlopen(3), are not known here. Dies with
 * STATUS_NOT_FOUND when one is missing.
 */
void libraries_add(struct initrd *initrd, const struct run_options *options, const char *program, int fd,
                   const char *guest, const char *interpreter);
