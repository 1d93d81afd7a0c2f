// The point of no return of execve(2): the program that loader_load built takes the place of the current one. Nothing here
// can fail, so nobody is ever killed for want of memory halfway.
#include "fs/vfs.h"
#include "kernel/threads/futex.h"
#include "kernel/process/core.h"
#include "kernel/process/posix_timer.h"
#include "kernel/process/process.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/memory/usercopy.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/vectors.h"
#include "loader/core.h"
#include "loader/loader.h"

static void commit_credentials(struct process *p, struct thread *t, const struct exec_image *img) {
    bool plain = p->cred.uid == p->cred.euid && p->cred.gid == p->cred.egid && !img->unreadable;
    p->dumpable = plain ? 1 : suid_dumpable;
    credentials_commit(&img->cred);
    if (img->secure)
        t->parent_death_signal = 0;
    if (img->raised)
        p->personality = 0; // who gets rights by his file does not have its surroundings chosen by others
}

static void commit_names(struct process *p, struct thread *t, const struct exec_image *img) {
    str_copy(t->name, img->name, sizeof(t->name));
    str_copy(p->exe, img->path, sizeof(p->exe));
    struct path *exe = kmalloc(sizeof(*exe));
    if (exe) {
        *exe = img->file->path;
        path_ref(exe);
        inode_deny_write(img->file->inode); // the image has it already: this cannot fail
    }
    uint64_t flags = spin_lock_irqsave(&p->signal_lock); // procfs looks at other processes under it
    struct path *old = p->exe_path;
    p->exe_path = exe;
    spin_unlock_irqrestore(&p->signal_lock, flags);
    if (old) {
        inode_allow_write(path_inode(old));
        path_unref(old);
        kfree(old);
    }
}

static void swap_aspace(struct process *p, struct aspace *new) {
    uint64_t flags = spin_lock_irqsave(&p->signal_lock); // the same
    struct aspace *old = p->aspace;
    p->aspace = new;
    aspace_activate(new);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    process_vfork_done(p);
    if (old)
        aspace_unref(old);
}

static void start_frame(struct trapframe *f, const struct exec_image *img) {
    *f = (struct trapframe){
        .vector = f->vector,
        .error_code = f->error_code,
        .rip = img->entry,
        .rsp = img->stack,
        .cs = USER_CS,
        .ss = USER_SS,
        .rflags = RFLAGS_IF | 2,
    };
}

void loader_commit(struct exec_image *img) {
    struct thread *t = thread_current();
    struct process *p = t->process;

    // The old program's last words: its thread's lock list and the word that its end would have cleared.
    futex_exit(t, false);
    if (t->clear_tid && p->aspace && READ_ONCE(p->aspace->refs) > 1) {
        const uint32_t zero = 0;
        if (copy_out_obj(t->clear_tid, &zero) == 0)
            futex_wake(t->clear_tid, 1, ~0u, true);
    }
    t->clear_tid = t->robust_list = t->robust_len = t->rseq = 0;

    img->aspace->no_huge = p->aspace && p->aspace->no_huge;
    swap_aspace(p, img->aspace);
    img->aspace = NULL;
    signal_reset_handlers(p);
    posix_timers_release(p);
    t->alt_stack = t->alt_stack_size = 0; // none
    t->alt_stack_flags = 0;
    context_reset_fpu(t);
    arch_set_fs_base(0);
    arch_set_gs_base(0);

    p->did_exec = true; // before the parent may notice: a descriptor closes
    if (p->files)
        file_table_close_on_exec(p->files);
    commit_credentials(p, t, img);
    commit_names(p, t, img);
    p->exit_signal = SIGCHLD;
    core_write_hook = core_write;
    start_frame(t->frame, img);
    loader_image_release(img);
}
