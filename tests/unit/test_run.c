// link: tools/*.c tools/*/*.c
// libs: -larchive -lelf -lutil -ljansson
// flags: -Dmain=knarr_main
/*
 * All of `knarr run` with a fake QEMU: exit statuses, streams, signals, the terminal, what it leaves behind. The test is
 * its own fake QEMU (fake_guest.h).
 */
#undef main
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <elf.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>

#include "tools/cpio.h"
#include "tests/unit/fake_guest.h"

int knarr_main(int argc, char **argv);
const char *__asan_default_options(void);

/* knarr leaves its memory to its end. */
const char *__asan_default_options(void) { return "detect_leaks=0"; }

static char directory[] = "/tmp/knarr-test-XXXXXX";
static char program[64]; /* a file that looks like a static program, */
static char kernel[64];  /* and one that looks like a kernel */

struct result {
    int status; /* of waitpid */
    char out[1 << 16], err[1 << 16];
    size_t out_size, err_size;
};

static void slurp(FILE *file, char *to, size_t *size) {
    rewind(file);
    *size = fread(to, 1, (1 << 16) - 1, file);
    to[*size] = '\0';
    fclose(file);
}

/* In the child: becomes knarr with the words of a command line. */
static void become_knarr(const char *words) {
    static char copy[4096];
    char *argv[64] = {"knarr"};
    int argc = 1;

    snprintf(copy, sizeof(copy), "%s", words);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    setenv("KNARR_QEMU", "/proc/self/exe", 1);
    setenv("KNARR_KERNEL", kernel, 1);
    exit(knarr_main(argc, argv));
}

/* Runs knarr with its input from a string, and waits. */
static struct result *run(const void *input, size_t size, const char *fmt, ...) {
    static struct result result;
    char words[4096];
    va_list args;
    FILE *in = tmpfile(), *out = tmpfile(), *err = tmpfile();

    va_start(args, fmt);
    vsnprintf(words, sizeof(words), fmt, args);
    va_end(args);
    fwrite(input, 1, size, in);
    fflush(in);
    rewind(in);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fileno(in), 0);
        lseek(0, 0, SEEK_SET);
        dup2(fileno(out), 1);
        dup2(fileno(err), 2);
        become_knarr(words);
    }
    alarm(30);
    assert_int_equal(waitpid(pid, &result.status, 0), pid);
    alarm(0);
    fclose(in);
    slurp(out, result.out, &result.out_size);
    slurp(err, result.err, &result.err_size);
    return &result;
}

#define FAKE "run --accel tcg --kernel-arg fake="

static void gives_the_exit_status(void **state) {
    assert_int_equal(WEXITSTATUS(run("", 0, FAKE "exit:0:0 %s", program)->status), 0);
    assert_int_equal(WEXITSTATUS(run("", 0, FAKE "exit:0:42 %s", program)->status), 42);
    assert_int_equal(WEXITSTATUS(run("", 0, FAKE "exit:1:11 %s", program)->status), 139);
    assert_int_equal(WEXITSTATUS(run("", 0, FAKE "exit:2:126 %s", program)->status), 126);

    struct result *result = run("", 0, FAKE "exit:2:125 %s", program);
    assert_int_equal(WEXITSTATUS(result->status), 125);
    assert_string_equal(result->err, "knarr: the kernel failed\na line of the log\n");
}

static void separates_the_streams(void **state) {
    struct result *result = run("", 0, FAKE "both %s", program);

    assert_int_equal(WEXITSTATUS(result->status), 3);
    assert_int_equal(result->out_size, 5);
    assert_memory_equal(result->out, "out\0\n", 5);
    assert_string_equal(result->err, "err\nknarr: a message\n");

    result = run("", 0, "run -v --accel tcg --kernel-arg fake=both %s", program);
    assert_non_null(strstr(result->err, "a line of the log\n"));
    assert_memory_equal(result->out, "out\0\n", 5);
}

static void relays_input_byte_for_byte(void **state) {
    static uint8_t input[50000];

    for (size_t i = 0; i < sizeof(input); i++)
        input[i] = (uint8_t)(i * 7 + i / 256);
    struct result *result = run(input, sizeof(input), FAKE "echo %s", program);
    assert_int_equal(WEXITSTATUS(result->status), 0);
    assert_int_equal(result->out_size, sizeof(input));
    assert_memory_equal(result->out, input, sizeof(input));
    assert_string_equal(result->err, "");
}

