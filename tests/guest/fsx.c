// One file under random operations, each compared with a copy in memory: read, write, append, vectors, truncate, holes, mappings
// shared and private, copies inside the file, sync and opening anew, through two descriptors. fsx DIR|FILE [SECONDS [SEED [BYTES]]];
// prints what was wrong with the last operations before it, and at the end one line. Not supported operations are left out and named.
// build: musl
// runner: none
#include "check.h"
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#ifndef FALLOC_FL_ZERO_RANGE
#define FALLOC_FL_KEEP_SIZE 1
#define FALLOC_FL_PUNCH_HOLE 2
#define FALLOC_FL_ZERO_RANGE 16
#endif
enum { PAGE = 4096, HISTORY = 24, KINDS = 17 };

static char *model, *buffer; // model: what the file must hold; zeroes behind its size
static long size, most;
static int files[2];
static char path[300];
static uint32_t state;
static unsigned long done[KINDS];
static bool unsupported[KINDS];
static struct {
    char text[100];
} history[HISTORY];
static unsigned long step;

static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(history[step++ % HISTORY].text, sizeof history[0].text, format, args);
    va_end(args);
}

static void wrong(const char *what, long at)
{
    printf("wrong: %s at %ld (size %ld), %s; the last operations:\n", what, at, size, errno_name(errno));
    for (unsigned long i = step > HISTORY ? step - HISTORY : 0; i < step; i++)
        printf("  %lu %s\n", i, history[i % HISTORY].text);
    exit(1);
}

static uint32_t below(uint32_t n)
{
    return noise(&state) % (n ? n : 1);
}

static int any(void)
{
    return files[below(2)];
}

// A random range within [0, limit), often small, often on page boundaries.
static void range(long limit, long *at, long *n)
{
    *at = (long)(((uint64_t)noise(&state) << 16 ^ noise(&state)) % (uint64_t)(limit > 0 ? limit : 1));
    if (below(4) == 0)
        *at &= ~(PAGE - 1L);
    long longest = limit - *at;
    *n = below(3) == 0 ? 1 + (long)below(PAGE) : 1 + (long)below(below(2) ? 20000 : 150000);
    if (below(6) == 0)
        *n = (*n | (PAGE - 1)) + 1;
    if (*n > longest)
        *n = longest;
}

static void grow(long end)
{
    if (end > size)
        size = end;
}

static void check_bytes(const char *what, const char *got, long at, long n)
{
    if (memcmp(got, model + at, (size_t)n) == 0)
        return;
    for (long i = 0; i < n; i++)
        if (got[i] != model[at + i]) {
            char text[120];
            snprintf(text, sizeof text, "%s gave %02x for %02x", what, (unsigned char)got[i], (unsigned char)model[at + i]);
            wrong(text, at + i);
        }
}

static void fill(char *to, long n)
{
    for (long i = 0; i < n; i++)
        to[i] = (char)(state + (uint32_t)i * 7 + (uint32_t)(i >> 8));
    noise(&state);
}

static void do_read(void)
{
    long at, n, want;
    range(most, &at, &n);
    say("read %ld+%ld", at, n);
    want = at >= size ? 0 : n < size - at ? n : size - at;
    long got = pread(any(), buffer, (size_t)n, at);
    if (got != want)
        wrong("pread's count", got);
    check_bytes("pread", buffer, at, got);
}

static void do_write(void)
{
    long at, n;
    range(most, &at, &n);
    if (n <= 0)
        return;
    say("write %ld+%ld", at, n);
    fill(model + at, n);
    if (pwrite(any(), model + at, (size_t)n, at) != n)
        wrong("pwrite's count", at);
    grow(at + n);
}

static void do_vectors(void)
{
    long at, n;
    range(most, &at, &n);
    if (n < 4)
        return;
    long a = n / 3, b = n / 4;
    say("pwritev %ld+%ld", at, n);
    fill(model + at, n);
    struct iovec v[3] = {{model + at, (size_t)a}, {model + at + a, (size_t)b}, {model + at + a + b, (size_t)(n - a - b)}};
    if (pwritev(any(), v, 3, at) != n)
        wrong("pwritev's count", at);
    grow(at + n);
    struct iovec w[2] = {{buffer, (size_t)b}, {buffer + b, (size_t)(n - b)}};
    if (preadv(any(), w, 2, at) != n)
        wrong("preadv's count", at);
    check_bytes("preadv", buffer, at, n);
}

static void do_append(void)
{
    long n = 1 + (long)below(5000);
    if (size + n > most)
        return;
    int fd = open(path, O_WRONLY | O_APPEND);
    if (fd < 0)
        wrong("open to append", 0);
    say("append %ld at %ld", n, size);
    fill(model + size, n);
    if (write(fd, model + size, (size_t)n) != n)
        wrong("the append's count", size);
    grow(size + n);
    close(fd);
}

static void do_truncate(void)
{
    long to = below(8) == 0 ? 0 : (long)below((uint32_t)most);
    say("truncate %ld to %ld", size, to);
    if (below(2) ? ftruncate(any(), to) : truncate(path, to))
        wrong("truncate", to);
    if (to < size)
        memset(model + to, 0, (size_t)(size - to));
    size = to;
}

