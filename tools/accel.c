/*
 * The probe for KVM and the memory of its answer, one line in $XDG_CACHE_HOME/knarr/accel: a key and "kvm" or "tcg". The
 * key is made of everything that could change the answer. Whatever fails here is silent: without an answer it is TCG.
 */
#include "tools/accel.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "tools/frame.h"
#include "tools/qemu.h"

enum { PROBE_MS = 1000 };

/* FNV-1a: not against malice, only against mistaking one build for another. */
static void hash(uint64_t *state, const void *data, size_t size) {
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++)
        *state = (*state ^ bytes[i]) * 0x100000001b3;
}

static void hash_file(uint64_t *state, const char *path) {
    uint8_t buffer[64 << 10];
    ssize_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && (got = read(fd, buffer, sizeof(buffer))) > 0)
        hash(state, buffer, (size_t)got);
    if (fd >= 0)
        close(fd);
}

/* QEMU is known by its file: asking it for its version would take longer than the guest. */
static void hash_identity(uint64_t *state, const char *path) {
    struct stat status;

    hash(state, path, strlen(path) + 1);
    if (stat(path, &status) == 0) {
        uint64_t identity[] = {(uint64_t)status.st_size, (uint64_t)status.st_mtim.tv_sec,
                               (uint64_t)status.st_mtim.tv_nsec, status.st_ino};
        hash(state, identity, sizeof(identity));
    }
}

static uint64_t make_key(const struct run_options *options) {
    uint64_t state = 0xcbf29ce484222325;
    struct utsname host;

    if (uname(&host) == 0)
        hash(&state, host.release, strlen(host.release) + 1);
    hash_file(&state, "/proc/sys/kernel/random/boot_id");
    hash_identity(&state, "/dev/kvm");
    hash_identity(&state, qemu_program());
    hash_file(&state, options->kernel);
    return state;
}

static char *cache_directory(void) {
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");

    if (cache && *cache == '/')
        return xasprintf("%s/knarr", cache);
    return home && *home == '/' ? xasprintf("%s/.cache/knarr", home) : NULL;
}

static bool recall(const char *directory, uint64_t key, enum accel *accel) {
    char *path = xasprintf("%s/accel", directory);
    char line[64] = "";
    char answer[8];
    uint64_t known;
    FILE *file = fopen(path, "re");
    bool found =
        file && fgets(line, sizeof(line), file) && sscanf(line, "%" SCNx64 " %7s", &known, answer) == 2 && known == key;

    if (file)
        fclose(file);
    free(path);
    if (found)
        *accel = strcmp(answer, "kvm") == 0 ? ACCEL_KVM : ACCEL_TCG;
    return found;
}

static void make_directories(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    mkdir(path, 0700);
}

/* Through a file of its own and rename(2): others may be doing the same. */
static void remember(char *directory, uint64_t key, enum accel accel) {
    char *path = xasprintf("%s/accel", directory);
    char *fresh = xasprintf("%s/accel.%d", directory, (int)getpid());
    char *line = xasprintf("%016" PRIx64 " %s\n", key, accel == ACCEL_KVM ? "kvm" : "tcg");

    make_directories(directory);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        bool written = write_all(fd, line, strlen(line));
        close(fd);
        if (!written || rename(fresh, path) != 0)
            unlink(fresh);
    }
    free(line);
    free(fresh);
    free(path);
}

static int ms_since(const struct timespec *start) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int)((now.tv_sec - start->tv_sec) * 1000 + (now.tv_nsec - start->tv_nsec) / 1000000);
}

/* Boots the kernel with `probe`: it works when the guest says so in time. */
static bool probe(const struct run_options *options) {
    static struct frame_decoder decoder;
    struct run_options tiny = {.memory = 64 << 20, .cpus = 1, .machine = MACHINE_MICROVM, .kernel = options->kernel};
    struct qemu_setup setup = {.options = &tiny, .accel = ACCEL_KVM, .append = "console=framed probe"};
    struct timespec start;
    struct frame frame;
    bool works = false;

    clock_gettime(CLOCK_MONOTONIC, &start);
    struct qemu qemu = qemu_start(&setup);
    for (;;) {
        struct pollfd console = {.fd = qemu.console, .events = POLLIN};
        int left = PROBE_MS - ms_since(&start);
        if (left <= 0 || poll(&console, 1, left) <= 0)
            break;
        size_t space;
        uint8_t *to = frame_space(&decoder, &space);
        ssize_t got = read(qemu.console, to, space);
        if (got <= 0)
            break;
        decoder.end += (size_t)got;

        int found;
        while ((found = frame_next(&decoder, &frame)) == 1 && frame.type != FRAME_EXIT)
            ;
        if (found != 0) {
            works = found == 1 && frame_exit_status(&frame) == 0;
            break;
        }
    }
    qemu_stop(&qemu);
    close(qemu.console);
    close(qemu.log);
    close(qemu.errors);
    return works;
}

enum accel accel_choose(const struct run_options *options) {
    enum accel accel;

    if (options->accel != ACCEL_AUTO)
        return options->accel;
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        return ACCEL_TCG;
    close(kvm);

    uint64_t key = make_key(options);
    char *directory = cache_directory();
    if (!directory || !recall(directory, key, &accel)) {
        accel = probe(options) ? ACCEL_KVM : ACCEL_TCG;
        if (directory)
            remember(directory, key, accel);
    }
    free(directory);
    return accel;
}
