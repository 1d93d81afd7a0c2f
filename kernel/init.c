// The first process: reads what the initrd's configuration says (docs/boot-protocol.md), makes the tree of files, opens standard
// input, output and error, and starts the program as pid 1. What fails here ends the machine with the status that a shell would give: 127 not
// found, 126 not executable, 125 for the rest.
#include "kernel/init.h"
#include "fs/file.h"
#include "fs/tty.h"
#include "fs/vfs.h"
#include "kernel/blockdev.h"
#include "kernel/boot.h"
#include "kernel/log.h"
#include "kernel/process/process.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/uts.h"
#include "loader/program.h"
#include "loader/session.h"
#include "net/lwip/config.h"

// The configuration; its strings lie in `text`.
struct init_config {
    char *text;
    struct program program;
    const char *root; // "TYPE SOURCE" of what lies below the root; NULL: nothing
    bool read_only;
    int err; // of user=
    char **mounts;
    unsigned mount_count;
    struct stdio_config stdio;
};

static NORETURN void fail(int status, const char *what, const char *why) {
    machine_message("%s: %s", what, why);
    machine_exit(EXIT_KNARR, status);
}

// --- The configuration ---
static enum stdio_kind stdio_kind(const char *s) {
    return strcmp(s, "stream") == 0 ? STDIO_STREAM : strcmp(s, "null") == 0 ? STDIO_NULL : STDIO_TTY;
}

static void parse_winsize(struct stdio_config *c, char *s) {
    char *x = strchr(s, 'x');
    uint64_t rows, columns;
    if (!x)
        return;
    *x = '\0';
    if (str_to_u64(s, &rows) && str_to_u64(x + 1, &columns) && rows <= UINT16_MAX && columns <= UINT16_MAX) {
        c->rows = (uint16_t)rows;
        c->columns = (uint16_t)columns;
    }
}

static void parse_record(struct init_config *c, char *name) {
    char *value = strchr(name, '=');
    if (!value) {
        log_warn("configuration: no '=' in \"%s\"", name);
        return;
    }
    *value++ = '\0';
    int taken = program_record(&c->program, name, value);
    if (taken)
        c->err = taken < 0 ? taken : c->err;
    else if (strcmp(name, "root") == 0)
        c->root = value;
    else if (strcmp(name, "read-only") == 0)
        c->read_only = strcmp(value, "1") == 0;
    else if (strcmp(name, "mount") == 0)
        c->mounts[c->mount_count++] = value;
    else if (strcmp(name, "hostname") == 0)
        uts_set_nodename(value, strlen(value));
    else if (strcmp(name, "stdin") == 0)
        c->stdio.kind[0] = stdio_kind(value);
    else if (strcmp(name, "stdout") == 0)
        c->stdio.kind[1] = stdio_kind(value);
    else if (strcmp(name, "stderr") == 0)
        c->stdio.kind[2] = stdio_kind(value);
    else if (strcmp(name, "report") == 0)
        c->stdio.report = c->stdio.framed && strcmp(value, "start") == 0;
    else if (strcmp(name, "winsize") == 0)
        parse_winsize(&c->stdio, value);
    else if (!net_config_record(name, value))
        log_warn("configuration: unknown record %s", name);
}

// Without a configuration, /init is run as Linux runs it.
static const char default_config[] = "exec=/init\0arg=/init\0env=HOME=/\0env=TERM=linux\0env=PATH=" PROGRAM_PATH;

// Every string ends in a NUL, also when the last record does not. False: no memory.
static bool parse_config(struct init_config *c, const char *data, size_t size) {
    size_t most = size / sizeof("env=") + 2; // of one kind, with the NULL behind the last
    c->text = kmalloc(size + 1);
    c->program.argv = kzalloc(3 * most * sizeof(char *));
    if (!c->text || !c->program.argv)
        return false;
    c->program.envp = c->program.argv + most;
    c->mounts = c->program.envp + most;
    memcpy(c->text, data, size);
    c->text[size] = '\0';
    for (char *record = c->text; record < c->text + size;) {
        char *next = record + strlen(record) + 1;
        if (*record)
            parse_record(c, record);
        record = next;
    }
    return true;
}

// --- The tree of files ---
// Where the archives end and the image of the root begins, which becomes the device it is called by.
static phys_t image_in_initrd(const struct init_config *c) {
    const char *source = c->root ? strchr(c->root, ' ') : NULL;
    if (!source || strcmp(source + 1, "initrd") != 0 || !boot_info.initrd_end)
        return boot_info.initrd_end;
    phys_t image = initrd_find_image(boot_info.initrd_start, boot_info.initrd_end);
    if (!image)
        fail(STATUS_FAILED, "root file system", "there is no image behind the initrd's archives");
    if (!blockdev_register_memory("initrd", phys_to_virt(image), boot_info.initrd_end - image))
        fail(STATUS_FAILED, "root file system", program_error_text(-ENOMEM));
    return image;
}

