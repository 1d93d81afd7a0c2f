// Takes all there is of something: `touch` memory, `file` space in the root file system, `threads`, `pipes` and what is in them.
// runner: none
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

static void *wait_forever(void *arg)
{
    pause();
    return arg;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    static char block[65536];
    printf("start\n");
    fflush(stdout);
    if (!strcmp(what, "touch"))
        for (;;) {
            char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (p == MAP_FAILED) { // a kernel that does not overcommit may refuse in time: touch what there is
                printf("refused\n");
                return 1;
            }
            memset(p, 1, 1 << 20);
        }
    if (!strcmp(what, "file")) {
        int fd = open("big", O_WRONLY | O_CREAT, 0644);
        while (write(fd, block, sizeof block) > 0)
            ;
        printf("%s\n", errno_name(errno));
        unlink("big");
        close(fd);
        fd = open("small", O_WRONLY | O_CREAT, 0644); // room again
        SHOW(write(fd, block, 4096));
    }
    if (!strcmp(what, "threads")) {
        pthread_t t;
        int n = 0, error;
        while ((error = pthread_create(&t, NULL, wait_forever, NULL)) == 0 && n < 20000)
            n++;
        printf("%s\n", errno_name(error));
    }
    if (!strcmp(what, "pipes")) {
        int p[2], n = 0;
        while (pipe(p) == 0) {
            fcntl(p[1], F_SETFL, O_NONBLOCK);
            while (write(p[1], block, sizeof block) > 0)
                ;
            n++;
        }
        printf("%s\n", errno_name(errno));
    }
    return 0;
}
