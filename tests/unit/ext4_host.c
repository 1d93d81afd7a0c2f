/* See ext4_host.h. */
#include "tests/unit/ext4_host.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char file[64];

static const char *image_file(void) {
    if (!file[0]) {
        const char *shm = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(file, sizeof(file), "%s/ext4-test-XXXXXX", shm);
        int fd = mkstemp(file);
        if (fd < 0)
            abort();
        close(fd);
    }
    return file;
}

void ext4_host_remove(void) {
    if (file[0])
        unlink(file);
    file[0] = 0;
}

void ext4_host_save(const char *name, const unsigned char *data, size_t size) {
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        abort();
    for (size_t at = 0; at < size; at += 4096) { /* sparse */
        size_t n = size - at < 4096 ? size - at : 4096;
        static const unsigned char zero[4096];
        if (memcmp(data + at, zero, n) != 0 && pwrite(fd, data + at, n, (off_t)at) != (ssize_t)n)
            abort();
    }
    close(fd);
}

static void load(unsigned char *data, size_t size) {
    int fd = open(image_file(), O_RDONLY);
    if (fd < 0)
        abort();
    for (size_t at = 0; at < size;) {
        ssize_t n = read(fd, data + at, size - at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    close(fd);
}

static int run(const char *format, ...) {
    char command[2048];
    va_list ap;
    va_start(ap, format);
    vsnprintf(command, sizeof(command), format, ap);
    va_end(ap);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

unsigned char *ext4_host_image(size_t size, const char *options) {
    int fd = open(image_file(), O_RDWR | O_TRUNC);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        abort();
    close(fd);
    if (run("PATH=$PATH:/usr/sbin:/sbin mke2fs -q -F -E hash_seed=11111111-2222-3333-4444-555555555555 %s %s "
            "</dev/null",
            options, image_file()))
        return NULL;
    unsigned char *data = calloc(1, size);
    load(data, size);
    return data;
}

int ext4_host_check(const unsigned char *data, size_t size) {
    ext4_host_save(image_file(), data, size);
    return run(
        "PATH=$PATH:/usr/sbin:/sbin; out=$(e2fsck -fn %s 2>&1) || { s=$?; echo \"$out\" | head -40 >&2; exit $s; }",
        image_file());
}

int ext4_host_check_replayed(const unsigned char *data, size_t size) {
    ext4_host_save(image_file(), data, size);
    return run("PATH=$PATH:/usr/sbin:/sbin; e2fsck -p -E journal_only %s >/dev/null 2>&1; out=$(e2fsck -fp %s 2>&1) || "
               "{ s=$?; [ $s -le 1 ] || { echo \"$out\" | head -40 >&2; exit $s; }; };"
               "out=$(e2fsck -fn %s 2>&1) || { s=$?; echo \"$out\" | head -40 >&2; exit $s; }",
               image_file(), image_file(), image_file());
}

int ext4_host_debugfs(unsigned char *data, size_t size, const char *commands) {
    ext4_host_save(image_file(), data, size);
    int status =
        run("printf '%s' | PATH=$PATH:/usr/sbin:/sbin debugfs -w -f - %s >/dev/null 2>&1", commands, image_file());
    load(data, size);
    return status;
}

size_t ext4_host_ask(const unsigned char *data, size_t size, const char *command, char *out, size_t max) {
    char line[512];
    ext4_host_save(image_file(), data, size);
    snprintf(line, sizeof(line), "PATH=$PATH:/usr/sbin:/sbin debugfs -R '%s' %s 2>/dev/null", command, image_file());
    FILE *f = popen(line, "r");
    size_t n = f ? fread(out, 1, max - 1, f) : 0;
    out[n] = 0;
    if (f)
        pclose(f);
    return n;
}

unsigned ext4_host_number(const char *variable, unsigned otherwise) {
    const char *s = getenv(variable);
    return s ? (unsigned)strtoul(s, NULL, 0) : otherwise;
}
