// Terminals: termios(3), line editing, signals from keys, window size, and the console of the machine.
#ifndef FS_TTY_H
#define FS_TTY_H

#include "fs/file.h"

struct tty;

// How standard input, output and error of the first process are to look (docs/boot-protocol.md).
enum stdio_kind { STDIO_TTY, STDIO_STREAM, STDIO_NULL };
struct stdio_config {
    enum stdio_kind kind[3];
    uint16_t rows, columns; // 0: unknown
    bool framed;
};
// Connects the console (kernel/chardev.h) with terminal and streams. After the drivers are up.
int console_init(const struct stdio_config *config);
// Opens descriptor 0, 1 or 2 as configured. ERR_PTR.
struct file *console_open_stdio(int fd);
// /dev/console and /dev/tty: called by devfs when they are opened. ERR_PTR(-ENXIO) without a controlling terminal.
struct file *tty_open_console(unsigned flags);
struct file *tty_open_current(unsigned flags);
struct tty *tty_console(void); // NULL: the console is no terminal
int tty_foreground_group(struct tty *t); // process group, for /proc/PID/stat; 0: none
void tty_describe(struct tty *t, int *rdev);

#endif