static void do_map_read(void)
{
    long at, n;
    range(size, &at, &n);
    if (n <= 0)
        return;
    say("map to read %ld+%ld", at, n);
    long start = at & ~(PAGE - 1L);
    char *p = mmap(NULL, (size_t)(at + n - start), PROT_READ, below(2) ? MAP_SHARED : MAP_PRIVATE, any(), start);
    if (p == MAP_FAILED)
        wrong("mmap", at);
    check_bytes("a mapping", p + (at - start), at, n);
    // What lies behind the end in the last page is zero.
    if (at + n == size && size % PAGE)
        for (char *q = p + (size - start); (uintptr_t)q % PAGE; q++)
            if (*q)
                wrong("a byte behind the end is not zero", size + (q - p) - (size - start));
    munmap(p, (size_t)(at + n - start));
}

static void do_map_write(void)
{
    long at, n;
    range(size, &at, &n);
    if (n <= 0)
        return;
    long start = at & ~(PAGE - 1L);
    int fd = any();
    bool shared = below(4) != 0, sync = below(3) == 0, writer = shared && below(3) == 0;
    say("map to write %ld+%ld%s%s%s", at, n, shared ? "" : " private", sync ? " msync" : "", writer ? " and pwrite" : "");
    char *p = mmap(NULL, (size_t)(at + n - start), PROT_READ | PROT_WRITE, shared ? MAP_SHARED : MAP_PRIVATE, fd, start);
    if (p == MAP_FAILED)
        wrong("mmap", at);
    fill(buffer, n);
    memcpy(p + (at - start), buffer, (size_t)n);
    if (shared)
        memcpy(model + at, buffer, (size_t)n);
    if (sync && msync(p, (size_t)(at + n - start), below(2) ? MS_SYNC : MS_ASYNC))
        wrong("msync", at);
    if (writer) { // from one place of the mapping into another of the file, and seen at once
        long to = (long)below((uint32_t)size), m = n < size - to ? n : size - to;
        if (m > 0 && (to + m <= start || to >= at + n)) {
            if (pwrite(files[0], p + (at - start), (size_t)m, to) != m)
                wrong("pwrite from the mapping", to);
            memcpy(model + to, model + at, (size_t)m);
        }
        char c = (char)noise(&state);
        if (pwrite(files[1], &c, 1, at) != 1)
            wrong("pwrite under the mapping", at);
        model[at] = c;
    }
    if (shared)
        check_bytes("the mapping after it was written to", p + (at - start), at, n);
    munmap(p, (size_t)(at + n - start));
}

// False: not supported here.
static bool allocate(int kind, int mode, long at, long n)
{
    if (fallocate(any(), mode, at, n) == 0)
        return true;
    if (errno != EOPNOTSUPP)
        wrong("fallocate", at);
    unsupported[kind] = true;
    return false;
}

static void do_punch(void)
{
    long at, n;
    range(most, &at, &n);
    if (n <= 0)
        return;
    say("punch %ld+%ld", at, n);
    if (allocate(7, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n))
        memset(model + at, 0, (size_t)n);
}

static void do_zero(void)
{
    long at, n;
    range(most, &at, &n);
    if (n <= 0)
        return;
    bool keep = below(2);
    say("zero %ld+%ld%s", at, n, keep ? " keeping the size" : "");
    if (!allocate(8, FALLOC_FL_ZERO_RANGE | (keep ? FALLOC_FL_KEEP_SIZE : 0), at, n))
        return;
    memset(model + at, 0, (size_t)n);
    if (!keep)
        grow(at + n);
}

static void do_allocate(void)
{
    long at, n;
    range(most, &at, &n);
    if (n <= 0)
        return;
    bool keep = below(2);
    say("allocate %ld+%ld%s", at, n, keep ? " keeping the size" : "");
    if (allocate(9, keep ? FALLOC_FL_KEEP_SIZE : 0, at, n) && !keep)
        grow(at + n);
}

static void do_copy(void)
{
    long from, to, n;
    range(size, &from, &n);
    if (n <= 0)
        return;
    to = (long)below((uint32_t)most);
    if (to + n > most || (from < to + n && to < from + n))
        return;
    say("copy %ld+%ld to %ld", from, n, to);
    off_t in = from, out = to;
    long left = n;
    while (left > 0) {
        long got = copy_file_range(files[0], &in, files[1], &out, (size_t)left, 0);
        if (got <= 0 && left == n && (errno == EOPNOTSUPP || errno == ENOSYS)) {
            unsupported[10] = true;
            return;
        }
        if (got <= 0)
            wrong("copy_file_range", from);
        left -= got;
    }
    memcpy(model + to, model + from, (size_t)n);
    grow(to + n);
}

static void do_sync(void)
{
    unsigned how = below(4);
    say("sync %u", how);
    if (how == 0 ? fsync(any()) : how == 1 ? fdatasync(any()) : how == 2 ? (int)syscall(SYS_sync_file_range, any(), 0L, 0L, 7) : 0)
        wrong("sync", how);
    if (how == 3)
        posix_fadvise(any(), 0, 0, POSIX_FADV_DONTNEED);
}

