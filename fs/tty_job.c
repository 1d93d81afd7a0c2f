// Job control: which session a terminal belongs to, which process group is in its foreground, and what happens to the others
// when they touch it. See credentials(7), setpgid(2), tty_ioctl(4).
// Locks: process_table_lock protects process.tty, tty.session and tty.foreground; signals are sent after it is released.
#include "fs/tty.h"
#include "fs/vfs.h"

#include "kernel/process/process.h"
#include <linux/capability.h>

// Lock held. A group is orphaned when nobody outside of it, but of its session, is the parent of a member: then nobody
// could ever continue it, so it is not stopped.
static bool group_orphaned(int pgid, int sid) {
    struct process *p;
    list_for_each (p, &process_list, all_link) {
        if (p->pgid == pgid && !p->zombie && p->parent && p->parent->pgid != pgid && p->parent->sid == sid)
            return false;
    }
    return true;
}

static bool ignored_or_blocked(int sig) {
    struct thread *t = thread_current();
    struct process *p = t->process;
    if (t->signal_mask & SIGMASK(sig))
        return true;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    bool ignored = p->handlers && p->handlers->action[sig - 1].handler == (uaddr_t)SIG_IGN;
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return ignored;
}

static int check(struct tty *t, int sig) {
    struct process *p = process_current();
    int pgid = READ_ONCE(p->pgid), foreground = READ_ONCE(t->foreground);
    if (likely(READ_ONCE(p->tty) != t || foreground == 0 || foreground == pgid)) // a hint; the usual case takes no lock
        return 0;
    if (ignored_or_blocked(sig))
        return sig == SIGTTIN ? -EIO : 0;
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    pgid = p->pgid;
    bool background = p->tty == t && t->foreground && t->foreground != pgid;
    bool orphaned = background && group_orphaned(pgid, p->sid);
    spin_unlock_irqrestore(&process_table_lock, flags);
    if (!background)
        return 0;
    if (orphaned)
        return -EIO;
    process_group_signal(pgid, sig, NULL);
    // The signal may have gone to another thread of this process; the restart of this call needs the slow way out.
    thread_add_work(thread_current(), WORK_SIGNAL);
    return -ERESTARTSYS;
}

int tty_check_read(struct tty *t) { return check(t, SIGTTIN); }
int tty_check_change(struct tty *t) { return check(t, SIGTTOU); }

void tty_signal_foreground(struct tty *t, int sig) {
    int pgid = READ_ONCE(t->foreground);
    if (pgid)
        process_group_signal(pgid, sig, NULL);
}

// Lock held. Takes the terminal away from all processes of its session; returns whether there was one (its reference is
// the caller's then). A child that fork(2) is still making is in the list since it has the terminal.
static bool detach_session(struct tty *t) {
    if (!t->session)
        return false;
    struct process *p;
    list_for_each (p, &process_list, all_link) {
        if (p->tty == t)
            p->tty = NULL;
    }
    t->session = 0;
    WRITE_ONCE(t->foreground, 0);
    return true;
}

// SIGHUP and SIGCONT to the foreground group, and the session is without a terminal. For the leader's end and TIOCNOTTY.
// The caller has a reference on the terminal, which may have become another session's meanwhile.
static void end_session(struct tty *t, int sid) {
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    int pgid = t->session == sid ? t->foreground : 0;
    bool was = t->session == sid && detach_session(t);
    spin_unlock_irqrestore(&process_table_lock, flags);
    if (pgid) {
        process_group_signal(pgid, SIGHUP, NULL);
        process_group_signal(pgid, SIGCONT, NULL);
    }
    if (was)
        tty_unref(t);
}

void tty_forget_session(struct tty *t) {
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    bool was = READ_ONCE(t->files) == 0 && detach_session(t); // who opens it now may have it for his session already
    spin_unlock_irqrestore(&process_table_lock, flags);
    if (was)
        tty_unref(t);
}

int tty_acquire(struct tty *t, bool steal) {
    struct process *p = process_current();
    bool may_steal = steal && capable(CAP_SYS_ADMIN);
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    int err = 0;
    bool stolen = false;
    if (p->sid == p->pid && t->session == p->sid && p->tty == t) {
        spin_unlock_irqrestore(&process_table_lock, flags);
        return 0;
    }
    if (p->sid != p->pid || p->tty)
        err = -EPERM;
    else if (t->session && !may_steal)
        err = -EPERM;
    else
        stolen = detach_session(t);
    if (err == 0) {
        t->session = p->sid;
        WRITE_ONCE(t->foreground, p->pgid);
        p->tty = tty_ref(t);
    }
    spin_unlock_irqrestore(&process_table_lock, flags);
    if (stolen)
        tty_unref(t);
    return err;
}

int tty_release_session(struct tty *t) {
    struct process *p = process_current();
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    bool mine = p->tty == t, leader = p->sid == p->pid;
    if (mine && !leader)
        p->tty = NULL;
    spin_unlock_irqrestore(&process_table_lock, flags);
    if (!mine)
        return -ENOTTY;
    if (leader)
        end_session(t, p->sid);
    return 0;
}

void tty_process_exit(struct process *p) {
    if (!READ_ONCE(p->tty)) // nobody gives it one any more
        return;
    uint64_t flags = spin_lock_irqsave(&process_table_lock); // a hang-up takes the session's reference away at any time
    struct tty *t = p->tty && p->sid == p->pid ? tty_ref(p->tty) : NULL;
    spin_unlock_irqrestore(&process_table_lock, flags);
    if (t) {
        end_session(t, p->sid);
        tty_unref(t);
    }
}

int tty_set_foreground(struct tty *t, int pgid) {
    struct process *self = process_current(), *p;
    if (pgid < 0)
        return -EINVAL;
    int err = -ESRCH;
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    if (self->tty != t || t->session != self->sid) {
        err = -ENOTTY;
    } else {
        list_for_each (p, &process_list, all_link) {
            if (p->pgid != pgid)
                continue;
            err = p->sid == self->sid ? 0 : -EPERM;
            break;
        }
    }
    if (err == 0)
        WRITE_ONCE(t->foreground, pgid);
    spin_unlock_irqrestore(&process_table_lock, flags);
    return err;
}

struct tty *tty_current(void) {
    struct process *p = process_current();
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    struct tty *t = p->tty ? tty_ref(p->tty) : NULL;
    spin_unlock_irqrestore(&process_table_lock, flags);
    return t;
}

// The session's leader is told; its end, if it does end, tells the foreground group (hangup_group). The session is without a terminal.
static void hang_up_session(struct tty *t) {
    struct process *p;
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    list_for_each (p, &process_list, all_link) {
        if (!t->session || p->pid != t->session)
            continue;
        p->hangup_group = t->foreground;
        signal_send_process(p, SIGHUP, NULL);
        signal_send_process(p, SIGCONT, NULL);
    }
    bool was = detach_session(t);
    spin_unlock_irqrestore(&process_table_lock, flags);
    if (was)
        tty_unref(t);
}

void tty_hangup(struct tty *t) {
    uint64_t flags = spin_lock_irqsave(&t->lock);
    t->hung_up = true;
    ldisc_flush_input(t);
    ldisc_flush_output(t);
    spin_unlock_irqrestore(&t->lock, flags);
    hang_up_session(t);
    waitq_wake_all(&t->read_wait);
    waitq_wake_all(&t->write_wait);
}
