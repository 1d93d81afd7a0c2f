/*
 * What all files of the host program share: messages, the exit statuses of the contract, memory that never fails,
 * growing lists of strings.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The exit statuses that are not the program's own, as docker run has them. */
enum {
    STATUS_CHECK = 121,          /* a checked kernel found a defect of its own */
    STATUS_FAILED = 125,         /* Knarr itself failed */
    STATUS_NOT_EXECUTABLE = 126, /* the program is there but cannot be run */
    STATUS_NOT_FOUND = 127,
    STATUS_SIGNAL = 128, /* plus the signal's number */
};

#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define NORETURN __attribute__((noreturn))

/* Prints "knarr: TEXT" as one line on stderr. */
void say(const char *fmt, ...) PRINTF(1, 2);

/* say() and exit with that status; what atexit() was told is done. */
void die(int status, const char *fmt, ...) PRINTF(2, 3) NORETURN;

/* Set while the terminal on stderr is in raw mode, where a line must end with a carriage return too. */
extern bool stderr_is_raw;

/* Like the functions without x; no memory ends the program with STATUS_FAILED. */
void *xmalloc(size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *text);
char *xasprintf(const char *fmt, ...) PRINTF(1, 2);

/* A list of strings that it owns, with a NULL behind the last one. All zero is the empty list. */
struct strings {
    char **item;
    size_t count;
};

void strings_add(struct strings *list, const char *fmt, ...) PRINTF(2, 3);
void strings_free(struct strings *list); /* it is the empty list then */

/* Adds K=V to an environment; an earlier K is replaced in its place. */
void environment_set(struct strings *environment, const char *setting);

/* The value of name in an environment, or NULL. */
const char *environment_get(const struct strings *environment, const char *name);

/* The word as a POSIX shell must be given it, allocated. */
char *shell_quote(const char *word);

/* A file that nobody else sees and that goes with its descriptor (close-on-exec), in $TMPDIR or where there is room. */
int temporary_file(void);

/*
 * A path as an archive has it, without leading slashes, "." components and double slashes. NULL when it would lead out
 * of the root. Allocated.
 */
char *path_normalize(const char *path);

/* Writes all of data, whatever the file descriptor is; false with errno when it cannot. */
bool write_all(int fd, const void *data, size_t size);

/* Milliseconds of a clock that nobody sets. */
int64_t now_ms(void);

/* Closes a descriptor, which is -1 from then on. */
void close_fd(int *fd);