static void says_why_the_machine_failed(void **state) {
    struct result *result = run("", 0, FAKE "silent %s", program);
    assert_int_equal(WEXITSTATUS(result->status), 125);
    assert_non_null(strstr(result->err, "knarr: QEMU failed\n"));
    assert_non_null(strstr(result->err, "qemu: something is wrong\n"));

    result = run("", 0, FAKE "garbage %s", program);
    assert_int_equal(WEXITSTATUS(result->status), 125);
    assert_non_null(strstr(result->err, "does not speak the protocol"));
}

static void hands_over_the_configuration(void **state) {
    char expected[1024];
    struct result *result = run("", 0, FAKE "config -e A=1 -e A=2 -e PATH=/x -w /tmp -h ship %s one -m", program);

    snprintf(expected, sizeof(expected),
             "arg=%s\narg=one\narg=-m\nexec=/prog\nenv=PATH=/x\nenv=HOSTNAME=ship\nenv=HOME=/root\nenv=A=2\n"
             "cwd=/tmp\nhostname=ship\nstdin=stream\nstdout=stream\nstderr=stream\n"
             "net=eth0 ip=10.0.2.15/24 gw=10.0.2.2 ip6=fec0::15/64 gw6=fec0::2\ndns=10.0.2.3\n",
             program);
    assert_string_equal(result->out, expected);

    result = run("", 0, FAKE "config -t %s", program);
    assert_non_null(strstr(result->out, "env=TERM=xterm\n"));
    assert_non_null(strstr(result->out, "stdin=tty\nstdout=tty\nstderr=tty\nwinsize=24x80\n"));
}

