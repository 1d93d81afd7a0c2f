// /proc/sys: what programs ask of the system's settings. Writable is what has an effect here.
#include "fs/pipe.h"
#include "fs/procfs_net.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/process/core.h"
#include "kernel/random.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/uts.h"

#define NUMBER(fn, value)                                                                                              \
    static int fn(struct seqbuf *s, struct proc_ref *r) {                                                              \
        seq_printf(s, "%ld\n", (long)(value));                                                                         \
        return 0;                                                                                                      \
    }

extern uint64_t file_count;

NUMBER(show_pid_max, 32768)
NUMBER(show_threads_max, page_total() / 8)
NUMBER(show_cap_last_cap, CAP_LAST_CAP)
NUMBER(show_file_max, INT64_MAX)
NUMBER(show_nr_open, 1 << 20)
NUMBER(show_pipe_max_size, pipe_max_size)
NUMBER(show_pipe_soft, pipe_user_pages_soft)
NUMBER(show_pipe_hard, pipe_user_pages_hard)
NUMBER(show_entropy, 256)
NUMBER(show_poolsize, 256)
NUMBER(show_randomize, 2)
NUMBER(show_ngroups_max, GROUPS_MAX)
NUMBER(show_sched_child_runs_first, 0)
NUMBER(show_zero, 0)
NUMBER(show_overflow_id, 65534)
NUMBER(show_rt_period, 1000000)
NUMBER(show_rt_runtime, -1) // real-time threads may take all
NUMBER(show_epoll_watches, page_total() * PAGE_SIZE / 25 / 160)
NUMBER(show_one, 1)

static int show_file_nr(struct seqbuf *s, struct proc_ref *r) {
    seq_printf(s, "%lu\t0\t%ld\n", (unsigned long)file_count, (long)INT64_MAX);
    return 0;
}

static int show_uts(struct seqbuf *s, size_t field) {
    struct new_utsname u;
    uts_get(&u);
    seq_printf(s, "%s\n", (const char *)&u + field);
    return 0;
}

static int show_hostname(struct seqbuf *s, struct proc_ref *r) {
    return show_uts(s, offsetof(struct new_utsname, nodename));
}

static int show_domainname(struct seqbuf *s, struct proc_ref *r) {
    return show_uts(s, offsetof(struct new_utsname, domainname));
}

static int show_ostype(struct seqbuf *s, struct proc_ref *r) {
    return show_uts(s, offsetof(struct new_utsname, sysname));
}

static int show_osrelease(struct seqbuf *s, struct proc_ref *r) {
    return show_uts(s, offsetof(struct new_utsname, release));
}

static int show_version(struct seqbuf *s, struct proc_ref *r) {
    return show_uts(s, offsetof(struct new_utsname, version));
}

static long store_name(int (*set)(const char *, size_t), const char *text, size_t len) {
    if (!capable(CAP_SYS_ADMIN))
        return -EPERM;
    const char *end = memchr(text, '\n', len);
    return set(text, end ? (size_t)(end - text) : len);
}

static long store_hostname(struct proc_ref *r, const char *text, size_t len) {
    return store_name(uts_set_nodename, text, len);
}

static long store_domainname(struct proc_ref *r, const char *text, size_t len) {
    return store_name(uts_set_domainname, text, len);
}

static int show_core_pattern(struct seqbuf *s, struct proc_ref *r) {
    char pattern[CORE_PATTERN_SIZE];
    core_pattern_get(pattern);
    seq_printf(s, "%s\n", pattern);
    return 0;
}

static long store_core_pattern(struct proc_ref *r, const char *text, size_t len) {
    const char *end = memchr(text, '\n', len);
    return core_pattern_set(text, end ? (size_t)(end - text) : len);
}

// --- Settings that are small numbers ---

struct setting {
    const char *name; // of the file
    uint8_t *value, most;
};
static const struct setting settings[] = {
    {"core_uses_pid", &core_uses_pid, 1},           {"protected_fifos", &protected_fifos, 2},
    {"protected_hardlinks", &protected_hardlinks, 1}, {"protected_regular", &protected_regular, 2},
    {"protected_symlinks", &protected_symlinks, 1}, {"suid_dumpable", &suid_dumpable, 2},
};

static const struct setting *setting_of(const struct proc_ref *r) {
    const struct setting *s = settings;
    while (strcmp(s->name, r->item->entry->name) != 0) // every file of SETTING() is in the table
        s++;
    return s;
}

static int show_setting(struct seqbuf *s, struct proc_ref *r) {
    seq_printf(s, "%u\n", *setting_of(r)->value);
    return 0;
}

static long store_setting(struct proc_ref *r, const char *text, size_t len) {
    const struct setting *s = setting_of(r);
    if (len < 1 || text[0] < '0' || text[0] > '9' || (len > 1 && text[1] != '\n') || text[0] - '0' > s->most)
        return -EINVAL;
    WRITE_ONCE(*s->value, (uint8_t)(text[0] - '0'));
    return 0;
}
#define SETTING(nm)                                                                                                    \
    { .name = (nm), .mode = S_IFREG | 0644, .show = show_setting, .store = store_setting }

static void print_uuid(struct seqbuf *s, const uint8_t u[16]) {
    seq_printf(s, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n", u[0], u[1], u[2], u[3],
               u[4], u[5], (u[6] & 0x0f) | 0x40, u[7], (u[8] & 0x3f) | 0x80, u[9], u[10], u[11], u[12], u[13], u[14],
               u[15]);
}

