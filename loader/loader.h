// Programs: ELF files and #! scripts into an address space, with the initial stack that the ABI asks for.
#ifndef LOADER_LOADER_H
#define LOADER_LOADER_H

#include "kernel/types.h"

struct aspace;
struct file;

// Arguments and environment, in kernel memory, owned by the caller.
struct exec_args {
    char **argv, **envp; // NULL-terminated arrays
    unsigned argc, envc;
};
void exec_args_free(struct exec_args *a);

// What a new program starts with.
struct exec_image {
    struct aspace *aspace; // with everything mapped, stack filled in
    uaddr_t entry, stack;  // first RIP and RSP
    char path[4096];       // of the program itself (the script's interpreter for scripts): /proc/PID/exe
    struct file *file;     // the program's file, referenced: exe link
    char name[16];         // the last component, for PR_GET_NAME
};
// Builds a new address space for the program at `path`. Does not touch the current one. 0 or -errno: ENOENT, EACCES, ENOEXEC
// (malformed: the reason is in the log), ENOMEM, E2BIG, ELOOP. loader_image_release frees what is left of it.
int loader_load(int at, const char *path, unsigned lookup_flags, const struct exec_args *args, struct exec_image *out);
void loader_image_release(struct exec_image *img);
// Makes it the current process's (execve after the point of no return): swaps address spaces, resets signals and FPU, closes
// close-on-exec files, sets names. The caller then enters the application at entry/stack.
void loader_commit(struct exec_image *img);

// The vDSO's pages, mapped into a new address space. The address of its ELF header, or 0 when there is no memory.
uaddr_t vdso_map(struct aspace *as);
uaddr_t vdso_sigreturn(struct aspace *as); // where the restorer of signal frames is, for programs without SA_RESTORER

#endif
