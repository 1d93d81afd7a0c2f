// The stack grows on demand down to its limit; MAP_GROWSDOWN; /proc/self/maps tells of it all.
// build: musl glibc musl-pie
#include "check.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define PAGE 4096UL
static sigjmp_buf escape;
static char alternate[65536];

static void on_fault(int signal)
{
    (void)signal;
    siglongjmp(escape, 1);
}

static int __attribute__((noinline)) deep(int levels)
{
    volatile char frame[4096];
    memset((char *)frame, levels, sizeof frame);
    int below = levels ? deep(levels - 1) : 0;
    return below + (frame[100] == (char)levels);
}

struct mapping { uintptr_t start, end; char prot[5]; char name[256]; };

// Finds the mapping of an address in /proc/self/maps.
static bool find(const volatile void *address, struct mapping *m)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[512];
    bool found = false;
    while (!found && fgets(line, sizeof line, f)) {
        unsigned long start, end, offset, inode;
        unsigned major, minor;
        m->name[0] = 0;
        if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %255s", &start, &end, m->prot, &offset, &major, &minor, &inode, m->name) < 7)
            give_up("maps line: %s", line);
        m->start = start, m->end = end;
        found = start <= (uintptr_t)address && (uintptr_t)address < end;
    }
    fclose(f);
    return found;
}

static void show(const char *what, const volatile void *address)
{
    struct mapping m;
    if (find(address, &m)) {
        const char *slash = strrchr(m.name, '/');
        printf("%s: %s %s\n", what, m.prot, m.name[0] == '[' ? m.name : slash ? "(file)" : "");
    } else
        printf("%s: not mapped\n", what);
}

int main(void)
{
    volatile char local = 1;
    static int data = 1;
    struct mapping m;
    static const stack_t alt = {.ss_sp = alternate, .ss_size = sizeof alternate};
    sigaltstack(&alt, NULL);
    struct sigaction sa = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};
    sigaction(SIGSEGV, &sa, NULL);

    section("a deep stack");
    printf("%d\n", deep(1600)); // 6 MiB of the 8
    struct rlimit limit;
    getrlimit(RLIMIT_STACK, &limit);
    HOLDS(limit.rlim_cur == 8 << 20 || limit.rlim_cur == RLIM_INFINITY);
    HOLDS(find(&local, &m) && m.end - m.start >= 6 << 20);

    section("far below the stack pointer, within the limit");
    volatile char *below = (volatile char *)((uintptr_t)&local - (7 << 20));
    *below = 1;
    printf("%d\n", *below);

    section("maps");
    show("code", (void *)(uintptr_t)&main);
    show("constants", "text");
    show("data", &data);
    show("stack", &local);
    show("nothing", (void *)PAGE);
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(p, PAGE, PROT_NONE);
    mprotect(p + PAGE, PAGE, PROT_READ | PROT_EXEC);
    show("mmap none", p);
    show("mmap rx", p + PAGE);
    show("mmap rw", p + 2 * PAGE);
    p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    find(p, &m);
    printf("shared: %s\n", m.prot);
    char *heap = sbrk(0);
    syscall(SYS_brk, heap + PAGE);
    show("heap", heap);

    section("MAP_GROWSDOWN");
    char *room = mmap(NULL, 4 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(room, 4 << 20);
    char *grow = mmap(room + (2 << 20), PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0);
    HOLDS(grow == room + (2 << 20));
    grow[0] = 1;
    for (int i = 1; i <= 32; i++)
        grow[-i * (long)PAGE] = (char)i;
    printf("%d %d\n", grow[-(long)PAGE], grow[-32 * (long)PAGE]);
    if (!sigsetjmp(escape, 1)) {
        grow[PAGE] = 1;
        printf("above: written\n");
    } else
        printf("above: fault\n");

    section("mappings keep away from it");
    // A mapping right below stops the growth.
    mmap(grow - 64 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (!sigsetjmp(escape, 1)) {
        grow[-64 * (long)PAGE] = 1;
        printf("written\n");
    } else
        printf("fault\n");
    return 0;
}