static int show_uuid(struct seqbuf *s, struct proc_ref *r) {
    uint8_t uuid[16];
    random_bytes(uuid, sizeof(uuid));
    print_uuid(s, uuid);
    return 0;
}

static int show_boot_id(struct seqbuf *s, struct proc_ref *r) {
    static struct mutex lock = MUTEX_INIT(lock);
    static uint8_t uuid[16];
    static bool made;
    mutex_lock(&lock);
    if (!made)
        random_bytes(uuid, sizeof(uuid));
    made = true;
    mutex_unlock(&lock);
    print_uuid(s, uuid);
    return 0;
}

static const struct proc_entry random_entries[] = {
    PROC_FILE("boot_id", show_boot_id),
    PROC_FILE("entropy_avail", show_entropy),
    PROC_FILE("poolsize", show_poolsize),
    PROC_FILE("uuid", show_uuid),
    {.name = NULL},
};

static const struct proc_entry kernel_entries[] = {
    PROC_FILE("cap_last_cap", show_cap_last_cap),
    {.name = "core_pattern", .mode = S_IFREG | 0644, .show = show_core_pattern, .store = store_core_pattern},
    SETTING("core_uses_pid"),
    PROC_FILE("dmesg_restrict", show_zero),
    {.name = "domainname", .mode = S_IFREG | 0644, .show = show_domainname, .store = store_domainname},
    {.name = "hostname", .mode = S_IFREG | 0644, .show = show_hostname, .store = store_hostname},
    PROC_FILE("kptr_restrict", show_one),
    PROC_LIMIT("msgmax"),
    PROC_LIMIT("msgmnb"),
    PROC_LIMIT("msgmni"),
    PROC_FILE("ngroups_max", show_ngroups_max),
    PROC_FILE("numa_balancing", show_zero),
    PROC_FILE("osrelease", show_osrelease),
    PROC_FILE("ostype", show_ostype),
    PROC_FILE("overflowgid", show_overflow_id),
    PROC_FILE("overflowuid", show_overflow_id),
    PROC_FILE("panic", show_zero),
    PROC_FILE("panic_on_oops", show_one),
    PROC_FILE("perf_event_paranoid", show_one),
    PROC_FILE("pid_max", show_pid_max),
    PROC_DIR("random", random_entries),
    PROC_FILE("randomize_va_space", show_randomize),
    PROC_FILE("sched_child_runs_first", show_sched_child_runs_first),
    PROC_FILE("sched_rt_period_us", show_rt_period),
    PROC_FILE("sched_rt_runtime_us", show_rt_runtime),
    PROC_LIMIT("sem"),
    PROC_LIMIT("shmall"),
    PROC_LIMIT("shmmax"),
    PROC_LIMIT("shmmni"),
    PROC_FILE("sysrq", show_zero),
    PROC_FILE("tainted", show_zero),
    PROC_FILE("threads-max", show_threads_max),
    PROC_FILE("version", show_version),
    {.name = NULL},
};

static long store_pipe_max_size(struct proc_ref *r, const char *text, size_t len) {
    uint64_t value;
    if (proc_parse_number(text, len, &value) < 0 || !value || !pipe_round_size(value))
        return -EINVAL;
    WRITE_ONCE(pipe_max_size, pipe_round_size(value));
    return 0;
}

static long store_pipe_soft(struct proc_ref *r, const char *text, size_t len) {
    return proc_parse_number(text, len, &pipe_user_pages_soft);
}

static long store_pipe_hard(struct proc_ref *r, const char *text, size_t len) {
    return proc_parse_number(text, len, &pipe_user_pages_hard);
}

static const struct proc_entry epoll_entries[] = {
    PROC_FILE("max_user_watches", show_epoll_watches),
    {.name = NULL},
};

static const struct proc_entry fs_entries[] = {
    PROC_DIR("epoll", epoll_entries),
    PROC_FILE("file-max", show_file_max),
    PROC_FILE("file-nr", show_file_nr),
    PROC_DIR("inotify", proc_inotify_entries),
    PROC_DIR("mqueue", proc_mqueue_entries),
    PROC_FILE("nr_open", show_nr_open),
    PROC_FILE("overflowgid", show_overflow_id),
    PROC_FILE("overflowuid", show_overflow_id),
    {.name = "pipe-max-size", .mode = S_IFREG | 0644, .show = show_pipe_max_size, .store = store_pipe_max_size},
    {.name = "pipe-user-pages-hard", .mode = S_IFREG | 0644, .show = show_pipe_hard, .store = store_pipe_hard},
    {.name = "pipe-user-pages-soft", .mode = S_IFREG | 0644, .show = show_pipe_soft, .store = store_pipe_soft},
    SETTING("protected_fifos"),
    SETTING("protected_hardlinks"),
    SETTING("protected_regular"),
    SETTING("protected_symlinks"),
    SETTING("suid_dumpable"),
    {.name = NULL},
};

const struct proc_entry proc_sys_entries[] = {
    PROC_DIR("fs", fs_entries),
    PROC_DIR("kernel", kernel_entries),
    PROC_DIR("net", proc_sys_net_entries),
    PROC_DIR("vm", proc_vm_entries),
    {.name = NULL},
};
