// The name of a core file: core(5), "Naming of core dump files".
#include "kernel/process/core.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include "kernel/uts.h"
#include "loader/core.h"

// A name within the name: no slashes, and neither "." nor "..".
static void put_escaped(struct seqbuf *s, const char *text, size_t max) {
    size_t start = s->len;
    for (size_t i = 0; i < max && text[i]; i++) {
        char c = text[i] == '/' ? '!' : text[i];
        if (i == 0 && c == '.' && (!text[1] || (text[1] == '.' && !text[2])))
            c = '!';
        seq_write(s, &c, 1);
    }
    if (s->len == start)
        seq_puts(s, "!");
}

static void put_conversion(struct seqbuf *s, char c, int sig) {
    const struct process *p = process_current();
    const struct thread *t = thread_current();
    const char *base = strrchr(p->exe, '/');
    struct new_utsname uts;
    switch (c) {
    case '%': seq_puts(s, "%"); break;
    case 'p':
    case 'P': seq_printf(s, "%d", p->pid); break;
    case 'i':
    case 'I': seq_printf(s, "%d", t->tid); break;
    case 'u': seq_printf(s, "%u", p->cred.uid); break;
    case 'g': seq_printf(s, "%u", p->cred.gid); break;
    case 'd': seq_printf(s, "%u", p->dumpable); break;
    case 's': seq_printf(s, "%d", sig); break;
    case 't': seq_printf(s, "%ld", (long)(time_realtime() / NSEC_PER_SEC)); break;
    case 'h':
        uts_get(&uts);
        put_escaped(s, uts.nodename, sizeof(uts.nodename));
        break;
    case 'e': put_escaped(s, t->name, sizeof(t->name)); break;
    case 'f': put_escaped(s, base ? base + 1 : p->exe, sizeof(p->exe)); break;
    case 'E': put_escaped(s, p->exe, sizeof(p->exe)); break;
    case 'c': seq_printf(s, "%lu", (unsigned long)p->limits[RLIMIT_CORE].rlim_cur); break;
    default: break; // unknown ones are dropped
    }
}

bool core_name(struct seqbuf *name, int sig) {
    char pattern[CORE_PATTERN_SIZE];
    bool has_pid = false;
    core_pattern_get(pattern);
    if (pattern[0] == '|')
        return true;
    for (const char *p = pattern; *p; p++) {
        if (*p != '%') {
            seq_write(name, p, 1);
        } else if (p[1]) {
            has_pid |= *++p == 'p';
            put_conversion(name, *p, sig);
        }
    }
    if (!has_pid && core_uses_pid)
        seq_printf(name, ".%d", process_current()->pid);
    seq_write(name, "", 1);
    return false;
}
