// runner: none
// Memory at its limit: several processes read a file that is larger than memory, read it through a mapping, write to a disk, change
// pages of a file of the root image, fork and exec, and use anonymous memory, each checking what it gets, until the time is over.
// `pressure NUMBERED CHANGED DISK-DIRECTORY MIB SECONDS`: a file whose pages begin with their number, another one of the same kind
// that is changed, where to write, anonymous memory in all.
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define PAGE 4096ul
#define FILE_PAGES 768ul // of a file on the disk
#define CHANGED 256ul    // pages of the image's file that are changed

static const char *numbered, *changed, *directory, *self;
static size_t mib;
static time_t end;
static uint32_t state;

static _Noreturn void wrong(const char *what, size_t at) {
    printf("%s: wrong at %#zx: %s\n", what, at, errno_name(errno));
    exit(1);
}

static int going_on(void) { return time(NULL) < end; }

static size_t file_pages(int fd) {
    struct stat s;
    if (fd < 0 || fstat(fd, &s) != 0)
        wrong("open", 0);
    return (size_t)s.st_size / PAGE;
}

static void read_file(void) {
    static uint64_t buf[8 * PAGE / 8];
    int fd = open(numbered, O_RDONLY);
    size_t pages = file_pages(fd), at = 0;
    while (going_on()) {
        at = noise(&state) % 4 ? at + 8 : noise(&state);
        at %= pages - 8;
        if (pread(fd, buf, sizeof(buf), (off_t)(at * PAGE)) != sizeof(buf))
            wrong("read", at);
        for (size_t i = 0; i < 8; i++)
            if (buf[i * PAGE / 8] != at + i)
                wrong("what was read", at + i);
    }
}

static void read_mapped(void) {
    int fd = open(numbered, O_RDONLY);
    size_t pages = file_pages(fd), at = 0;
    volatile uint64_t *p = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        wrong("mmap", 0);
    while (going_on()) {
        at = (noise(&state) % 8 ? at + 1 : noise(&state)) % pages;
        if (p[at * PAGE / 8] != at)
            wrong("what is mapped", at);
    }
}

static void write_disk(void) {
    char name[256];
    uint64_t buf[PAGE / 8] = {0};
    for (uint64_t round = 1; going_on(); round++) {
        snprintf(name, sizeof(name), "%s/%d-%d", directory, (int)getpid(), (int)(round % 3));
        int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0666);
        if (fd < 0)
            wrong(name, 0);
        for (size_t i = 0; i < FILE_PAGES; i++) {
            buf[0] = buf[PAGE / 8 - 1] = round * FILE_PAGES + i;
            if (write(fd, buf, PAGE) != (ssize_t)PAGE)
                wrong("write", i);
        }
        if (round % 4 == 0 && fsync(fd) != 0)
            wrong("fsync", round);
        volatile uint64_t *p = mmap(NULL, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            wrong("mmap", round);
        for (size_t i = 0; i < FILE_PAGES; i += 3)
            p[i * PAGE / 8 + 1] = ~i;
        for (size_t i = 0; i < FILE_PAGES; i++) {
            if (pread(fd, buf, PAGE, (off_t)(i * PAGE)) != (ssize_t)PAGE || buf[0] != round * FILE_PAGES + i ||
                buf[PAGE / 8 - 1] != buf[0] || buf[1] != (i % 3 ? 0 : ~i))
                wrong("what was written", i);
            buf[1] = 0;
        }
        munmap((void *)p, FILE_PAGES * PAGE);
        close(fd);
        if (round % 3 == 0 && unlink(name) != 0)
            wrong("unlink", 0);
    }
}

static void change_image(void) {
    int fd = open(changed, O_RDWR);
    size_t pages = file_pages(fd);
    static uint64_t value[CHANGED];
    uint64_t buf[2];
    while (going_on()) {
        size_t i = noise(&state) % CHANGED, at = i * (pages / CHANGED);
        if (noise(&state) % 4 == 0) {
            value[i] = noise(&state);
            if (pwrite(fd, &value[i], 8, (off_t)(at * PAGE + 8)) != 8)
                wrong("change", at);
        }
        if (pread(fd, buf, 16, (off_t)(at * PAGE)) != 16 || buf[0] != at || buf[1] != value[i])
            wrong("what was changed", at);
        at = noise(&state) % pages;
        if (pread(fd, buf, 8, (off_t)(at * PAGE)) != 8 || buf[0] != at)
            wrong("what was not changed", at);
    }
}

static void fork_and_exec(void) {
    for (int round = 0; going_on(); round++) {
        pid_t pid = fork();
        if (pid < 0)
            wrong("fork", (size_t)round);
        if (pid == 0) {
            if (round % 2)
                execl(self, self, "child", NULL);
            _exit(round % 2 ? errno : 42);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 42)
            wrong(round % 2 ? "exec" : "child", (size_t)status);
    }
}

static void use_memory(void) {
    size_t pages = mib * 256 / 2;
    while (going_on()) {
        uint64_t mark = noise(&state), step = PAGE / 8;
        volatile uint64_t *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            wrong("mmap", pages);
        for (size_t i = 0; i < pages; i++)
            p[i * step] = mark + i;
        for (size_t i = 0; i < pages; i++)
            if (p[i * step] != mark + i)
                wrong("memory", i);
        munmap((void *)p, pages * PAGE);
    }
}

int main(int argc, char **argv) {
    static void (*const works[])(void) = {read_file,    read_mapped,   write_disk, write_disk, change_image,
                                          fork_and_exec, fork_and_exec, use_memory, use_memory};
    const int count = sizeof(works) / sizeof(works[0]);
    if (argc == 2)
        return 42;
    self = argv[0];
    numbered = argv[1];
    changed = argv[2];
    directory = argv[3];
    mib = strtoul(argv[4], NULL, 10);
    end = time(NULL) + atoi(argv[5]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid < 0)
            wrong("first fork", (size_t)i);
        if (pid == 0) {
            state = (uint32_t)i + 1;
            works[i]();
            exit(0);
        }
    }
    int failed = 0, status;
    while (wait(&status) > 0)
        if (status != 0) {
            printf("ended with %#x\n", status);
            failed = 1;
        }
    puts(failed ? "failed" : "done");
    return failed;
}
