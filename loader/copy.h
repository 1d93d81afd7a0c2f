// Files between the host and the program's root, as newc cpio archives (copy-out= and copy-in= of a session, docs/boot-protocol.md).
#ifndef LOADER_COPY_H
#define LOADER_COPY_H

#include "fs/file.h"

// What is copied now: for the person when it fails.
#define COPY_NAME 4096

// Writes `path`, with all below it when it is a directory, under its last name. `name` has room for COPY_NAME bytes. The current
// process is the one whose root and rights count; sleeps. 0 or -errno.
int copy_to_host(struct file *to, const char *path, char *name);

// Unpacks into the directory `dir`, in place of files that there are. The rest as above; what follows the archive is not read.
int copy_from_host(struct file *from, const char *dir, char *name);

#endif
