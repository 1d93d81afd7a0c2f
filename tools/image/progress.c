/*
 * Progress on the terminal; see the header. One line, rewritten ten times a second at most.
 */
#include "tools/image/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEP_MS = 100 };

static bool shown, drawn;
static char step[128];
static uint64_t goal, done;
static int64_t last;

static void draw(void) {
    char line[256];
    int length = goal > 0 ? snprintf(line, sizeof(line), "\r\033[K%.70s %3u%%", step, (unsigned)(done * 100 / goal))
                          : snprintf(line, sizeof(line), "\r\033[K%.76s", step);

    write_all(STDERR_FILENO, line, (size_t)length);
    drawn = true;
    last = now_ms();
}

void progress_start(bool quiet) {
    const char *terminal = getenv("TERM");

    shown = !quiet && isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
    if (shown)
        atexit(progress_end);
}

void progress_step(const char *fmt, ...) {
    va_list args;

    if (!shown)
        return;
    va_start(args, fmt);
    vsnprintf(step, sizeof(step), fmt, args);
    va_end(args);
    goal = done = 0;
    draw();
}

void progress_goal(uint64_t bytes) {
    goal = bytes;
    done = 0;
}

void progress_add(uint64_t bytes) {
    done += bytes;
    if (done > goal)
        goal = done;
    if (shown && now_ms() - last >= STEP_MS)
        draw();
}

void progress_end(void) {
    if (drawn)
        write_all(STDERR_FILENO, "\r\033[K", 4);
    drawn = false;
}
