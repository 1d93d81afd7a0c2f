// Signals: the queues of what is pending, the handlers, the masks.
// Lock: process.signal_lock protects all of it, the thread's own mask excepted, which only the thread itself changes.
#include "kernel/process/signal_mask.h"
#include "kernel/process/posix_timer.h"
#include "kernel/process/process.h"
#include "kernel/threads/sched.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"

struct queued_signal {
    struct list link;
    int sig;
    struct signal_info_words info;
};
_Static_assert(offsetof(siginfo_t, si_code) == 8, "words[1]");

static struct slab_cache queued_cache = SLAB_CACHE("signal", sizeof(struct queued_signal), 16);
static struct slab_cache handlers_cache = SLAB_CACHE("handlers", sizeof(struct signal_handlers), 16);

enum signal_default signal_default_action(int sig)
{
    switch (sig) {
    case SIGCHLD:
    case SIGURG:
    case SIGWINCH:
        return SIGNAL_IGNORE;
    case SIGCONT:
        return SIGNAL_CONTINUE;
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
        return SIGNAL_STOP;
    case SIGQUIT:
    case SIGILL:
    case SIGTRAP:
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGSEGV:
    case SIGXCPU:
    case SIGXFSZ:
    case SIGSYS:
        return SIGNAL_CORE;
    default:
        return SIGNAL_TERMINATE;
    }
}

// --- Queues ---

void signal_queue_init(struct signal_queue *q)
{
    q->set = 0;
    list_init(&q->entries);
}

static struct queued_signal *entry_alloc(struct process *p)
{
    struct queued_signal *s = p->spare_signal;
    p->spare_signal = NULL;
    p->queued_signals++;
    if (!s && !(s = slab_alloc(&queued_cache)))
        p->queued_signals--;
    return s;
}

static void entry_free(struct process *p, struct queued_signal *s)
{
    list_remove(&s->link);
    p->queued_signals--;
    if (!p->spare_signal)
        p->spare_signal = s;
    else
        slab_free(&queued_cache, s);
}

void signal_forget_spare(struct process *p)
{
    slab_free(&queued_cache, p->spare_signal);
    p->spare_signal = NULL;
}

void signal_queue_flush(struct signal_queue *q)
{
    q->set = 0;
    while (!list_empty(&q->entries)) {
        struct queued_signal *s = list_first(&q->entries, struct queued_signal, link);
        list_remove(&s->link);
        slab_free(&queued_cache, s);
    }
}

void signal_queue_discard(struct process *p, struct signal_queue *q, uint64_t set)
{
    struct queued_signal *s, *tmp;
    if (!(q->set & set))
        return;
    q->set &= ~set;
    list_for_each_safe(s, tmp, &q->entries, link) {
        if (SIGMASK(s->sig) & set)
            entry_free(p, s);
    }
}

int signal_queue_add(struct process *p, struct signal_queue *q, int sig, const siginfo_t *info, bool must_queue)
{
    bool realtime = sig >= SIGRTMIN;
    if (!realtime && (q->set & SIGMASK(sig)))
        return 0;
    struct queued_signal *s = NULL;
    // The kernel's own and kill(2)'s standard signals are not limited: each is there only once.
    bool limited = realtime || (info && info->si_code < 0 && info->si_code != SI_TIMER);
    if (!limited || p->queued_signals < p->limits[RLIMIT_SIGPENDING].rlim_cur)
        s = entry_alloc(p);
    if (!s && realtime && must_queue)
        return -EAGAIN;
    q->set |= SIGMASK(sig); // without an entry it arrives all the same, but says less
    if (!s)
        return 0;
    if (info)
        s->info = *(const struct signal_info_words *)info;
    else
        s->info = (struct signal_info_words){.words = {[1] = SI_KERNEL}};
    s->sig = sig;
    list_push_back(&q->entries, &s->link);
    return 0;
}

int signal_queue_take(struct process *p, struct signal_queue *q, uint64_t set, siginfo_t *info)
{
    uint64_t ready = q->set & set;
    if (!ready)
        return 0;
    if (ready & SIGMASK_SYNCHRONOUS)
        ready &= SIGMASK_SYNCHRONOUS;
    int sig = __builtin_ctzl(ready) + 1;
    struct queued_signal *s, *first = NULL;
    bool more = false;
    list_for_each(s, &q->entries, link) {
        if (s->sig != sig)
            continue;
        if (first) {
            more = true;
            break;
        }
        first = s;
    }
    if (!more)
        q->set &= ~SIGMASK(sig);
    if (!first) {
        signal_info_init(info, sig, SI_USER);
        return sig;
    }
    *(struct signal_info_words *)info = first->info;
    info->si_signo = sig;
    entry_free(p, first);
    return sig;
}

// --- Handlers ---

