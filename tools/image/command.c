/*
 * Running other programs; see the header.
 */
#include "tools/image/command.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MESSAGE = 64 << 10 };

NORETURN static void run_child(char **words, pid_t parent, int output) {
    int null = open("/dev/null", O_RDONLY);

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    dup2(null, STDIN_FILENO);
    dup2(output >= 0 ? output : STDERR_FILENO, STDOUT_FILENO);
    if (output >= 0)
        dup2(output, STDERR_FILENO);
    for (const int *number = (const int[]){SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, 0}; *number; number++)
        signal(*number, SIG_DFL);
    execvp(words[0], words);
    _exit(errno == ENOENT ? 127 : 126);
}

/* The last line of what the program said that is not empty. */
static char *last_line(int output) {
    char *text = xmalloc(MESSAGE + 1);
    off_t size = lseek(output, 0, SEEK_END);
    ssize_t length = pread(output, text, MESSAGE, size > MESSAGE ? size - MESSAGE : 0);

    length = length < 0 ? 0 : length;
    while (length > 0 && strchr("\r\n ", text[length - 1]))
        length--;
    text[length] = '\0';
    for (char *each = text; *each; each++) {
        if ((unsigned char)*each < ' ' && *each != '\n')
            *each = ' ';
    }
    char *newline = strrchr(text, '\n');
    char *line = xstrdup(newline ? newline + 1 : text);
    free(text);
    return line;
}

void command_run(struct command *command) {
    const char *name = command->words.item[0];
    int status, output = command->shown ? -1 : memfd_create("knarr-output", MFD_CLOEXEC);
    pid_t parent = getpid(), pid = fork();

    if (pid < 0)
        die(STATUS_FAILED, "fork: %s", strerror(errno));
    if (pid == 0)
        run_child(command->words.item, parent, output);
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            die(STATUS_FAILED, "%s: %s", name, strerror(errno));
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        die(STATUS_FAILED, "%s: not found (Debian: apt-get install %s)", name, command->package);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char *line = output >= 0 ? last_line(output) : xstrdup("");
        die(STATUS_FAILED, "%s failed%s%s", name, *line ? ": " : "", line);
    }
    if (output >= 0)
        close(output);
    for (size_t i = 0; i < command->words.count; i++)
        free(command->words.item[i]);
    free(command->words.item);
}

/* --- Temporary directories --- */

static int end_of_process = -1; /* open while the process lives */
static pid_t remover;

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
    if (type == FTW_DNR || type == FTW_D)
        chmod(path, 0700);
    remove(path);
    return 0;
}

static void finish_removing(void) {
    close(end_of_process);
    while (waitpid(remover, NULL, 0) < 0 && errno == EINTR)
        ;
}

const char *temporary_directory(void) {
    const char *chosen = getenv("TMPDIR");
    char *path = xasprintf("%s/knarr-XXXXXX", chosen && *chosen ? chosen : "/var/tmp"), byte;
    int ends[2];

    if (!mkdtemp(path))
        die(STATUS_FAILED, "%s: %s", path, strerror(errno));
    if (pipe2(ends, O_CLOEXEC) != 0 || (remover = fork()) < 0) {
        rmdir(path);
        die(STATUS_FAILED, "a temporary directory: %s", strerror(errno));
    }
    if (remover == 0) { /* outlives its parent, out of reach of the terminal's keys */
        setsid();
        for (const int *number = (const int[]){SIGHUP, SIGINT, SIGQUIT, SIGTERM, 0}; *number; number++)
            signal(*number, SIG_IGN);
        close(ends[1]);
        close(STDIN_FILENO); /* who waits for the end of our output shall not wait for this */
        close(STDOUT_FILENO);
        close(STDERR_FILENO);
        while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
            ;
        nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
        _exit(0);
    }
    close(ends[0]);
    end_of_process = ends[1];
    atexit(finish_removing);
    return path;
}

/* --- Descriptors --- */

char *inherited_path(int fd) {
    int copy = fcntl(fd, F_DUPFD, 3);

    if (copy < 0)
        die(STATUS_FAILED, "a descriptor: %s", strerror(errno));
    return xasprintf("/proc/self/fd/%d", copy);
}

int memory_file(const void *data, size_t size) {
    int fd = memfd_create("knarr", 0);

    if (fd < 0 || !write_all(fd, data, size))
        die(STATUS_FAILED, "a temporary file: %s", strerror(errno));
    return fd;
}
