/*
 * The program of the boot comparison: says hello with the processor's time stamp counter, and ends.
 *
 * Under `-icount shift=0` QEMU's virtual clock counts one nanosecond an instruction, and the guest's time stamp counter
 * reads that clock. The counter starts at 0 on reset, so what the program reads at its first line is how many guest
 * instructions lie between reset and hello. The same file runs as /init on Linux and as the program on Knarr.
 */
#include <stdio.h>
#include <sys/reboot.h>
#include <unistd.h>
#include <x86intrin.h>

int main(void)
{
    unsigned long long ticks = __rdtsc();

    printf("Hello, world! tsc %llu\n", ticks);
    fflush(stdout);
    if (getpid() == 1)
        reboot(RB_AUTOBOOT); /* Linux panics when /init returns; -no-reboot ends QEMU. Knarr has no reboot: it returns. */
    return 0;
}
