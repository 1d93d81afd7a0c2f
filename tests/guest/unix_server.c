// A pre-forking server: the parent binds and listens, its children accept from the one socket and answer, ask the parent through a
// socketpair, die now and then and are replaced (SIGCHLD), and all end in an orderly way at SIGTERM. Clients come in several
// processes at once; each connection's answer is checked.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include "sockets.h"

enum { WORKERS = 4, CLIENTS = 3, REQUESTS = 60, POISON = 7 };

static struct sockaddr_un address;
static socklen_t address_len;
static volatile sig_atomic_t stop, child_died;
static pid_t workers[WORKERS];
static int listener, report[2];

static void on_term(int signal)
{
    (void)signal;
    stop = 1;
}

static void on_child(int signal)
{
    (void)signal;
    child_died = 1;
}

static void handle(int signal, void (*handler)(int))
{
    struct sigaction sa = {.sa_handler = handler}; // no SA_RESTART: the calls notice
    sigaction(signal, &sa, NULL);
}

static bool read_whole(int fd, void *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t r = read(fd, (char *)p + at, n - at);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return false;
        at += (size_t)r;
    }
    return true;
}

// Answers one request: a length and as many bytes, of which it sends the sum and the bytes. False: to die of.
static bool serve(int c)
{
    static unsigned char data[65536];
    uint32_t n, sum = 0;
    if (!read_whole(c, &n, sizeof n))
        return true;
    if (n == POISON)
        return false;
    if (n > sizeof data || !read_whole(c, data, n))
        return true;
    for (uint32_t i = 0; i < n; i++)
        sum += data[i];
    struct iovec v[2] = {{&sum, sizeof sum}, {data, n}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
    if (sendmsg(c, &m, MSG_NOSIGNAL) != (ssize_t)(sizeof sum + n))
        return true;
    char done = 'd';
    write(report[1], &done, 1);
    return true;
}

static void __attribute__((noreturn)) work(void)
{
    handle(SIGTERM, on_term);
    signal(SIGCHLD, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    struct pollfd p = {listener, POLLIN, 0};
    while (!stop) {
        // ppoll lets SIGTERM in only here, so that a request is never cut.
        if (ppoll(&p, 1, NULL, &none) < 0)
            continue;
        int c = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (c < 0)
            continue; // another one was first
        bool fine = serve(c);
        close(c);
        if (!fine)
            _exit(3);
    }
    _exit(0);
}

static void start(int i)
{
    fflush(stdout);
    sigset_t term, old;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &old);
    workers[i] = fork();
    if (workers[i] < 0)
        give_up("fork");
    if (!workers[i])
        work();
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static int dial(void)
{
    int c = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(c, (void *)&address, address_len)) {
        close(c);
        return -1;
    }
    return c;
}

static int client(int number)
{
    static unsigned char out[65536], in[65540];
    uint32_t state = (uint32_t)number + 1, bad = 0;
    for (int r = 0; r < REQUESTS; r++) {
        uint32_t n = 8 + noise(&state) % (r % 10 ? 500 : 60000), sum = 0, got;
        for (uint32_t i = 0; i < n; i++)
            sum += out[i] = (unsigned char)noise(&state);
        int c = dial();
        if (c < 0 || write(c, &n, sizeof n) != sizeof n || write(c, out, n) != (ssize_t)n || !read_whole(c, &got, sizeof got) ||
            !read_whole(c, in, n) || got != sum || memcmp(in, out, n) || read(c, in, 1) != 0)
            bad++;
        close(c);
        if (r % 20 == 10) { // one of the workers dies of this
            c = dial();
            n = POISON;
            write(c, &n, sizeof n);
            close(c);
        }
    }
    return bad > 100 ? 100 : (int)bad;
}

int main(void)
{
    alarm(90);
    signal(SIGPIPE, SIG_IGN);
    handle(SIGCHLD, on_child);
    address_len = unix_abstract(&address, "server");
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SHOW(bind(listener, (void *)&address, address_len));
    SHOW(listen(listener, 64));
    pair(SOCK_STREAM, report);
    for (int i = 0; i < WORKERS; i++)
        start(i);
    pid_t clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        fflush(stdout);
        clients[i] = fork();
        if (!clients[i])
            _exit(client(i));
    }
    int done = 0, deaths = 0, clients_left = CLIENTS, wrong = 0;
    while (clients_left) {
        char buf[256];
        struct pollfd p = {report[0], POLLIN, 0};
        if (poll(&p, 1, 1000) > 0)
            done += (int)read(report[0], buf, sizeof buf);
        child_died = 0;
        int status;
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
            for (int i = 0; i < WORKERS; i++) {
                if (pid == workers[i]) {
                    deaths += WIFEXITED(status) && WEXITSTATUS(status) == 3;
                    start(i);
                }
            }
            for (int i = 0; i < CLIENTS; i++) {
                if (pid == clients[i]) {
                    clients_left--;
                    wrong += status;
                }
            }
        }
    }
    // The last who are to die may still be at it.
    for (int tries = 0, status; deaths < CLIENTS * 3 && tries < 2000; tries++, usleep(5000))
        for (int i = 0; i < WORKERS; i++)
            if (waitpid(workers[i], &status, WNOHANG) > 0) {
                deaths++;
                start(i);
            }
    signal(SIGCHLD, SIG_DFL); // it would interrupt waitpid
    for (int i = 0; i < WORKERS; i++)
        kill(workers[i], SIGTERM);
    int orderly = 0, status;
    for (int i = 0; i < WORKERS; i++)
        if (waitpid(workers[i], &status, 0) == workers[i] && status == 0)
            orderly++;
    char buf[256];
    ssize_t n;
    while ((n = recv(report[0], buf, sizeof buf, MSG_DONTWAIT)) > 0)
        done += (int)n;
    printf("%d requests, %d wrong, %d workers died, %d ended in order\n", done, wrong, deaths, orderly);
    close(listener);
    SHOW(dial());
    return 0;
}