static void do_reopen(void)
{
    int i = (int)below(2);
    say("open anew");
    close(files[i]);
    files[i] = open(path, O_RDWR);
    if (files[i] < 0)
        wrong("open", i);
}

static void do_seek(void)
{
    long at = (long)below((uint32_t)most);
    say("seek data and hole from %ld", at);
    long data = lseek(files[0], at, SEEK_DATA), hole = lseek(files[0], at, SEEK_HOLE);
    if (at >= size) {
        if (data != -1 || hole != -1 || errno != ENXIO)
            wrong("lseek behind the end", data);
        return;
    }
    if (hole < at || hole > size || (data != -1 && (data < at || data >= size)))
        wrong("lseek's place", hole);
    for (long i = at; i < (data == -1 ? size : data); i++)
        if (model[i])
            wrong("data in what is called a hole", i);
}

static void do_stat(void)
{
    struct stat s;
    say("stat");
    if (stat(path, &s) || s.st_size != size)
        wrong("st_size", (long)s.st_size);
}

static void do_direct(void)
{
    long at, n;
    range(most, &at, &n);
    at &= ~(PAGE - 1L);
    n = n & ~(PAGE - 1L);
    if (n <= 0)
        return;
    int fd = open(path, O_RDWR | O_DIRECT);
    if (fd < 0) {
        unsupported[15] = true;
        return;
    }
    bool write = below(2);
    say("direct %s %ld+%ld", write ? "write" : "read", at, n);
    char *aligned = (char *)(((uintptr_t)buffer + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    if (write) {
        fill(aligned, n);
        memcpy(model + at, aligned, (size_t)n);
        if (pwrite(fd, aligned, (size_t)n, at) != n)
            wrong("direct pwrite", at);
        grow(at + n);
    } else {
        long want = at >= size ? 0 : n < size - at ? n : size - at, got = pread(fd, aligned, (size_t)n, at);
        if (got != want)
            wrong("direct pread's count", got);
        check_bytes("direct pread", aligned, at, got);
    }
    close(fd);
}

static void do_send(void)
{
    long at, n;
    range(size, &at, &n);
    int p[2];
    n = n < 30000 ? n : 30000;
    if (n <= 0 || pipe(p))
        return;
    say("sendfile %ld+%ld", at, n);
    off_t from = at;
    if (sendfile(p[1], any(), &from, (size_t)n) != n || read(p[0], buffer, (size_t)n) != n)
        wrong("sendfile's count", at);
    check_bytes("sendfile", buffer, at, n);
    close(p[0]);
    close(p[1]);
}

int main(int argc, char **argv)
{
    static void (*const kinds[KINDS])(void) = {do_read,  do_write,    do_vectors, do_append, do_truncate, do_map_read, do_map_write, do_punch, do_zero,
                                               do_allocate, do_copy, do_sync,   do_reopen,   do_seek,     do_stat,      do_direct, do_send};
    static const char *const names[KINDS] = {"read",     "write", "vectors", "append", "truncate", "map-read", "map-write", "punch", "zero",
                                             "allocate", "copy",  "sync",    "reopen", "seek",     "stat",     "direct",    "send"};
    if (argc < 2)
        give_up("fsx DIR|FILE [SECONDS [SEED [BYTES]]]");
    double seconds = argc > 2 ? atof(argv[2]) : 2;
    state = (argc > 3 ? (uint32_t)atoi(argv[3]) : 1) * 2654435761u | 1;
    most = argc > 4 ? atol(argv[4]) : 600000;
    model = calloc(1, (size_t)most + PAGE);
    buffer = malloc((size_t)most + 2 * PAGE);
    struct stat there;
    if (stat(argv[1], &there))
        give_up("%s", argv[1]);
    if (S_ISREG(there.st_mode))
        snprintf(path, sizeof path, "%s", argv[1]);
    else
        snprintf(path, sizeof path, "%s/fsx-%d", argv[1], getpid());
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < 2; i++)
        if ((files[i] = open(path, O_RDWR | O_CREAT, 0600)) < 0)
            give_up("open");
    if (S_ISREG(there.st_mode)) // what is in it already is the start
        size = read(files[0], model, (size_t)most);
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        unsigned kind = below(KINDS);
        if (unsupported[kind])
            continue;
        kinds[kind]();
        done[kind]++;
        if (below(50) == 0) {
            say("whole file");
            if (pread(files[0], buffer, (size_t)most, 0) != size)
                wrong("the whole file's size", size);
            check_bytes("the whole file", buffer, 0, size);
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9 < seconds);
    unsigned long least = ~0ul;
    for (int i = 0; i < KINDS; i++) {
        if (unsupported[i])
            printf("without %s\n", names[i]);
        else if (done[i] < least)
            least = done[i];
    }
    fprintf(stderr, "%lu operations, each kind at least %lu times\n", step, least);
    printf("%s\n", least ? "every byte was right" : "too slow");
    unlink(path);
    return 0;
}
