/*
 * Makes QEMU's command line and starts it. Only the devices that the guest uses are there: each one costs time at the
 * start.
 */
#include "tools/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

const char *qemu_program(void) {
    static const char name[] = "qemu-system-x86_64";
    const char *chosen = getenv("KNARR_QEMU");
    const char *path = getenv("PATH");

    if (chosen && *chosen) {
        if (access(chosen, X_OK) != 0)
            die(STATUS_FAILED, "KNARR_QEMU=%s: %s", chosen, strerror(errno));
        return chosen;
    }
    while (path && *path != '\0') {
        int length = (int)strcspn(path, ":");
        char *candidate = xasprintf("%.*s/%s", length, path, name);
        if (access(candidate, X_OK) == 0)
            return candidate;
        free(candidate);
        path += length;
        path += *path == ':';
    }
    die(STATUS_FAILED, "%s: not found (Debian: apt-get install qemu-system-x86)", name);
}

static void add_machine(struct strings *command, const struct qemu_setup *setup) {
    const struct run_options *options = setup->options;

    strings_add(command, "-M");
    if (options->machine == MACHINE_MICROVM) {
        /* The PIT is there to measure the TSC against, the RTC for the date; interrupts come through the IOAPIC. */
        strings_add(command, "microvm,acpi=off,pit=on,pic=off,rtc=on,isa-serial=on");
        strings_add(command, "-global");
        strings_add(command, "virtio-mmio.force-legacy=off");
    } else {
        /* Without what the guest does not use: the firmware starts each thing that is there, twenty milliseconds in all. */
        strings_add(command, "q35,smm=off,vmport=off,hpet=off,sata=off,usb=off,smbus=off");
    }
    strings_add(command, "-accel");
    strings_add(command, "%s", setup->accel == ACCEL_KVM ? "kvm" : "tcg");
    strings_add(command, "-cpu");
    strings_add(command, "max");
    strings_add(command, "-smp");
    strings_add(command, "%u", options->cpus);
    bool whole = options->memory % (1 << 20) == 0;
    uintmax_t size = whole ? options->memory >> 20 : (options->memory + 1023) >> 10;
    strings_add(command, "-m");
    strings_add(command, "%ju%c", size, whole ? 'M' : 'K');
    /* The host gives memory as the guest touches it: a guest may be promised more than the host has free now. */
    strings_add(command, "-object");
    strings_add(command, "memory-backend-ram,id=ram,size=%ju%c,reserve=off", size, whole ? 'M' : 'K');
    strings_add(command, "-machine");
    strings_add(command, "memory-backend=ram");
}

static void add_channel(struct strings *command, const char *id, int fd, const char *plain) {
    strings_add(command, "-chardev");
    if (fd >= 0)
        strings_add(command, "socket,id=%s,fd=%d", id, fd);
    else
        strings_add(command, "%s,id=%s", plain, id);
}

static void add_devices(struct strings *command, const struct qemu_setup *setup) {
    const char *bus = setup->options->machine == MACHINE_MICROVM ? "device" : "pci";
    const char *modern = setup->options->machine == MACHINE_MICROVM ? "" : ",disable-legacy=on";

    add_channel(command, "console", setup->console_fd, "stdio,signal=off");
    strings_add(command, "-device");
    strings_add(command, "virtio-serial-%s,max_ports=2%s", bus, modern);
    strings_add(command, "-device");
    // Not a virtconsole: QEMU throws away what such a guest writes faster than we read.
    strings_add(command, "virtserialport,nr=1,chardev=console");
    strings_add(command, "-device");
    strings_add(command, "virtio-rng-%s%s", bus, modern);
    if (setup->root)
        disk_command("root", setup->root, true, bus, modern, command);
    mounts_command(&setup->options->mounts, bus, modern, command);
    network_command(&setup->options->network, setup->accel == ACCEL_KVM, bus, modern, command);
    add_channel(command, "log", setup->log_fd, "file,path=/dev/stderr");
    strings_add(command, "-serial");
    strings_add(command, "chardev:log");
}

struct strings qemu_command(const struct qemu_setup *setup) {
    struct strings command = {0};

    strings_add(&command, "%s", qemu_program());
    strings_add(&command, "-nodefaults");
    strings_add(&command, "-no-user-config");
    strings_add(&command, "-no-reboot");
    strings_add(&command, "-display");
    strings_add(&command, "none");
    add_machine(&command, setup);
    add_devices(&command, setup);
    strings_add(&command, "-kernel");
    strings_add(&command, "%s", setup->options->kernel);
    if (setup->initrd) {
        strings_add(&command, "-initrd");
        strings_add(&command, "%s", setup->initrd);
    }
    strings_add(&command, "-append");
    strings_add(&command, "%s", setup->append);
    if (setup->options->gdb) {
        strings_add(&command, "-gdb");
        strings_add(&command, "tcp:127.0.0.1:%s", setup->options->gdb);
        strings_add(&command, "-S");
    }
    for (size_t i = 0; i < setup->options->qemu_args.count; i++)
        strings_add(&command, "%s", setup->options->qemu_args.item[i]);
    return command;
}

/* In the child: only async-signal-safe calls, and descriptors that are meant for QEMU. */
NORETURN static void run_child(char **command, pid_t parent, int errors) {
    int null = open("/dev/null", O_RDWR);

    /* A process group of its own: Ctrl-C in the terminal is for the program, not for QEMU. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    signal(SIGPIPE, SIG_DFL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* QEMU aborts where KVM fails; nobody wants that file */
    execv(command[0], command);
    dprintf(STDERR_FILENO, "%s: %s\n", command[0], strerror(errno));
    _exit(STATUS_FAILED);
}

static void make_socket(int *ours, int *theirs) {
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        die(STATUS_FAILED, "socketpair: %s", strerror(errno));
    fcntl(pair[0], F_SETFD, FD_CLOEXEC);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    *ours = pair[0];
    *theirs = pair[1];
}

struct qemu qemu_start(struct qemu_setup *setup) {
    struct qemu qemu;
    int errors[2];

    make_socket(&qemu.console, &setup->console_fd);
    make_socket(&qemu.log, &setup->log_fd);
    if (pipe2(errors, O_CLOEXEC) != 0)
        die(STATUS_FAILED, "pipe: %s", strerror(errno));
    fcntl(errors[0], F_SETFL, O_NONBLOCK);
    qemu.errors = errors[0];

    struct strings command = qemu_command(setup);
    pid_t parent = getpid();
    qemu.pid = fork();
    if (qemu.pid < 0)
        die(STATUS_FAILED, "fork: %s", strerror(errno));
    if (qemu.pid == 0)
        run_child(command.item, parent, errors[1]);
    close(setup->console_fd);
    close(setup->log_fd);
    close(errors[1]);
    for (size_t i = 0; i < command.count; i++)
        free(command.item[i]);
    free(command.item);
    return qemu;
}

int qemu_stop(struct qemu *qemu) {
    int status = 0;

    if (qemu->pid <= 0)
        return 0;
    kill(qemu->pid, SIGKILL);
    while (waitpid(qemu->pid, &status, 0) < 0 && errno == EINTR)
        ;
    qemu->pid = 0;
    return status;
}
