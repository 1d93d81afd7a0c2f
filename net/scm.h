// What travels with a message besides its bytes: open files (SCM_RIGHTS) and the sender's credentials (SCM_CREDENTIALS), see unix(7).
#ifndef NET_SCM_H
#define NET_SCM_H

#include "net/socket.h"

#define SCM_FILES_MAX 253

struct scm_files {
    struct scm_files *next; // in a list of those that are to be closed
    uint32_t uid;           // in flight: against whose limit they count
    bool in_flight;         // between inflight_attach and inflight_detach (net/unix.h)
    unsigned count;
    struct file *files[]; // referenced
};

struct scm_credentials {
    int pid; // 0: not known
    uint32_t uid, gid;
};
#define SCM_NOBODY ((struct scm_credentials){0, ~0u, ~0u})

struct scm {
    struct scm_files *files; // NULL: none
    struct scm_credentials cred;
};

// The control messages of a sendmsg(2). 0, or -EINVAL, -EBADF, -EPERM, -ESRCH, -ENOMEM, and then nothing is held.
int scm_parse(const struct socket_message *m, struct scm *out);
struct scm_credentials scm_current(void); // pid, uid and gid of the current process
static inline bool scm_same(const struct scm_credentials *a, const struct scm_credentials *b) {
    return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}
// Gives the application what came with a message: credentials if `cred` (SO_PASSCRED), descriptors for the files as far as there is
// room. Takes over scm->files. `m` NULL: a plain read, the files are closed. flags: MSG_CMSG_CLOEXEC.
void scm_deliver(struct socket_message *m, struct scm *scm, bool cred, int flags);
struct scm_files *scm_files_copy(const struct scm_files *from); // for MSG_PEEK; NULL: no memory
void scm_files_drop(struct scm_files *f);                       // closes them. NULL is allowed. No lock held
// For unix_collect. scm_files_close closes a list of them, and all that comes to be closed by it; true: a socket was among these.
bool scm_files_close(struct scm_files *list);
bool scm_defer_collect(void); // is the current thread closing files? Then it collects when it is done

#endif
