/*
 * The end of a machine; see the header.
 */
#include "tools/ending.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/common.h"

enum { LINGER_MS = 2000 };

/* The machine is ending: takes what its log still says, until its end or for a while. */
static void finish_log(struct qemu *qemu, struct log *log, int milliseconds) {
    int64_t end = now_ms() + milliseconds;
    int *const sources[] = {&qemu->log, &qemu->errors};

    for (;;) {
        int left = (int)(end - now_ms());
        struct pollfd fds[] = {{.fd = qemu->log, .events = POLLIN}, {.fd = qemu->errors, .events = POLLIN}};
        if ((fds[0].fd < 0 && fds[1].fd < 0) || left < 0 || poll(fds, 2, left) == 0)
            return;
        for (int i = 0; i < 2; i++) {
            if (fds[i].fd >= 0 && fds[i].revents && !log_read(log, *sources[i]))
                close_fd(sources[i]);
        }
    }
}

/* QEMU locks the files of its disks. The name of the one that another machine has, allocated, or NULL. */
static char *locked_disk(const struct log *log) {
    static const char words[] = "Is another process using the image [";
    const char *end = log->kept + log->length;
    const char *name = memmem(log->kept, log->length, words, sizeof(words) - 1);

    if (!name)
        return NULL;
    name += sizeof(words) - 1;
    const char *close = memmem(name, (size_t)(end - name), "]?\n", 3);
    return close ? xasprintf("%.*s", (int)(close - name), name) : NULL;
}

static void explain(struct log *log, int wait_status) {
    char *locked = locked_disk(log);

    log->failed = !locked;
    if (locked)
        say("%s: in use by another machine", locked);
    else if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) != SIGKILL)
        say("QEMU was killed by signal %d (%s)", WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
    else if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) != 0)
        say("QEMU failed");
    else
        say("the machine stopped without an exit status of the program");
    free(locked);
}

int ending(struct qemu *qemu, struct log *log, int status) {
    if (status >= 0) {
        /* The log is written before the exit frame, but some of it may be on its way to us still. */
        finish_log(qemu, log, log->show || log->failed ? LINGER_MS : 0);
        qemu_stop(qemu);
    } else {
        finish_log(qemu, log, LINGER_MS);
        int wait_status;
        if (waitpid(qemu->pid, &wait_status, WNOHANG) == qemu->pid)
            qemu->pid = 0;
        else
            wait_status = qemu_stop(qemu);
        explain(log, wait_status);
        status = STATUS_FAILED;
    }
    log_finish(log);
    return status;
}
