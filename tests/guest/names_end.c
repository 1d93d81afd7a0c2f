// Strings that end where the memory ends: PR_SET_NAME looks at 15 bytes and no more.
// build: musl
#include "check.h"
#include <sys/mman.h>
#include <sys/prctl.h>

int main(void)
{
    char name[16], *end = (char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 4096;
    munmap(end, 4096);
    memset(end - 64, 'x', 64);
    for (int n = 14; n <= 17; n++) {
        SHOW(n);
        SHOW(prctl(PR_SET_NAME, end - n));
        SHOW(prctl(PR_GET_NAME, name));
        puts(name);
    }
    end[-1] = 0;
    SHOW(prctl(PR_SET_NAME, end - 3));
    SHOW(prctl(PR_GET_NAME, name));
    puts(name);
    SHOW(prctl(PR_SET_NAME, end));
    SHOW(prctl(PR_GET_NAME, end));
    return 0;
}