static void hands_over_the_network(void **state) {
    static const struct {
        const char *options, *records;
    } cases[] = {
        {"--net none", ""},
        {"--net none --dns 1.2.3.4", "dns=1.2.3.4\n"},
        {"--ip 10.7.0.2 --mac 02:00:00:00:00:01",
         "net=eth0 ip=10.7.0.2/24 gw=10.7.0.3 ip6=fec0::15/64 gw6=fec0::2\ndns=10.7.0.4\n"},
        {"--ip 10.7.3.9/20 --ip6 none --net user", "net=eth0 ip=10.7.3.9/20 gw=10.7.0.2 ip6=none\ndns=10.7.0.3\n"},
        {"--ip none --ip6 fd00:7::9/64", "net=eth0 ip=none ip6=fd00:7::9/64 gw6=fd00:7::2\ndns=fd00:7::3\n"},
        {"--gateway 10.0.2.1 --gateway fec0::1 --dns 9.9.9.9 --dns ::1 --dns-search a.b",
         "net=eth0 ip=10.0.2.15/24 gw=10.0.2.1 ip6=fec0::15/64 gw6=fec0::1\ndns=9.9.9.9\ndns=::1\nsearch=a.b\n"},
        {"--net user --net user,mtu=900",
         "net=eth0 ip=10.0.2.15/24 gw=10.0.2.2 ip6=fec0::15/64 gw6=fec0::2\nnet=eth1 ip=10.0.3.15/24 "
         "ip6=fec0:0:0:1::15/64 mtu=900\ndns=10.0.2.3\n"},
        {"--add-host a:1.2.3.4 --add-host b=[fd00::1] --add-host c:::1 --add-host d:host-gateway",
         "net=eth0 ip=10.0.2.15/24 gw=10.0.2.2 ip6=fec0::15/64 gw6=fec0::2\ndns=10.0.2.3\nhosts=1.2.3.4 "
         "a\nhosts=fd00::1 b\n"
         "hosts=::1 c\nhosts=10.0.2.2 d\n"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct result *result = run("", 0, FAKE "config %s %s", cases[i].options, program);
        assert_int_equal(WEXITSTATUS(result->status), 0);
        const char *records = strstr(result->out, "stderr=stream\n");
        assert_non_null(records);
        if (strcmp(records + 14, cases[i].records) != 0)
            fail_msg("%s: %s", cases[i].options, records + 14);
    }
}

/* Taps are not opened by --dry-run. */
static void makes_network_devices(void **state) {
    static const struct {
        const char *options, *words;
    } cases[] = {
        {"", " -netdev user,net=10.0.2.0/24,host=10.0.2.2,dns=10.0.2.3,dhcpstart=10.0.2.15,ipv6-net=fec0::/64,"
             "ipv6-host=fec0::2,ipv6-dns=fec0::3,id=net0 -device virtio-net-device,netdev=net0,mac=52:54:00:12:34:56 "},
        {"--machine q35", " -device virtio-net-pci,netdev=net0,mac=52:54:00:12:34:56,romfile=,disable-legacy=on "},
        {"--ip6 none --ip 10.1.2.2/16",
         " -netdev user,net=10.1.0.0/16,host=10.1.0.2,dns=10.1.0.3,dhcpstart=10.1.2.2,ipv6=off,id=net0 "},
        {"-p 80:8080 -p 127.0.0.1:53:54/udp -p 7-8:17-18 --net user",
         ",hostfwd=tcp:0.0.0.0:80-10.0.2.15:8080,hostfwd=udp:127.0.0.1:53-10.0.2.15:54,hostfwd=tcp:0.0.0.0:7-10.0.2.15:"
         "17,"
         "hostfwd=tcp:0.0.0.0:8-10.0.2.15:18,id=net0 "},
        {"--net tap=t0,mac=02:00:00:00:00:07 --net tap=t1,vhost=on",
         " -netdev tap,ifname=t0,script=no,downscript=no,vhost=off,id=net0 -device "
         "virtio-net-device,netdev=net0,mac=02:00:00:00:00:07 "
         "-netdev tap,ifname=t1,script=no,downscript=no,vhost=on,id=net1 -device "
         "virtio-net-device,netdev=net1,mac=02:"},
        {"--net user --net user --net user --net user --net user --net user --net user", " -M q35,"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct result *result = run("", 0, "run --dry-run --accel tcg %s %s", cases[i].options, program);
        assert_int_equal(WEXITSTATUS(result->status), 0);
        if (!strstr(result->out, cases[i].words))
            fail_msg("%s: %s", cases[i].options, result->out);
    }
    assert_null(strstr(run("", 0, "run --dry-run --accel tcg --net none %s", program)->out, "net0"));
}

static void publishes_ports(void **state) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(name);
    unsigned number, other;
    char expected[128];
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)) | listen(fd, 1), 0);
    getsockname(fd, (struct sockaddr *)&name, &length);
    unsigned taken = ntohs(name.sin_port);
    struct result *result = run("", 0, FAKE "exit:0:0 -p 127.0.0.1:%u:80 %s", taken, program);
    assert_int_equal(WEXITSTATUS(result->status), 125);
    snprintf(expected, sizeof(expected), "knarr: -p: port %u/tcp of 127.0.0.1 is in use\n", taken);
    assert_string_equal(result->err, expected);
    close(fd);
    assert_int_equal(WEXITSTATUS(run("", 0, FAKE "exit:0:0 -p 127.0.0.1:%u:80 %s", taken, program)->status), 0);

    result = run("", 0, FAKE "exit:0:0 -p 127.0.0.1::80 -p 53/udp %s", program);
    assert_int_equal(WEXITSTATUS(result->status), 0);
    assert_int_equal(
        sscanf(result->err,
               "knarr: port 80/tcp of the guest is 127.0.0.1:%u\nknarr: port 53/udp of the guest is 0.0.0.0:%u",
               &number, &other),
        2);
    assert_true(number > 0 && other > 0);
    result = run("", 0, FAKE "exit:0:0 -p 127.0.0.1:%u:80 -p 127.0.0.1:%u:81 %s", number, number, program);
    assert_int_equal(WEXITSTATUS(result->status), 125); /* both at one */
}

static void write_file(const char *name, const void *bytes, size_t size, mode_t mode) {
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    assert_true(fd >= 0 && write_all(fd, bytes, size));
    fchmod(fd, mode);
    close(fd);
}

static struct {
    Elf64_Ehdr header;
    Elf64_Phdr segment;
} elf = {
    .header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
               .e_type = ET_EXEC,
               .e_machine = EM_X86_64,
               .e_version = EV_CURRENT,
               .e_phoff = sizeof(Elf64_Ehdr),
               .e_ehsize = sizeof(Elf64_Ehdr),
               .e_phentsize = sizeof(Elf64_Phdr),
               .e_phnum = 1},
    .segment = {.p_type = PT_LOAD, .p_filesz = sizeof(elf), .p_memsz = sizeof(elf)},
};

