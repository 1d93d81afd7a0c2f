// /proc/PID: what is about the memory of a process: maps, smaps, smaps_rollup, statm, cmdline, environ, auxv.
#include "fs/procfs.h"
#include "kernel/memory/aspace.h"

static bool emit_map(void *ctx, const struct vma_info *v) {
    struct seqbuf *s = ctx;
    size_t start = s->len;
    seq_printf(s, "%08lx-%08lx %c%c%c%c %08lx %02x:%02x %lu ", v->start, v->end, v->prot & PROT_READ ? 'r' : '-',
               v->prot & PROT_WRITE ? 'w' : '-', v->prot & PROT_EXEC ? 'x' : '-', v->flags & MAP_SHARED ? 's' : 'p',
               v->offset, DEV_MAJOR(v->dev), DEV_MINOR(v->dev), v->ino);
    if (v->name[0]) {
        while (s->len - start < 73 && !s->failed)
            seq_write(s, " ", 1);
        seq_escaped(s, v->name, "\n");
    }
    seq_write(s, "\n", 1);
    return !s->failed;
}

int proc_show_maps(struct seqbuf *s, struct proc_ref *r) {
    struct aspace *as = process_aspace_ref(r->process);
    if (as) {
        aspace_each(as, emit_map, s);
        aspace_unref(as);
    }
    return 0;
}

struct smaps {
    struct seqbuf *s;
    struct aspace *as;
};

static void print_usage(struct seqbuf *s, const struct aspace_usage *u) {
    unsigned long kb = PAGE_SIZE / 1024, resident = u->resident * kb, shared = u->shared * kb;
    seq_printf(s,
               "Rss:            %8lu kB\nPss:            %8lu kB\nShared_Clean:   %8lu kB\nShared_Dirty:   %8lu kB\n"
               "Private_Clean:  %8lu kB\nPrivate_Dirty:  %8lu kB\nReferenced:     %8lu kB\nAnonymous:      %8lu kB\n"
               "AnonHugePages:  %8lu kB\nSwap:           %8u kB\nLocked:         %8u kB\n",
               resident, resident, shared, 0ul, 0ul, resident - shared, resident, u->anonymous * kb, u->huge * kb, 0,
               0);
}

static bool emit_smap(void *ctx, const struct vma_info *v) {
    struct smaps *m = ctx;
    struct aspace_usage u;
    emit_map(m->s, v);
    aspace_usage(m->as, v->start, v->end, &u);
    seq_printf(m->s, "Size:           %8lu kB\nKernelPageSize: %8u kB\nMMUPageSize:    %8u kB\n",
               (v->end - v->start) / 1024, 4, 4);
    print_usage(m->s, &u);
    return !m->s->failed;
}

int proc_show_smaps(struct seqbuf *s, struct proc_ref *r) {
    struct smaps m = {s, process_aspace_ref(r->process)};
    if (m.as) {
        aspace_each(m.as, emit_smap, &m);
        aspace_unref(m.as);
    }
    return 0;
}

int proc_show_smaps_rollup(struct seqbuf *s, struct proc_ref *r) {
    struct aspace *as = process_aspace_ref(r->process);
    if (!as)
        return -ESRCH;
    struct aspace_usage u;
    aspace_usage(as, 0, USER_END, &u);
    seq_printf(s, "%08lx-%08lx ---p 00000000 00:00 0 ", 0ul, (unsigned long)USER_END);
    for (int i = 0; i < 18; i++)
        seq_puts(s, " ");
    seq_puts(s, "[rollup]\n");
    print_usage(s, &u);
    aspace_unref(as);
    return 0;
}

static int copy_from_program(struct seqbuf *s, struct process *p, bool environment) {
    struct aspace *as = process_aspace_ref(p);
    if (!as)
        return 0;
    uaddr_t at = environment ? as->env_start : as->arg_start, end = environment ? as->env_end : as->arg_end;
    while (at < end) {
        size_t n = MIN(end - at, PAGE_SIZE);
        char *to = seq_reserve(s, n);
        long got = to ? aspace_access(as, at, to, n, false, true) : -ENOMEM;
        if (got <= 0)
            break;
        s->len += got;
        at += got;
    }
    aspace_unref(as);
    return 0;
}

int proc_show_cmdline(struct seqbuf *s, struct proc_ref *r) { return copy_from_program(s, r->process, false); }

int proc_show_environ(struct seqbuf *s, struct proc_ref *r) { return copy_from_program(s, r->process, true); }

int proc_show_auxv(struct seqbuf *s, struct proc_ref *r) {
    struct aspace *as = process_aspace_ref(r->process);
    if (as) {
        seq_write(s, as->auxv, as->auxv_words * sizeof(as->auxv[0]));
        aspace_unref(as);
    }
    return 0;
}

int proc_show_statm(struct seqbuf *s, struct proc_ref *r) {
    struct aspace *as = process_aspace_ref(r->process);
    unsigned long text = 0;
    if (!as) {
        seq_puts(s, "0 0 0 0 0 0 0\n");
        return 0;
    }
    text = DIV_ROUND_UP(as->code_end - as->code_start, PAGE_SIZE);
    seq_printf(s, "%lu %lu 0 %lu 0 %lu 0\n", as->mapped_pages, as->resident_pages, text,
               as->data_pages + as->stack_pages);
    aspace_unref(as);
    return 0;
}