static void make_files(struct init_config *c) {
    phys_t archives_end = image_in_initrd(c);
    int err = vfs_init(c->root);
    if (err) {
        const char *label = c->root ? strstr(c->root, " PARTLABEL=") : NULL;
        machine_message("root file system: %s: %s", c->root ? c->root : "tmpfs",
                        label && err == -ENOENT ? "no disk has a partition of that name" : program_error_text(err));
        machine_exit(EXIT_KNARR, STATUS_FAILED);
    }
    boot_stage("file systems");
    if (boot_info.initrd_end && (err = initrd_unpack(boot_info.initrd_start, archives_end)) < 0)
        fail(STATUS_FAILED, "initrd", err == -ENOMEM ? program_error_text(err) : "the archive is damaged");
    boot_stage("initrd");
}

static void mount_all(struct init_config *c) {
    for (unsigned i = 0; i < c->mount_count; i++) {
        const char *where;
        int err = vfs_init_mount(c->mounts[i], &where);
        if (!err)
            continue;
        machine_message("mount on %s: %s", where, program_error_text(err));
        machine_exit(EXIT_KNARR, STATUS_FAILED);
    }
}

// --- The program's surroundings ---
static void open_stdio(void) {
    for (int fd = 0; fd < 3; fd++) {
        struct file *f = console_open_stdio(fd);
        if (IS_ERR(f) || fd_install_at(f, fd, 0) < 0)
            fail(STATUS_FAILED, "standard input and output", "cannot be opened");
    }
}

// --- The program ---
static NORETURN void start_program(struct init_config *c) {
    struct program *p = &c->program;
    struct exec_image *image = kmalloc(sizeof(*image));
    int err = image ? program_load(p, image) : -ENOMEM;
    if (err)
        fail(program_status(err), p->exec,
             err == -ENOEXEC && image->reason ? image->reason : program_error_text(err));
    loader_commit(image);
    kfree(image);
    kfree(c->text);
    kfree(p->argv); // and envp, mounts
    boot_stage("program");
    if (c->stdio.report)
        console_report_start();
    context_enter_user(thread_current()->frame);
}

__attribute__((noinline)) static uint64_t recurse(const volatile uint64_t *above) {
    volatile uint64_t here[32] = {above[0] + 1};
    return here[0] ? recurse(here) + here[0] : 0; // until the stack is full
}

// crash, crash=fault and crash=stack on the command line: so that the report of a panic can be looked at.
__attribute__((noinline)) static void fail_for_test(const char *how) {
    volatile uint64_t *nowhere = (volatile uint64_t *)0xffffffffdead0000, zero = 0;
    if (strcmp(how, "fault") == 0)
        *nowhere = 1;
    if (strcmp(how, "stack") == 0)
        *nowhere = recurse(&zero);
    CHECKED(check_self_test(how);)
    panic("asked for on the command line");
}

// The first thread of pid 1, on its way to the program.
static void init_main(void *unused) {
    static struct init_config config;
    struct init_config *c = &config;
    struct initrd_config from_initrd = {default_config, sizeof(default_config)};
    const char *console = cmdline_get("console");
    c->stdio.framed = console && strcmp(console, "framed") == 0;

    initrd_find_config(boot_info.initrd_start, boot_info.initrd_end, &from_initrd);
    bool parsed = parse_config(c, from_initrd.data, from_initrd.size);
    int console_err = console_init(&c->stdio);
    boot_stage("console");
    if (cmdline_get("probe"))
        machine_exit(EXIT_CODE, 0);
    const char *crash = cmdline_get("crash");
    if (crash)
        fail_for_test(crash);
    if (!parsed || console_err)
        fail(STATUS_FAILED, "console", program_error_text(parsed ? console_err : -ENOMEM));
    if (!boot_info.initrd_end)
        fail(STATUS_FAILED, "nothing to run", "no initrd was given");
    struct program *p = &c->program;
    if (c->err)
        fail(STATUS_FAILED, "user", program_error_text(c->err));
    if (!p->exec)
        p->exec = p->argc ? p->argv[0] : "/init";

    session_init();
    net_config_start(); // an address may come while the files are made
    make_files(c);
    mount_all(c);
    open_stdio();
    int err = program_enter_directory(p);
    if (err < 0)
        fail(STATUS_FAILED, p->cwd, program_error_text(err));
    net_config_wait();
    err = vfs_init_etc();
    if (err < 0)
        fail(STATUS_FAILED, "/etc", program_error_text(err));
    if (c->read_only)
        vfs_init_read_only();
    err = program_own_stdio(p);
    if (err == 0)
        err = program_become_user(p);
    if (err < 0)
        fail(STATUS_FAILED, "user", program_error_text(err));
    start_program(c);
}

void init_run(void) {
    struct process *p = process_create();
    if (!p)
        panic("no memory for the first process");
    p->files = file_table_create();
    struct thread *t = thread_create_user(p);
    if (!p->files || !t)
        panic("no memory for the first process");
    init_process = p;
    context_begin_in_kernel(t, init_main, NULL);
    thread_start(t);
}
