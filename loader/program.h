// What to run, as records say (docs/boot-protocol.md): a program's arguments and environment, its user and directory. For the first
// program and for those that the host starts beside it.
#ifndef LOADER_PROGRAM_H
#define LOADER_PROGRAM_H

#include "loader/loader.h"

#define PROGRAM_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define STATUS_FAILED 125
#define STATUS_NOT_EXECUTABLE 126
#define STATUS_NOT_FOUND 127

struct program {
    char **argv, **envp; // arrays of the caller's, zeroed, with room for all records and a NULL; the strings are the caller's, too
    unsigned argc, envc;
    const char *exec, *cwd;
    bool has_user;
    uint32_t uid, gid;
    struct group_list *groups; // until program_become_user has taken them
};

// arg=, env=, exec=, cwd=, user=. 1: it was one of these, 0: it was not, -EINVAL, -ENOMEM.
int program_record(struct program *p, const char *name, char *value);
// The rest is done by the first thread of the new process, in this order; 0 or -errno.
int program_enter_directory(const struct program *p); // cwd=: made when it is missing, for the user
int program_own_stdio(const struct program *p);       // descriptors 0 to 2 belong to the user, so that he can open them again
int program_become_user(struct program *p);           // only root keeps capabilities
// Finds it as execvp(3) does, and loads it. `image` as loader_load.
int program_load(const struct program *p, struct exec_image *image);

int program_status(int err); // of program_load, as a shell's exit status
const char *program_error_text(int err); // errno in a person's words

#endif