static void refuses_bad_programs(void **state) {
    static const struct {
        const char *name;
        int status;
        const char *reason;
    } cases[] = {
        {"missing", 127, "not found"},
        {"prog/x", 127, "not found"},
        {"empty", 126, "an empty file"},
        {"text", 126, "not an ELF file"},
        {"plain", 126, "not executable"},
        {"short", 126, "a truncated ELF file"},
        {"cut", 126, "behind its end"},
        {"arm", 126, "64-bit ARM"},
        {"i386", 126, "32-bit x86"},
        {"", 126, "a directory"},
        {"dynamic", 127, "/lib/ld.so is neither in the guest nor on the host"},
    };
    struct {
        Elf64_Ehdr header;
        Elf64_Phdr segment[2];
        char interpreter[16];
    } dynamic = {.header = elf.header, .segment = {elf.segment}, .interpreter = "/lib/ld.so"};
    typeof(elf) bad = elf;

    write_file("empty", "", 0, 0755);
    write_file("text", "hello\n", 6, 0755);
    write_file("plain", &elf, sizeof(elf), 0644);
    write_file("short", &elf, 20, 0755);
    write_file("cut", &elf, sizeof(elf) - 1, 0755);
    bad.header.e_machine = EM_AARCH64;
    write_file("arm", &bad, sizeof(bad), 0755);
    bad.header.e_machine = EM_386;
    bad.header.e_ident[EI_CLASS] = ELFCLASS32;
    write_file("i386", &bad, sizeof(bad), 0755);
    dynamic.header.e_phnum = 2;
    dynamic.segment[1].p_type = PT_INTERP;
    dynamic.segment[1].p_offset = offsetof(typeof(dynamic), interpreter);
    dynamic.segment[1].p_filesz = sizeof(dynamic.interpreter);
    write_file("dynamic", &dynamic, sizeof(dynamic), 0755);

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct result *result = run("", 0, FAKE "exit:0:0 %s/%s", directory, cases[i].name);
        assert_int_equal(WEXITSTATUS(result->status), cases[i].status);
        if (!strstr(result->err, cases[i].reason))
            fail_msg("%s: \"%s\" is not in: %s", cases[i].name, cases[i].reason, result->err);
        assert_ptr_equal(strchr(result->err, '\n'), result->err + result->err_size - 1); /* one line */
        assert_int_equal(result->out_size, 0);
    }
}

static void looks_into_the_root_first(void **state) {
    char command[512], expected[64];

    snprintf(command, sizeof(command),
             "cd %s && mkdir -p root/usr/bin root/home && cp -p prog root/usr/bin/box && ln -s usr/bin root/bin && "
             "ln -s box root/usr/bin/sh && ln root/usr/bin/box root/home/other && ln -s /etc/passwd root/out && "
             "tar -C root -cJf root.tar.xz . && (cd root && find . | cpio -o -H newc 2>/dev/null) > root.cpio",
             directory);
    assert_int_equal(system(command), 0);
    static const char *const roots[] = {"root", "root.tar.xz", "root.cpio"};
    static const char *const programs[][2] = {
        {"box", "/usr/bin/box"},
        {"sh", "/usr/bin/sh"},
        {"/bin/sh", "/bin/sh"},
        {"./other", "/home/./other"},
    };
    for (size_t r = 0; r < 3; r++) {
        for (size_t p = 0; p < 4; p++) {
            struct result *result =
                run("", 0, FAKE "config -w /home --root %s/%s %s", directory, roots[r], programs[p][0]);
            snprintf(expected, sizeof(expected), "\nexec=%s\n", programs[p][1]);
            if (!strstr(result->out, expected))
                fail_msg("%s in %s: %s%s", programs[p][0], roots[r], result->out, result->err);
        }
    }
    struct result *result = run("", 0, FAKE "config --root %s/root /out", directory);
    assert_int_equal(WEXITSTATUS(result->status), 127);
    result = run("", 0, FAKE "config --root %s/root %s", directory, program);
    assert_non_null(strstr(result->out, "\nexec=/prog\n"));
}

/* Starts knarr with pipes or a terminal and gives back its process. */
static pid_t start(int in, int out, const char *fmt, ...) {
    char words[4096];
    va_list args;

    va_start(args, fmt);
    vsnprintf(words, sizeof(words), fmt, args);
    va_end(args);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(in, 0);
        dup2(out, 1);
        for (int fd = 3; fd < 32; fd++)
            close(fd);
        become_knarr(words);
    }
    return pid;
}

