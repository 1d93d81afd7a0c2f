// Programs: ELF files and #! scripts into an address space, with the initial stack that the ABI asks for.
#ifndef LOADER_LOADER_H
#define LOADER_LOADER_H

#include "kernel/process/credentials.h"
#include "kernel/types.h"

struct aspace;
struct file;

// Arguments and environment, in kernel memory, owned by the caller. argv and envp are kmalloc'ed arrays when
// exec_args_free is to free them, and their strings lie in the blocks of `blocks`, or anywhere that outlives the call.
struct exec_args {
    char **argv, **envp; // NULL-terminated arrays
    unsigned argc, envc;
    struct exec_block *blocks; // kmalloc'ed strings; NULL: none
};
struct exec_block {
    struct exec_block *next;
    char data[];
};
void exec_args_free(struct exec_args *a);

// What a new program starts with.
struct exec_image {
    struct aspace *aspace;   // with everything mapped, stack filled in
    uaddr_t entry, stack;    // first RIP and RSP
    char path[4096];         // of the program itself (the script's interpreter for scripts): /proc/PID/exe
    struct file *file;       // the program's file, referenced: exe link
    char name[16];           // the last component, for PR_GET_NAME
    struct credentials cred; // all but the groups
    bool secure;             // AT_SECURE: it can do more than who started it
    bool raised;             // its file gives it rights that who started it had not
    bool unreadable;         // who runs it may not read it: no core dumps
    bool denies_write;       // the file is counted as running
    const char *reason;      // of -ENOEXEC, in words; NULL: none known
};
// Builds a new address space for the program at `path`, with the limits and credentials of the current process. Does not
// touch the current address space. 0 or -errno: ENOENT, EACCES, ENOEXEC (malformed: the reason is in out->reason and in the
// log), ENOMEM, E2BIG, ELOOP. loader_image_release frees what is left of it; `out` needs no initialisation.
// A struct exec_image is too large for the kernel stack: kmalloc it.
int loader_load(int at, const char *path, unsigned lookup_flags, const struct exec_args *args, struct exec_image *out);
void loader_image_release(struct exec_image *img);
// Makes it the current process's (execve after the point of no return; the caller has ended the other threads): swaps
// address spaces, resets signals and FPU, closes close-on-exec files, sets names and credentials, and makes the current
// thread's frame start the program: the caller returns to the application, or calls context_enter_user(frame).
void loader_commit(struct exec_image *img);

// The vDSO's pages, mapped into a new address space. The address of its ELF header, or 0 when there is no memory.
uaddr_t vdso_map(struct aspace *as);
uaddr_t vdso_sigreturn(struct aspace *as); // where the restorer of signal frames is, for programs without SA_RESTORER

#endif
