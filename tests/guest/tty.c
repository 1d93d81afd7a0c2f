// Terminal calls on descriptors that are no terminals: ENOTTY, and what the C library makes of it.
// runner: none
#include "check.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

int main(void)
{
    struct termios t;
    struct winsize w;
    int p[2], fd = open("/dev/null", O_RDWR);
    if (pipe(p))
        return 1;
    for (int i = 0; i < 3; i++)
        printf("%d: isatty %d\n", i, isatty(i));
    for (const int *d = (int[]){0, 1, 2, fd, p[0], p[1], -1}; *d >= 0; d++) {
        SHOW(tcgetattr(*d, &t));
        SHOW(ioctl(*d, TIOCGWINSZ, &w));
        SHOW(tcgetpgrp(*d));
    }
    SHOW(tcgetattr(99, &t));
    SHOW(open("/dev/tty", O_RDWR) >= 0 ? 0 : -1);
    return 0;
}