static int wait_for(pid_t pid) {
    int status = -1;

    alarm(30);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    alarm(0);
    return status;
}

static void ends_when_nobody_reads(void **state) {
    int out[2];
    char some[100];

    assert_int_equal(pipe(out), 0);
    pid_t pid = start(open("/dev/null", O_RDONLY), out[1], FAKE "flood %s", program);
    close(out[1]);
    assert_int_equal(read(out[0], some, sizeof(some)), sizeof(some));
    close(out[0]);
    assert_int_equal(WEXITSTATUS(wait_for(pid)), 128 + SIGPIPE);
}

static void forwards_signals(void **state) {
    int in[2], out[2];
    char byte;

    assert_int_equal(pipe(in) | pipe(out), 0);
    pid_t pid = start(in[0], out[1], FAKE "echo %s", program);
    assert_int_equal(write(in[1], "x", 1), 1);
    assert_int_equal(read(out[0], &byte, 1), 1); /* it runs */
    kill(pid, SIGTERM);
    assert_int_equal(WEXITSTATUS(wait_for(pid)), 128 + SIGTERM);
    close(in[0]), close(in[1]), close(out[0]), close(out[1]);
}

static void ends_what_hangs_at_the_third_signal(void **state) {
    int out[2];
    char line[8];

    assert_int_equal(pipe(out), 0);
    pid_t pid = start(open("/dev/null", O_RDONLY), out[1], FAKE "hang %s", program);
    assert_int_equal(read(out[0], line, 8), 8);
    for (int i = 0; i < 3; i++) {
        kill(pid, SIGINT);
        usleep(50000);
    }
    assert_int_equal(WEXITSTATUS(wait_for(pid)), 128 + SIGINT);
    close(out[0]), close(out[1]);
}

static void leaves_no_machine_behind(void **state) {
    int out[2];
    char line[8];

    assert_int_equal(pipe(out), 0);
    pid_t pid = start(open("/dev/null", O_RDONLY), out[1], FAKE "hang %s", program);
    close(out[1]);
    assert_int_equal(read(out[0], line, 8), 8);
    kill(pid, SIGKILL);
    wait_for(pid);
    /* The fake QEMU holds no end of this pipe; its own death shows in /proc. */
    char command[256];
    snprintf(command, sizeof(command), "sleep 0.2; ! grep -alz 'fake=[h]ang' /proc/[0-9]*/cmdline 2>/dev/null");
    assert_int_equal(system(command), 0);
    close(out[0]);
}

static void restores_the_terminal(void **state) {
    int master, terminal;
    struct termios before = {0}, during = {0}, after = {0};
    struct winsize size = {.ws_row = 33, .ws_col = 99};
    char text[256] = "";

    assert_int_equal(openpty(&master, &terminal, NULL, NULL, &size), 0);
    tcgetattr(terminal, &before);
    pid_t pid = start(terminal, terminal, FAKE "echo %s", program);
    for (int i = 0; i < 100; i++) {
        tcgetattr(terminal, &during);
        if (!(during.c_lflag & ICANON))
            break;
        usleep(20000);
    }
    assert_false(during.c_lflag & (ICANON | ISIG | ECHO));
    assert_int_equal(write(master, "a\003b", 3), 3); /* Ctrl-C is the program's */
    for (size_t got = 0; got < 3;)
        got += (size_t)read(master, text + got, sizeof(text) - 1 - got);
    assert_memory_equal(text, "a\003b", 3);
    assert_int_equal(write(master, "\035\035\035", 3), 3);
    assert_int_equal(WEXITSTATUS(wait_for(pid)), 128 + SIGKILL);
    tcgetattr(terminal, &after);
    assert_memory_equal(&before, &after, sizeof(before));
    close(master), close(terminal);
}

static void prints_the_command(void **state) {
    struct result *result =
        run("", 0, "run --dry-run --accel tcg -m 64M --cpus 2 --machine q35 --kernel-arg a'b %s", program);
    assert_int_equal(WEXITSTATUS(result->status), 0);
    assert_non_null(strstr(result->out, " -accel tcg -cpu max -smp 2 -m 64M "));
    assert_non_null(strstr(result->out, " -append 'a'\\''b'\n"));
}

