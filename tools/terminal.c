/*
 * Raw mode and its end; see the header.
 */
#include "tools/terminal.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "tools/common.h"

static struct termios former;
static volatile sig_atomic_t is_raw;

void terminal_restore(void) {
    if (is_raw) {
        tcsetattr(STDIN_FILENO, TCSADRAIN, &former);
        is_raw = 0;
        stderr_is_raw = false;
    }
}

/* A crash of knarr itself must not leave a raw terminal. */
static void restore_and_die(int number) {
    terminal_restore();
    signal(number, SIG_DFL);
    raise(number);
}

bool terminal_raw(void) {
    static bool registered;
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &former) != 0)
        return false;
    if (!registered) {
        registered = true;
        atexit(terminal_restore);
        static const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
        for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
            signal(crashes[i], restore_and_die);
    }
    raw = former;
    cfmakeraw(&raw);
    is_raw = 1;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0) {
        is_raw = 0;
        return false;
    }
    stderr_is_raw = isatty(STDERR_FILENO);
    return true;
}

bool terminal_size(int fd, unsigned *rows, unsigned *columns) {
    struct winsize size;

    if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
        return false;
    *rows = size.ws_row;
    *columns = size.ws_col;
    return true;
}
