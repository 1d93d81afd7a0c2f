// See kernel/threads/rseq.h.
#include "kernel/threads/rseq.h"
#include "kernel/process/signal.h"
#include "kernel/memory/usercopy.h"
#include "kernel/x86/cpu.h"
#include <linux/rseq.h>

// Is the description of a critical section one? The word in front of its abort handler must be the thread's signature, so that
// nobody who can write into the application's memory can make it go on anywhere else.
static bool section_ok(const struct thread *t, const struct rseq_cs *cs)
{
    uint32_t signature;
    if (cs->start_ip >= USER_END || cs->post_commit_offset >= USER_END - cs->start_ip || cs->abort_ip >= USER_END)
        return false;
    if (cs->version || cs->flags || cs->abort_ip - cs->start_ip < cs->post_commit_offset)
        return false;
    return copy_in_obj(&signature, cs->abort_ip - sizeof signature) == 0 && signature == t->rseq_signature;
}

// Leaves the critical section that the thread is in, if any.
static bool abort_section(struct thread *t)
{
    const uint64_t none = 0;
    uint64_t at;
    uint32_t flags;
    struct rseq_cs cs;
    if (copy_in_obj(&at, t->rseq + offsetof(struct rseq, rseq_cs)) < 0)
        return false;
    if (!at)
        return true;
    if (copy_in_obj(&cs, at) < 0 || !section_ok(t, &cs))
        return false;
    bool inside = t->frame->rip - cs.start_ip < cs.post_commit_offset;
    if (inside && (copy_in_obj(&flags, t->rseq + offsetof(struct rseq, flags)) < 0 || flags))
        return false;
    if (copy_out_obj(t->rseq + offsetof(struct rseq, rseq_cs), &none) < 0)
        return false;
    if (inside)
        t->frame->rip = cs.abort_ip;
    return true;
}

bool rseq_return_to_user(void)
{
    struct thread *t = thread_current();
    atomic_and(&t->work, ~WORK_RSEQ);
    if (!t->rseq)
        return true;
    // Copying may sleep and end on another CPU: then the switch has set WORK_RSEQ again.
    t->rseq_cpu = (uint32_t)cpu_this()->id;
    const uint32_t cpu[2] = {t->rseq_cpu, t->rseq_cpu};
    _Static_assert(offsetof(struct rseq, cpu_id_start) == 0 && offsetof(struct rseq, cpu_id) == 4, "written as a pair");
    if (abort_section(t) && copy_out(t->rseq, cpu, sizeof cpu) == 0)
        return true;
    signal_fault(SIGSEGV, SI_KERNEL, 0, 0, 0);
    return false;
}