static void refuses_what_is_no_kernel(void **state) {
    struct result *result = run("", 0, FAKE "exit:0:0 --kernel %s %s", program, program);
    assert_int_equal(WEXITSTATUS(result->status), 125);
    assert_non_null(strstr(result->err, "not a kernel"));
    result = run("", 0, FAKE "exit:0:0 --kernel /nowhere %s", program);
    assert_int_equal(WEXITSTATUS(result->status), 125);
    result = run("", 0, FAKE "exit:0:0 -m 2M %s", program);
    assert_int_equal(WEXITSTATUS(result->status), 125);
    assert_non_null(strstr(result->err, "2048 KiB of memory do not hold"));
}

static void refuses_wrong_options(void **state) {
    static const char *const wrong[] = {"-m 1",
                                        "-m x",
                                        "--cpus 0",
                                        "--cpus 1000",
                                        "--accel x",
                                        "--what",
                                        "-w rel",
                                        "-e =x",
                                        "--gdb=0",
                                        "--root /nowhere",
                                        "-p 0:80",
                                        "-p 80:x",
                                        "-p 1-3:1-2",
                                        "-p 1.2.3:80:80",
                                        "-p [::1]:80:80",
                                        "-p 80/sctp",
                                        "-p 65536",
                                        "-p 5-4",
                                        "--net what",
                                        "--net tap=",
                                        "--net tap=no.such.tap",
                                        "--net tap=lo",
                                        "--net user,x=1",
                                        "--net none --ip 1.2.3.4",
                                        "--net none --net user",
                                        "--net user --net none",
                                        "--net none -p 80",
                                        "--net tap=t --net tap=t",
                                        "--ip 1.2.3",
                                        "--ip 1.2.3.4/33",
                                        "--ip 1.2.3.4/",
                                        "--ip 10.0.0.1/31",
                                        "--ip none --ip6 none",
                                        "--ip none -p 80",
                                        "--ip6 1.2.3.4",
                                        "--gateway x",
                                        "--mac 02:00:00:00:00",
                                        "--mac 01:00:00:00:00:00",
                                        "--dns x",
                                        "--add-host x",
                                        "--add-host x:y",
                                        "--net user,mtu=9",
                                        "--net user,vhost=on",
                                        "-m"};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct result *result =
            run("", 0, "run %s %s", wrong[i], i + 1 < sizeof(wrong) / sizeof(wrong[0]) ? program : "");
        if (WEXITSTATUS(result->status) != 125 || strncmp(result->err, "knarr: ", 7) != 0)
            fail_msg("%s: %d: %s", wrong[i], result->status, result->err);
    }
}

static int set_up(void **state) {
    if (!mkdtemp(directory))
        return -1;
    snprintf(program, sizeof(program), "%s/prog", directory);
    write_file("prog", &elf, sizeof(elf), 0755);

    struct {
        Elf64_Ehdr header;
        Elf64_Phdr segment[2];
    } pvh = {.header = elf.header, .segment = {{.p_type = PT_LOAD, .p_paddr = 1 << 20, .p_memsz = 1 << 20}}};
    pvh.header.e_phnum = 2;
    pvh.segment[1].p_type = PT_NOTE;
    write_file("kernel", &pvh, sizeof(pvh), 0644);
    snprintf(kernel, sizeof(kernel), "%s/kernel", directory);
    return 0;
}

static int tear_down(void **state) {
    char command[128];

    snprintf(command, sizeof(command), "rm -rf %s", directory);
    return system(command);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_exit_status),
        cmocka_unit_test(separates_the_streams),
        cmocka_unit_test(relays_input_byte_for_byte),
        cmocka_unit_test(says_why_the_machine_failed),
        cmocka_unit_test(hands_over_the_configuration),
        cmocka_unit_test(hands_over_the_network),
        cmocka_unit_test(makes_network_devices),
        cmocka_unit_test(publishes_ports),
        cmocka_unit_test(refuses_bad_programs),
        cmocka_unit_test(looks_into_the_root_first),
        cmocka_unit_test(ends_when_nobody_reads),
        cmocka_unit_test(forwards_signals),
        cmocka_unit_test(ends_what_hangs_at_the_third_signal),
        cmocka_unit_test(leaves_no_machine_behind),
        cmocka_unit_test(restores_the_terminal),
        cmocka_unit_test(prints_the_command),
        cmocka_unit_test(refuses_what_is_no_kernel),
        cmocka_unit_test(refuses_wrong_options),
    };

    if (argc > 1 && strcmp(argv[1], "-nodefaults") == 0)
        return fake_main(argc, argv);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
