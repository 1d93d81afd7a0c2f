/*
 * The program of the boot comparison: says hello with the processor's time stamp counter, and ends.
 *
 * Under `-icount shift=0` QEMU's virtual clock counts one nanosecond an instruction, and the guest's time stamp counter
 * reads that clock. The counter starts at 0 on reset, so what the program reads at its first line is how many guest
 * instructions lie between reset and hello. The same file runs as /init on Linux and as the program on Knarr. With a root image
 * on a disk, which is waited for, marks.c counts instead.
 */
#include "measure.h"
#include <sys/sysinfo.h>

int main(void)
{
    unsigned long long ticks = __rdtsc();
    struct sysinfo memory;

    MARK(1);
    sysinfo(&memory);
    printf("Hello, world! tsc %llu\n", ticks);
    printf("used %lu\n", (memory.totalram - memory.freeram) * memory.mem_unit >> 10);
    fflush(stdout);
    if (getpid() == 1)
        reboot(RB_AUTOBOOT); /* Linux panics when /init returns; -no-reboot ends QEMU. Knarr has no reboot: it returns. */
    return 0;
}
