/*
 * `knarr run`, as a story: options, streams, root, initrd, accelerator, machine, relay.
 */
#include "tools/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "tools/accel.h"
#include "tools/image/start.h"
#include "tools/initrd.h"
#include "tools/kernel.h"
#include "tools/machine/launch.h"
#include "tools/options.h"
#include "tools/qemu.h"
#include "tools/relay.h"
#include "tools/root.h"
#include "tools/terminal.h"

/* Descriptors 0 to 2 must be taken, or those that are opened next would become them. */
static bool was_closed[3];

static void fill_closed_streams(void) {
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            was_closed[fd] = true;
            if (open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY) != fd)
                _exit(STATUS_FAILED);
        }
    }
}

static bool is_null(int fd) {
    struct stat status;

    return fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
}

/*
 * What the program sees on its streams. A terminal on both sides is relayed raw, as one terminal in the guest. A terminal
 * on stdin alone (`knarr run ... | less`) keeps its line editing here, and the program sees a stream.
 */
static struct stdio_kinds find_stdio(const struct run_options *options) {
    bool there = !options->detach;
    bool in = there && isatty(STDIN_FILENO), out = there && isatty(STDOUT_FILENO), error = there && isatty(STDERR_FILENO);
    bool nothing = there ? is_null(STDIN_FILENO) : !options->interactive;
    struct stdio_kinds kinds = {
        .in = in && out ? "tty" : nothing ? "null" : "stream",
        .out = out ? "tty" : "stream",
        .error = error && out ? "tty" : "stream",
    };

    if (options->terminal)
        kinds.in = kinds.out = kinds.error = "tty";
    if (!terminal_size(STDIN_FILENO, &kinds.rows, &kinds.columns) &&
        !terminal_size(STDOUT_FILENO, &kinds.rows, &kinds.columns) && options->terminal) {
        kinds.rows = 24;
        kinds.columns = 80;
    }
    return kinds;
}

static char *kernel_command_line(const struct run_options *options) {
    struct strings words = {0};
    size_t length = 1;

    struct timespec now;

    if (!options->dry_run) {
        clock_gettime(CLOCK_REALTIME, &now);
        strings_add(&words, "console=framed");
        strings_add(&words, "now=%jd%09ld", (intmax_t)now.tv_sec, now.tv_nsec);
    }
    if (options->verbose > 0)
        strings_add(&words, "loglevel=%s", options->verbose > 1 ? "debug" : "info");
    if (options->trace)
        strings_add(&words, "trace=syscalls");
    if (options->stats)
        strings_add(&words, "stats");
    if (options->missing_files)
        strings_add(&words, "missing-files");
    for (size_t i = 0; i < options->kernel_args.count; i++)
        strings_add(&words, "%s", options->kernel_args.item[i]);

    for (size_t i = 0; i < words.count; i++)
        length += strlen(words.item[i]) + 1;
    char *line = xmalloc(length);
    char *end = line;
    *end = '\0';
    for (size_t i = 0; i < words.count; i++) {
        if (i > 0)
            *end++ = ' ';
        end = stpcpy(end, words.item[i]);
        free(words.item[i]);
    }
    free(words.item);
    return line;
}

/* Words of --kernel-arg that ask for something to be printed ask for the log. */
static bool log_is_wanted(const struct run_options *options) {
    static const char *const printing[] = {"loglevel=", "trace=", "stats", "missing-files", "boot=chart"};

    if (options->verbose || options->trace || options->stats || options->missing_files)
        return true;
    for (size_t i = 0; i < options->kernel_args.count; i++) {
        for (size_t j = 0; j < sizeof(printing) / sizeof(printing[0]); j++) {
            if (strncmp(options->kernel_args.item[i], printing[j], strlen(printing[j])) == 0)
                return true;
        }
    }
    return false;
}

static int print_command(struct qemu_setup *setup) {
    setup->console_fd = setup->log_fd = -1;
    struct strings command = qemu_command(setup);

    for (size_t i = 0; i < command.count; i++) {
        char *word = shell_quote(command.item[i]);
        printf("%s%s", i > 0 ? " " : "", word);
        free(word);
    }
    putchar('\n');
    if (fflush(stdout) != 0)
        die(STATUS_FAILED, "standard output: %s", strerror(errno));
    if (setup->root && strcmp(setup->root, "root.erofs") == 0)
        say("knarr pack -o root.erofs %s writes the image that this command names", setup->options->root);
    if (!setup->options->save_initrd)
        say("--save-initrd %s writes the initrd that this command names", setup->initrd);
    return 0;
}

