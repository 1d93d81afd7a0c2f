// The notes of a core file, in Linux' order: the thread that died first, with what is said of the whole process behind its
// registers, then the others.
#include "kernel/memory/aspace.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/fpu.h"
#include "loader/core.h"
#include <linux/elf.h>

#define FROM_SYSCALL (~0UL)
#define XCR0_OFFSET 464 // where debuggers look for XCR0 in the FPU's area

struct timeval64 {
    int64_t sec, usec;
};
struct prstatus {
    int32_t signo, code, error;
    int16_t cursig;
    uint64_t sigpend, sighold;
    int32_t pid, ppid, pgrp, sid;
    struct timeval64 user, system, children_user, children_system;
    uint64_t reg[27]; // struct user_regs_struct
    int32_t fpvalid;
};
struct prpsinfo {
    char state, sname, zomb, nice;
    uint64_t flag;
    uint32_t uid, gid;
    int32_t pid, ppid, pgrp, sid;
    char fname[16], psargs[80];
};
_Static_assert(sizeof(struct prstatus) == 336 && sizeof(struct prpsinfo) == 136, "struct elf_prstatus, elf_prpsinfo");

static void put_padding(struct seqbuf *s) { seq_write(s, "\0\0\0", -s->len % 4); }

static void put_header(struct seqbuf *s, const char *owner, uint32_t type, size_t size) {
    Elf64_Nhdr h = {.n_namesz = (uint32_t)strlen(owner) + 1, .n_descsz = (uint32_t)size, .n_type = type};
    seq_write(s, &h, sizeof(h));
    seq_write(s, owner, h.n_namesz);
    put_padding(s);
}

static void put_note(struct seqbuf *s, const char *owner, uint32_t type, const void *data, size_t size) {
    put_header(s, owner, type, size);
    seq_write(s, data, size);
    put_padding(s);
}

static struct timeval64 timeval(nsec_t ns) { return (struct timeval64){ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / 1000}; }

static int parent_pid(const struct process *p) { return p->parent ? p->parent->pid : 0; }

static void copy_registers(uint64_t reg[27], const struct thread *t) {
    const struct trapframe *f = t->frame;
    memcpy(reg, f, 15 * sizeof(*reg)); // r15 to rdi
    reg[15] = f->vector == FROM_SYSCALL ? f->error_code : ~0UL;
    reg[16] = f->rip;
    reg[17] = f->cs;
    reg[18] = f->rflags;
    reg[19] = f->rsp;
    reg[20] = f->ss;
    reg[21] = t->context.fs_base;
    reg[22] = t->context.gs_base; // ds, es, fs, gs: 0
}

static void put_status(struct seqbuf *s, struct thread *t, const struct core_image *image) {
    struct process *p = t->process;
    struct prstatus st = {.cursig = (int16_t)image->sig, .fpvalid = t->context.fpu != NULL};
    nsec_t user, system;
    thread_times(t, &user, &system);
    st.signo = image->sig;
    st.sigpend = t->pending.set;
    st.sighold = t->signal_mask;
    st.pid = t->tid;
    st.ppid = parent_pid(p);
    st.pgrp = p->pgid;
    st.sid = p->sid;
    st.user = timeval(user);
    st.system = timeval(system);
    st.children_user = timeval(p->children_user_ns);
    st.children_system = timeval(p->children_system_ns);
    copy_registers(st.reg, t);
    put_note(s, "CORE", NT_PRSTATUS, &st, sizeof(st));
}

static void put_fpu(struct seqbuf *s, const struct thread *t) {
    if (!t->context.fpu)
        return;
    put_note(s, "CORE", NT_PRFPREG, t->context.fpu, 512);
    if (!fpu_features)
        return;
    put_header(s, "LINUX", NT_X86_XSTATE, fpu_area_size);
    size_t at = s->len;
    seq_write(s, t->context.fpu, fpu_area_size);
    if (!s->failed)
        memcpy(s->data + at + XCR0_OFFSET, &fpu_features, sizeof(fpu_features));
    put_padding(s);
}

static void put_process(struct seqbuf *s, const struct thread *t) {
    struct process *p = t->process;
    struct aspace *as = p->aspace;
    struct prpsinfo ps = {.sname = 'R', .nice = t->nice, .uid = p->cred.uid, .gid = p->cred.gid, .pid = p->pid};
    ps.ppid = parent_pid(p);
    ps.pgrp = p->pgid;
    ps.sid = p->sid;
    memcpy(ps.fname, t->name, sizeof(ps.fname));
    size_t n = MIN(as->arg_end - as->arg_start, sizeof(ps.psargs) - 1);
    long got = n ? aspace_access(as, as->arg_start, ps.psargs, n, false, true) : 0;
    for (long i = 0; i < got; i++)
        if (!ps.psargs[i])
            ps.psargs[i] = ' ';
    put_note(s, "CORE", NT_PRPSINFO, &ps, sizeof(ps));
}

// The mapped files: how many, the size of a page, the ranges with their offsets in pages, and the names.
static void put_files(struct seqbuf *s, const struct core_image *image) {
    uint64_t head[2] = {image->file_count, PAGE_SIZE};
    if (!image->file_count)
        return;
    put_header(s, "CORE", NT_FILE, sizeof(head) + image->file_count * 3 * sizeof(uint64_t) + image->names.len);
    seq_write(s, head, sizeof(head));
    for (unsigned i = 0; i < image->count; i++) {
        const struct core_segment *g = &image->segments[i];
        uint64_t range[3] = {g->start, g->end, g->offset / PAGE_SIZE};
        if (g->file)
            seq_write(s, range, sizeof(range));
    }
    seq_write(s, image->names.data, image->names.len);
    put_padding(s);
}

void core_notes(struct seqbuf *s, const struct core_image *image) {
    struct thread *self = thread_current(), *t;
    struct process *p = self->process;
    siginfo_t info = *image->info;

    put_status(s, self, image);
    put_process(s, self);
    put_note(s, "CORE", NT_SIGINFO, &info, sizeof(info));
    put_note(s, "CORE", NT_AUXV, p->aspace->auxv, p->aspace->auxv_words * 8);
    put_files(s, image);
    put_fpu(s, self);
    for (int tid = 0; (t = process_next_thread(p, tid)); thread_unref(t)) {
        tid = t->tid + 1;
        if (t != self && t->frame) {
            put_status(s, t, image);
            put_fpu(s, t);
        }
        sched_point();
    }
}
