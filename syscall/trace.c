// The lines of trace=syscalls: name(arguments) = result, in the form of strace(1), one line a call, printed when the call is
// done. The arguments are read before the call, up to the first that the call fills in: execve's are gone afterwards.
#include "syscall/trace.h"
#include "kernel/log.h"
#include "kernel/process/process.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "syscall/syscall.h"
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/futex.h>

#define LINE_SIZE 960 // with the result; the log's lines are a little longer
#define RESULT_ROOM 100
#define RESULT_COLUMN 40

struct trace_line {
    uint64_t nr;
    unsigned next; // argument
    struct text text;
    char buf[LINE_SIZE];
};

void text_add(struct text *t, const char *fmt, ...) {
    va_list ap;
    size_t room = t->size - t->len;

    if (room <= 4) // it ends with "..."
        return;
    va_start(ap, fmt);
    int n = vsnprintf(t->buf + t->len, room, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    t->len += MIN((size_t)n, room - 1);
    if (t->size - t->len <= 4) {
        memcpy(t->buf + t->size - 4, "...", 4);
        t->len = t->size - 1;
    }
}

void text_flags(struct text *t, uint64_t value, const struct name_value *names, const char *zero) {
    const char *separator = "";
    if (!value) {
        text_add(t, "%s", zero ? zero : "0");
        return;
    }
    for (; names->name && value; names++) {
        if (!names->value || (value & names->value) != names->value)
            continue;
        text_add(t, "%s%s", separator, names->name);
        value &= ~names->value;
        separator = "|";
    }
    if (value)
        text_add(t, "%s%#lx", separator, (unsigned long)value);
}

void text_name(struct text *t, uint64_t value, const struct name_value *names, const char *prefix) {
    for (; names->name; names++)
        if ((uint32_t)names->value == (uint32_t)value) {
            text_add(t, "%s", names->name);
            return;
        }
    text_add(t, *prefix ? "%#lx /* %s??? */" : "%#lx", (unsigned long)value, prefix);
}

void trace_result(struct text *t, unsigned flags, long result) {
    if (result == -ERESTARTSYS) {
        text_add(t, "? ERESTARTSYS (To be restarted if SA_RESTART is set)");
    } else if (result == -ERESTARTNOINTR) {
        text_add(t, "? ERESTARTNOINTR (To be restarted)");
    } else if (result == -ERESTARTNOHAND) {
        text_add(t, "? ERESTARTNOHAND (To be restarted if no handler)");
    } else if (result == -ERESTART_BLOCK) {
        text_add(t, "? ERESTART_RESTARTBLOCK (Interrupted by signal)");
    } else if (result < 0 && result >= -4095) {
        const char *name = trace_errno_name((int)-result);
        if (name)
            text_add(t, "-1 %s (%s)", name, trace_errno_text((int)-result));
        else
            text_add(t, "-1 (errno %ld)", -result);
    } else if (flags & SC_HEX_RESULT) {
        text_add(t, "%#lx", (unsigned long)result);
    } else if (flags & SC_OCTAL_RESULT) {
        text_add(t, "%#lo", (unsigned long)result);
    } else {
        text_add(t, "%ld", result);
    }
}

static bool takes_mode(uint64_t open_flags) { return open_flags & O_CREAT || (open_flags & O_TMPFILE) == O_TMPFILE; }

// How many arguments mean something: some calls have optional ones.
static unsigned used_args(const struct syscall_entry *e, const uint64_t args[6]) {
    for (unsigned i = 0; i < e->arg_count; i++) {
        if (e->args[i] == ARG_OPEN_FLAGS && i + 1 < e->arg_count && e->args[i + 1] == ARG_MODE && !takes_mode(args[i]))
            return i + 1;
        if (e->args[i] == ARG_FCNTL &&
            (args[i] == F_GETFD || args[i] == F_GETFL || args[i] == F_GETOWN || args[i] == F_GETPIPE_SZ))
            return i + 1;
        if (e->args[i] == ARG_FUTEX_OP) {
            switch (args[i] & FUTEX_CMD_MASK & 0xffffffff) {
            case FUTEX_WAKE: return 3;
            case FUTEX_WAIT:
            case FUTEX_LOCK_PI: return 4;
            case FUTEX_REQUEUE: return 5;
            default: return e->arg_count;
            }
        }
    }
    return e->arg_count;
}

// The fourth argument of futex is a count in the calls with two words; the operation is the second.
static unsigned real_kind(const struct syscall_entry *e, unsigned i, const uint64_t args[6]) {
    if (e->args[i] != ARG_FUTEX_TIMEOUT)
        return e->args[i];
    unsigned op = args[1] & FUTEX_CMD_MASK;
    bool counts = op == FUTEX_REQUEUE || op == FUTEX_CMP_REQUEUE || op == FUTEX_WAKE_OP || op == FUTEX_CMP_REQUEUE_PI;
    return counts ? ARG_INT : ARG_FUTEX_TIMEOUT;
}

static const struct syscall_entry *entry_of(uint64_t nr) {
    static const struct syscall_entry unknown = {.arg_count = 6,
                                                 .args = {ARG_HEX, ARG_HEX, ARG_HEX, ARG_HEX, ARG_HEX, ARG_HEX}};
    return nr < SYSCALL_MAX && syscall_table[nr].name ? &syscall_table[nr] : &unknown;
}

// From line->next on; before the call only up to the first argument that the call fills in.
static void add_args(struct trace_line *line, const struct syscall_entry *e, const uint64_t args[6], bool after,
                     long result) {
    unsigned count = used_args(e, args);
    for (; line->next < count; line->next++) {
        unsigned kind = real_kind(e, line->next, args);
        if (!after && trace_arg_is_output(kind))
            return;
        text_add(&line->text, line->next ? ", " : "");
        trace_arg(&line->text, kind, args, line->next, after, result);
    }
}

static size_t prefix_length(const struct text *t) {
    const char *end = t->len && t->buf[0] == '[' ? memchr(t->buf, ']', t->len) : NULL;
    return end ? (size_t)(end - t->buf) + 2 : 0;
}

static void finish(struct trace_line *line) {
    struct text *t = &line->text;
    size_t prefix = prefix_length(t);
    t->size = sizeof(line->buf);
    text_add(t, ")");
    size_t pad = t->len - prefix < RESULT_COLUMN - 1 ? RESULT_COLUMN - (t->len - prefix) : 1;
    text_add(t, "%*s= ", (int)pad, "");
}

static void print_and_free(struct trace_line *line) {
    log_report("%s", line->buf);
    kfree(line);
}

struct trace_line *trace_begin(uint64_t nr, const uint64_t args[6]) {
    const struct syscall_entry *e = entry_of(nr);
    struct thread *self = thread_current();
    struct trace_line *line = kmalloc(sizeof(*line));

    if (!line)
        return NULL;
    line->nr = nr;
    line->next = 0;
    line->text = (struct text){.buf = line->buf, .size = sizeof(line->buf) - RESULT_ROOM};
    line->buf[0] = '\0';
    if (READ_ONCE(self->process->thread_count) > 1 || self->process != init_process)
        text_add(&line->text, "[pid %d] ", self->tid);
    if (e->name)
        text_add(&line->text, "%s(", e->name);
    else
        text_add(&line->text, "syscall_%#lx(", (unsigned long)nr);
    add_args(line, e, args, false, 0);
    if (nr != __NR_exit && nr != __NR_exit_group)
        return line;
    finish(line);
    text_add(&line->text, "?");
    print_and_free(line);
    return NULL;
}

void trace_end(struct trace_line *line, const uint64_t args[6], long result) {
    const struct syscall_entry *e = entry_of(line->nr);
    add_args(line, e, args, true, result);
    finish(line);
    trace_result(&line->text, e->flags, result);
    print_and_free(line);
}