static void print_gdb_command(const struct run_options *options) {
    char *symbols = xstrdup(options->kernel);
    size_t length = strlen(symbols);

    /* The kernel that boots is stripped; its twin beside it has the debug information. */
    if (length > 4 && strcmp(symbols + length - 4, ".elf") == 0) {
        char *debug = xasprintf("%.*s.debug.elf", (int)(length - 4), symbols);
        free(symbols);
        symbols = debug;
    }
    say("waiting for: gdb %s -ex 'target remote 127.0.0.1:%s'", symbols, options->gdb);
    free(symbols);
}

/* The console and the random numbers have a device each. */
static void choose_machine(struct run_options *options, const struct root *root) {
    enum { OWN = 2, MICROVM_MOST = 8, Q35_MOST = 28 };
    bool has_disk = root->kind == ROOT_IMAGE && root->is_disk;
    unsigned count = OWN + has_disk + mounts_devices(&options->mounts) + (unsigned)options->network.count;

    if (count > MICROVM_MOST && !options->machine_given)
        options->machine = MACHINE_Q35;
    unsigned most = options->machine == MACHINE_MICROVM ? MICROVM_MOST : Q35_MOST;
    if (count > most) {
        die(STATUS_FAILED,
            "too many devices: a machine of this kind has room for %u volumes, disks and network interfaces, not for "
            "%u",
            most - OWN, count - OWN);
    }
}

int run_main(int argc, char **argv) {
    struct run_options options;
    struct root root;

    fill_closed_streams();
    options_parse(&options, argc, argv);
    if (!start_image(&options, &root)) {
        if (options.entrypoint)
            die(STATUS_FAILED, "--entrypoint is for images of knarr build; %s is none", options.argv[0]);
        options_complete(&options, NULL, NULL);
        root = root_open(&options);
    }
    start_user(&options, &root);

    struct stdio_kinds stdio = find_stdio(&options);
    bool raw = strcmp(stdio.in, "tty") == 0 && isatty(STDIN_FILENO) && !options.dry_run;
    choose_machine(&options, &root);
    if (!options.dry_run)
        network_open(&options.network);
    int initrd = initrd_build(&options, &root, &stdio);
    struct qemu_setup setup = {.options = &options, .append = kernel_command_line(&options)};
    struct stat initrd_status;
    char path[64];

    if (fstat(initrd, &initrd_status) != 0)
        die(STATUS_FAILED, "the initrd: %s", strerror(errno));
    kernel_check(options.kernel, options.memory, (uint64_t)initrd_status.st_size);

    if (options.save_initrd) {
        setup.initrd = options.save_initrd;
    } else {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", initrd);
        setup.initrd = options.dry_run ? "initrd.cpio" : path;
    }
    if (root.kind == ROOT_IMAGE && root.is_disk)
        setup.root = options.dry_run && strncmp(root.path, "/proc/", 6) == 0 ? "root.erofs" : root.path;
    setup.accel = accel_choose(&options);
    if (options.dry_run)
        return print_command(&setup);
    if (options.gdb)
        print_gdb_command(&options);
    if (launch_is_wanted(&options)) {
        struct launch managed = {
            .options = &options,
            .setup = &setup,
            .command_line = kernel_command_line,
            .raw = raw,
            .has_in = strcmp(stdio.in, "null") != 0,
            .input_ends = strcmp(stdio.in, "tty") != 0,
            .show_log = log_is_wanted(&options),
        };
        return launch(&managed);
    }

    relay_signals();
    struct qemu qemu = qemu_start(&setup);
    network_close(&options.network);
    struct relay_options relay_options = {
        .raw = raw && terminal_raw(),
        .has_in = strcmp(stdio.in, "null") != 0,
        .show_log = log_is_wanted(&options),
    };
    int status = relay_run(&qemu, &relay_options);
    terminal_restore();
    return status;
}
