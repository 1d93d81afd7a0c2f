/*
 * Usage from /proc; see the header.
 */
#include "tools/machine/usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/common.h"

static char *read_text(pid_t pid, const char *name, char *text, size_t size) {
    char *path = xasprintf("/proc/%d/%s", (int)pid, name);
    FILE *file = fopen(path, "re");
    size_t got = file ? fread(text, 1, size - 1, file) : 0;

    text[got] = '\0';
    if (file)
        fclose(file);
    free(path);
    return text;
}

static uint64_t cpu_time(pid_t pid) {
    char text[1024];
    const char *end = strrchr(read_text(pid, "stat", text, sizeof(text)), ')'); /* of a name that may have anything */
    uint64_t user, system;

    if (!end ||
        sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &user, &system) != 2)
        return 0;
    return (user + system) * (1000000000ULL / (uint64_t)sysconf(_SC_CLK_TCK));
}

static uint64_t resident(pid_t pid) {
    char text[256];
    uint64_t pages;

    return sscanf(read_text(pid, "statm", text, sizeof(text)), "%*u %" SCNu64, &pages) == 1
               ? pages * (uint64_t)sysconf(_SC_PAGESIZE)
               : 0;
}

static uint64_t io_bytes(pid_t pid, const char *what) {
    char text[512];
    const char *at = strstr(read_text(pid, "io", text, sizeof(text)), what);

    return at ? strtoull(at + strlen(what), NULL, 10) : 0;
}

char *usage_text(pid_t qemu) {
    if (qemu <= 0)
        return xstrdup("cpu=0\nmemory=0\nread=0\nwritten=0\n");
    return xasprintf("cpu=%" PRIu64 "\nmemory=%" PRIu64 "\nread=%" PRIu64 "\nwritten=%" PRIu64 "\n", cpu_time(qemu),
                     resident(qemu), io_bytes(qemu, "rchar: "), io_bytes(qemu, "wchar: "));
}
