/*
 * Progress; see the header.
 */
#include "tools/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 500, INTERVAL_MS = 100 };

bool progress_quiet;

static const char *work;
static uint64_t all;
static int64_t next_ms;
static bool shown;

static int64_t now_ms(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void progress_begin(const char *what, uint64_t total) {
    work = progress_quiet || !isatty(STDERR_FILENO) ? NULL : what;
    all = total;
    shown = false;
    next_ms = now_ms() + PATIENCE_MS;
}

void progress_at(uint64_t done) {
    int64_t now;

    if (!work || (now = now_ms()) < next_ms)
        return;
    next_ms = now + INTERVAL_MS;
    shown = true;
    if (all)
        fprintf(stderr, "\r\033[K%s: %.1f of %.1f MB", work, (double)done / 1e6, (double)all / 1e6);
    else
        fprintf(stderr, "\r\033[K%s: %.1f MB", work, (double)done / 1e6);
    fflush(stderr);
}

void progress_end(void) {
    if (shown)
        fputs("\r\033[K", stderr);
    work = NULL;
    shown = false;
}
