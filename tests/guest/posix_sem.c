// POSIX semaphores and shared memory of the C library: named ones in /dev/shm, unnamed ones shared between processes.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include <fcntl.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>

int main(void)
{
    char name[32], shared[32];
    int value;
    snprintf(name, sizeof name, "/knarr-sem-%d", getpid());
    snprintf(shared, sizeof shared, "/knarr-shm-%d", getpid());
    section("named");
    HOLDS(sem_open(name, 0) == SEM_FAILED && errno == ENOENT);
    sem_t *s = sem_open(name, O_CREAT | O_EXCL, 0600, 2);
    HOLDS(s != SEM_FAILED);
    HOLDS(sem_open(name, O_CREAT | O_EXCL, 0600, 2) == SEM_FAILED && errno == EEXIST);
    HOLDS(sem_open(name, 0) == s);
    SHOW(sem_wait(s));
    SHOW(sem_trywait(s));
    SHOW(sem_trywait(s));
    SHOW(sem_timedwait(s, &(struct timespec){1, 0}));
    pid_t pid = fork();
    if (!pid) {
        sem_t *other = sem_open(name, 0);
        usleep(10000);
        _exit(sem_post(other) ? 1 : 0);
    }
    SHOW(sem_wait(s));
    waitpid(pid, &value, 0);
    SHOW(value);
    SHOW(sem_unlink(name));
    SHOW(sem_unlink(name));
    SHOW(sem_close(s));

    section("shared memory");
    int fd = shm_open(shared, O_RDWR | O_CREAT | O_EXCL, 0600);
    HOLDS(fd >= 0);
    struct statfs fs;
    fstatfs(fd, &fs);
    HOLDS(fs.f_type == 0x01021994);
    SHOW(ftruncate(fd, 4096));
    struct { sem_t ping, pong; int turns; } *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    SHOW(sem_init(&m->ping, 1, 0));
    SHOW(sem_init(&m->pong, 1, 0));
    pid = fork();
    if (!pid) {
        for (int i = 0; i < 500; i++) {
            sem_wait(&m->ping);
            m->turns++;
            sem_post(&m->pong);
        }
        _exit(0);
    }
    for (int i = 0; i < 500; i++) {
        sem_post(&m->ping);
        sem_wait(&m->pong);
    }
    waitpid(pid, &value, 0);
    printf("%d turns\n", m->turns);
    SHOW(shm_unlink(shared));
    SHOW(shm_unlink(shared));
    struct stat st;
    stat("/dev/shm", &st);
    printf("%o\n", st.st_mode & 01777);
    return 0;
}