// Linux forgets the others too, so that a program can find out which are known: sigaction(2), SA_UNSUPPORTED.
#define SA_KNOWN                                                                                                        \
    (SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER | SA_RESETHAND | SA_EXPOSE_TAGBITS | SA_RESTORER)

struct signal_handlers *signal_handlers_create(void)
{
    struct signal_handlers *h = slab_zalloc(&handlers_cache); // SIG_DFL is 0
    if (h)
        h->refs = 1;
    return h;
}

struct signal_handlers *signal_handlers_copy(struct signal_handlers *from)
{
    struct signal_handlers *h = slab_alloc(&handlers_cache);
    if (h) {
        memcpy(h, from, sizeof *h);
        h->refs = 1;
    }
    return h;
}

void signal_handlers_unref(struct signal_handlers *h)
{
    if (h && atomic_sub(&h->refs, 1) == 1)
        slab_free(&handlers_cache, h);
}

void signal_reset_handlers_of(struct signal_handlers *h)
{
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        struct signal_action *a = &h->action[i];
        *a = (struct signal_action){.handler = a->handler == (uaddr_t)SIG_IGN ? a->handler : 0};
    }
}

void signal_reset_handlers(struct process *p)
{
    struct signal_handlers *old = p->handlers, *new = NULL;
    if (READ_ONCE(old->refs) > 1)
        new = signal_handlers_copy(old); // without memory the sharing goes on: no worse than clone asked for
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    if (new)
        p->handlers = new;
    signal_reset_handlers_of(p->handlers);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    if (new)
        signal_handlers_unref(old);
    struct thread *t = thread_current();
    t->alt_stack = t->alt_stack_size = 0;
    t->alt_stack_flags = 0;
}

long signal_set_action(int sig, const struct signal_action *new_action, struct signal_action *old)
{
    struct process *p = process_current();
    struct thread *t;
    if (sig < 1 || sig > SIGNAL_COUNT || (new_action && (SIGMASK(sig) & SIGMASK_UNBLOCKABLE)))
        return -EINVAL;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    struct signal_action *a = &p->handlers->action[sig - 1];
    if (old)
        *old = *a;
    if (new_action) {
        *a = *new_action;
        a->flags &= SA_KNOWN;
        a->mask &= ~SIGMASK_UNBLOCKABLE;
        enum signal_default d = signal_default_action(sig);
        // What is pending and ignored from now on is forgotten (POSIX, 2.4.1).
        if (a->handler == (uaddr_t)SIG_IGN ||
            (a->handler == (uaddr_t)SIG_DFL && (d == SIGNAL_IGNORE || d == SIGNAL_CONTINUE))) {
            signal_queue_discard(p, &p->pending, SIGMASK(sig));
            list_for_each(t, &p->threads, process_link)
                signal_queue_discard(p, &t->pending, SIGMASK(sig));
        }
    }
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return 0;
}

// --- Masks of the current thread ---

// Without the lock: a signal that is sent now sees the new mask, and one that somebody else takes now leaves work for nothing.
void signal_mask_changed(struct thread *t, uint64_t newly)
{
    struct process *p = t->process;
    if ((READ_ONCE(t->pending.set) | READ_ONCE(p->pending.set)) & ~t->signal_mask)
        atomic_or(&t->work, WORK_SIGNAL);
    // Signals of the process that this thread was woken for and does not take any more: somebody else has to.
    if (unlikely(newly & READ_ONCE(p->pending.set)) && READ_ONCE(p->thread_count) > 1) {
        uint64_t flags = spin_lock_irqsave(&p->signal_lock);
        signal_wake_any(p);
        spin_unlock_irqrestore(&p->signal_lock, flags);
    }
}

bool thread_signal_pending_slow(void)
{
    struct thread *t = thread_current();
    if (READ_ONCE(t->work) & (WORK_EXIT | WORK_STOP))
        return true;
    struct process *p = t->process;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    bool pending = ((t->pending.set | p->pending.set) & ~t->signal_mask) || p->continue_untold;
    if (!pending) // taken by another thread meanwhile, or blocked
        atomic_and(&t->work, ~WORK_SIGNAL);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return pending;
}

int signal_take(uint64_t set, siginfo_t *info)
{
    struct thread *t = thread_current();
    struct process *p = t->process;
    set &= ~SIGMASK_UNBLOCKABLE;
    if (!((READ_ONCE(t->pending.set) | READ_ONCE(p->pending.set)) & set))
        return 0;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    int sig = signal_queue_take(p, &t->pending, set, info);
    if (!sig)
        sig = signal_queue_take(p, &p->pending, set, info);
    if (sig && info->si_code == SI_TIMER)
        posix_timer_delivered(p, info);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    signal_info_complete(info);
    return sig;
}

uint64_t signal_pending_set(void)
{
    struct thread *t = thread_current();
    return (READ_ONCE(t->pending.set) | READ_ONCE(t->process->pending.set)) & t->signal_mask;
}
