// Memory policies where the machine has one node, and the mistakes that are the same on every machine.
#include "check.h"
#include <sys/mman.h>
#include <sys/wait.h>

enum { DEFAULT, PREFERRED, BIND, INTERLEAVE, LOCAL };

static void policy(void)
{
    int mode = -1;
    unsigned long nodes[16] = {~0UL};
    SHOW(syscall(SYS_get_mempolicy, &mode, nodes, 1025, NULL, 0));
    printf("mode %d nodes %lx\n", mode, nodes[0]);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    unsigned long nodes[16] = {1};
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEEDS(syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 0));
    NEEDS(syscall(SYS_set_mempolicy, DEFAULT, NULL, 0));
    NEEDS(syscall(SYS_mbind, p, 8192, DEFAULT, NULL, 0, 0));
    NEEDS(syscall(SYS_move_pages, 0, 0, NULL, NULL, NULL, 0));
    NEEDS(syscall(SYS_migrate_pages, 0, 64, nodes, nodes));
    policy();
    SHOW(syscall(SYS_set_mempolicy, BIND, nodes, 64));
    policy();
    SHOW(syscall(SYS_set_mempolicy, BIND | 0x8000, nodes, 64));
    policy();
    SHOW(syscall(SYS_set_mempolicy, INTERLEAVE, nodes, 1025));
    policy();
    if (!fork()) {
        policy();
        _exit(0);
    }
    wait(NULL);
    SHOW(syscall(SYS_set_mempolicy, PREFERRED, NULL, 0));
    policy();
    SHOW(syscall(SYS_set_mempolicy, PREFERRED, nodes, 64));
    policy();
    SHOW(syscall(SYS_set_mempolicy, LOCAL, nodes, 64));
    SHOW(syscall(SYS_set_mempolicy, BIND, NULL, 0));
    SHOW(syscall(SYS_set_mempolicy, 99, NULL, 0));
    SHOW(syscall(SYS_set_mempolicy, BIND | 0xc000, nodes, 64));
    SHOW(syscall(SYS_set_mempolicy, BIND, 8, 64));
    SHOW(syscall(SYS_set_mempolicy, BIND, nodes, 1UL << 30));
    SHOW(syscall(SYS_set_mempolicy, DEFAULT, nodes, 64));
    SHOW(syscall(SYS_set_mempolicy, DEFAULT, NULL, 0));
    policy();
    SHOW(syscall(SYS_get_mempolicy, NULL, NULL, 0, p, 0));
    SHOW(syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 8));
    SHOW(syscall(SYS_get_mempolicy, NULL, nodes, 1025, NULL, 4));
    HOLDS(nodes[0] & 1);
    SHOW(syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 5));
    SHOW(syscall(SYS_get_mempolicy, NULL, NULL, 0, 8, 2));
    SHOW(syscall(SYS_get_mempolicy, 8, NULL, 0, NULL, 0));
    nodes[0] = 1;
    SHOW(syscall(SYS_mbind, p, 8192, BIND, nodes, 64, 0));
    SHOW(syscall(SYS_mbind, p + 1, 8192, BIND, nodes, 64, 0));
    SHOW(syscall(SYS_mbind, p, 0, BIND, nodes, 64, 0));
    SHOW(syscall(SYS_mbind, p, 8192, BIND, nodes, 64, 0x1000));
    munmap(p + 4096, 4096);
    SHOW(syscall(SYS_mbind, p, 8192, BIND, nodes, 64, 0));
    p[0] = 1;
    void *pages[2] = {p, p + 4096};
    int status[2] = {77, 77}, where[2] = {0, 0};
    SHOW(syscall(SYS_move_pages, 0, 1, pages, NULL, status, 0));
    printf("%d\n", status[0]);
    SHOW(syscall(SYS_move_pages, 0, 1, pages, where, status, 2));
    SHOW(syscall(SYS_move_pages, 0, 1, pages, NULL, status, 64));
    SHOW(syscall(SYS_move_pages, 999999, 1, pages, NULL, status, 0));
    SHOW(syscall(SYS_migrate_pages, 0, 64, nodes, nodes));
    SHOW(syscall(SYS_migrate_pages, 999999, 64, nodes, nodes));
    return 0;
}
