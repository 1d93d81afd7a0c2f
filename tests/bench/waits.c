/*
 * What it costs when threads and processes wait for each other, begin and end: see measure.h. The same static binary runs as
 * /init on Linux and as the program on Knarr, with one CPU and with two.
 *
 *   yield          sched_yield with nothing else to run
 *   signal         raise(3) with a handler, musl's: blocks and unblocks signals around the call
 *   futex          one turn there and back between two threads
 *   pipe, unix     one byte there and back between two processes, through two pipes or a pair of AF_UNIX stream sockets
 *   tcp            the same through a TCP connection of 127.0.0.1, with TCP_NODELAY
 *   pipe_64k, unix_64k, tcp_64k  64 KiB there, a byte back
 *   tcp_stream     64 KiB of a stream that another process reads as they come
 *   tcp_connect    connect to a process that answers each connection with its end, read that, close
 *   udp            a byte there and back between two UDP sockets of 127.0.0.1, connected to each other
 *   eventfd        write to an eventfd, epoll_wait, read, in one thread
 *   eventfd_turn   one turn there and back between two threads that sleep in epoll_wait
 *   switch_N       a byte goes round in a ring of N threads through pipes: one hop
 *   pthread        create and join
 *   fork           fork, _exit in the child, waitpid
 *   fork_exec      the same, the child runs this program again, which ends at once
 *   vfork_exec     the same with vfork
 */
#define _GNU_SOURCE
#include "measure.h"
#include <pthread.h>
#include <sched.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129 }; /* musl-gcc has no headers of the kernel */

static void do_yield(void)
{
    sched_yield();
}

static void handler(int sig)
{
    (void)sig;
}

static void do_signal(void)
{
    raise(SIGUSR1);
}

/* --- two threads take turns: each waits until the word is its number, and hands it to the other --- */

enum { PING = 1, PONG = 2, STOP = 3 };
static _Atomic int turn;

static void hand_over(int to)
{
    turn = to;
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *futex_pong(void *arg)
{
    for (;;) {
        int now;
        while ((now = turn) == PING)
            syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
        if (now == STOP)
            return arg;
        hand_over(PING);
    }
}

static void do_futex(void)
{
    int now;
    hand_over(PONG);
    while ((now = turn) != PING)
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
}

static void measure_futex(void)
{
    pthread_t other;
    turn = PING;
    if (pthread_create(&other, NULL, futex_pong, NULL))
        fail("pthread_create");
    measure("futex", do_futex, 100);
    hand_over(STOP);
    pthread_join(other, NULL);
}

/* --- a byte there and back between two processes --- */

static int mine_in, mine_out;

static void do_byte(void)
{
    char c = 'x';
    if (write(mine_out, &c, 1) != 1 || read(mine_in, &c, 1) != 1)
        fail("byte");
}

static char block[64 << 10];

static void do_block(void)
{
    char c;
    for (size_t done = 0; done < sizeof(block);) {
        ssize_t n = write(mine_out, block + done, sizeof(block) - done);
        if (n <= 0)
            fail("block");
        done += (size_t)n;
    }
    if (read(mine_in, &c, 1) != 1)
        fail("byte");
}

/* The other side: answers each `size` bytes with one, until the end. */
static void answer(int in, int out, size_t size)
{
    for (;;) {
        for (size_t done = 0; done < size;) {
            ssize_t n = read(in, block, size - done);
            if (n <= 0)
                _exit(0);
            done += (size_t)n;
        }
        if (write(out, block, 1) != 1)
            _exit(1);
    }
}

static void measure_blocks(const char *name, int in, int out, int other_in, int other_out)
{
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (!child) {
        close(in);
        close(out);
        answer(other_in, other_out, sizeof(block));
    }
    close(other_in);
    if (other_out != other_in)
        close(other_out);
    mine_in = in;
    mine_out = out;
    measure(name, do_block, 50);
    close(in);
    if (in != out)
        close(out);
    if (waitpid(child, NULL, 0) != child)
        fail("waitpid");
}

static void do_stream(void)
{
    for (size_t done = 0; done < sizeof(block);) {
        ssize_t n = write(mine_out, block + done, sizeof(block) - done);
        if (n <= 0)
            fail("stream");
        done += (size_t)n;
    }
}

static struct sockaddr_in server;

static void do_connect(void)
{
    char c;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof(server)) || read(fd, &c, 1) != 0 || close(fd))
        fail("connect");
}

static void measure_bytes(const char *name, int in, int out, int other_in, int other_out)
{
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (!child) { /* until the other end is closed */
        char c;
        close(in);
        close(out);
        while (read(other_in, &c, 1) == 1 && write(other_out, &c, 1) == 1)
            ;
        _exit(0);
    }
    close(other_in);
    if (other_out != other_in)
        close(other_out);
    mine_in = in;
    mine_out = out;
    measure(name, do_byte, 100);
    close(in);
    if (in != out)
        close(out);
    if (waitpid(child, NULL, 0) != child)
        fail("waitpid");
}

static void measure_pipe(void)
{
    int there[2], back[2];
    if (pipe(there) || pipe(back))
        fail("pipe");
    measure_bytes("pipe", back[0], there[1], there[0], back[1]);
    if (pipe(there) || pipe(back))
        fail("pipe");
    measure_blocks("pipe_64k", back[0], there[1], there[0], back[1]);
}

static void measure_unix(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        fail("socketpair");
    measure_bytes("unix", pair[0], pair[0], pair[1], pair[1]);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        fail("socketpair");
    measure_blocks("unix_64k", pair[0], pair[0], pair[1], pair[1]);
}

static void measure_tcp(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    socklen_t length = sizeof(name);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0), mine = socket(AF_INET, SOCK_STREAM, 0);

    ioctl(mine, SIOCSIFFLAGS, &lo); /* a bare Linux has it down */
    if (bind(listener, (struct sockaddr *)&name, sizeof(name)) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&name, &length) || connect(mine, (struct sockaddr *)&name, length))
        fail("tcp");
    int other = accept(listener, NULL, NULL);
    if (other < 0 || setsockopt(mine, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
        setsockopt(other, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
        fail("accept");
    close(listener);
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (!child) {
        close(mine);
        answer(other, other, 1);
    }
    mine_in = mine_out = mine;
    measure("tcp", do_byte, 100);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);

    measure_blocks("tcp_64k", mine, mine, other, other);
}

static void measure_tcp_more(void)
{
    socklen_t length = sizeof(server);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&server, sizeof(server)) || listen(listener, 16) ||
        getsockname(listener, (struct sockaddr *)&server, &length))
        fail("listen");
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (!child) {
        int fd = accept(listener, NULL, NULL);
        while (read(fd, block, sizeof(block)) > 0)
            ;
        close(fd);
        while ((fd = accept(listener, NULL, NULL)) >= 0)
            close(fd);
        _exit(0);
    }
    mine_out = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(mine_out, (struct sockaddr *)&server, length))
        fail("connect");
    measure("tcp_stream", do_stream, 200);
    close(mine_out);
    measure("tcp_connect", do_connect, 100);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(listener);
}

static void measure_udp(void)
{
    struct sockaddr_in names[2];
    socklen_t length = sizeof(names[0]);
    int ends[2];
    for (int i = 0; i < 2; i++) {
        names[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        ends[i] = socket(AF_INET, SOCK_DGRAM, 0);
        if (bind(ends[i], (struct sockaddr *)&names[i], length) || getsockname(ends[i], (struct sockaddr *)&names[i], &length))
            fail("udp");
    }
    if (connect(ends[0], (struct sockaddr *)&names[1], length) || connect(ends[1], (struct sockaddr *)&names[0], length))
        fail("connect");
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (!child)
        answer(ends[1], ends[1], 1);
    mine_in = mine_out = ends[0];
    measure("udp", do_byte, 100);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(ends[0]);
    close(ends[1]);
}

/* --- eventfd and epoll --- */

static int event[2], watch[2];

static void take_event(int side)
{
    struct epoll_event e;
    eventfd_t value;
    if (epoll_wait(watch[side], &e, 1, -1) != 1 || eventfd_read(event[side], &value))
        fail("epoll_wait");
}

static void do_event(void)
{
    eventfd_write(event[0], 1);
    take_event(0);
}

static void do_event_turn(void)
{
    eventfd_write(event[1], 1);
    take_event(0);
}

static void *event_pong(void *arg)
{
    int last;
    do {
        take_event(1);
        last = turn == STOP;
        eventfd_write(event[0], 1);
    } while (!last);
    return arg;
}

static void measure_eventfd(void)
{
    for (int i = 0; i < 2; i++) {
        struct epoll_event e = {.events = EPOLLIN};
        event[i] = eventfd(0, EFD_NONBLOCK);
        watch[i] = epoll_create1(0);
        if (event[i] < 0 || watch[i] < 0 || epoll_ctl(watch[i], EPOLL_CTL_ADD, event[i], &e))
            fail("epoll");
    }
    measure("eventfd", do_event, 200);
    pthread_t other;
    turn = PONG;
    if (pthread_create(&other, NULL, event_pong, NULL))
        fail("pthread_create");
    measure("eventfd_turn", do_event_turn, 100);
    turn = STOP;
    do_event_turn();
    pthread_join(other, NULL);
    for (int i = 0; i < 2; i++) {
        close(event[i]);
        close(watch[i]);
    }
}

/* --- a ring of threads --- */

enum { RING_MAX = 96 };
static int ring[RING_MAX][2], ring_size;

static void *ring_member(void *arg)
{
    int me = (int)(intptr_t)arg;
    char c;
    while (read(ring[me][0], &c, 1) == 1) {
        int last = c == 'e';
        if (write(ring[(me + 1) % ring_size][1], &c, 1) != 1 || last)
            break;
    }
    return NULL;
}

static void ring_round(char c)
{
    if (write(ring[1][1], &c, 1) != 1 || read(ring[0][0], &c, 1) != 1)
        fail("ring");
}

static void do_round(void)
{
    ring_round('x');
}

static void measure_ring(const char *name, int size)
{
    static pthread_t member[RING_MAX];
    ring_size = size;
    for (int i = 0; i < size; i++)
        if (pipe(ring[i]))
            fail("pipe");
    for (int i = 1; i < size; i++)
        if (pthread_create(&member[i], NULL, ring_member, (void *)(intptr_t)i))
            fail("pthread_create");
    measure_parts(name, do_round, 20, size);
    ring_round('e');
    for (int i = 1; i < size; i++)
        pthread_join(member[i], NULL);
    for (int i = 0; i < size; i++) {
        close(ring[i][0]);
        close(ring[i][1]);
    }
}

/* --- threads and processes begin and end --- */

static void *thread_nothing(void *arg)
{
    return arg;
}

static void do_pthread(void)
{
    pthread_t t;
    if (pthread_create(&t, NULL, thread_nothing, NULL))
        fail("pthread_create");
    pthread_join(t, NULL);
}

static const char *self;

static void wait_for(pid_t child)
{
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status)
        fail("child");
}

static void do_fork(void)
{
    pid_t child = fork();
    if (!child)
        _exit(0);
    wait_for(child);
}

static void run_self(void)
{
    char *argv[] = {"waits", "end", NULL}, *env[] = {NULL};
    execve(self, argv, env);
    _exit(1);
}

static void do_fork_exec(void)
{
    pid_t child = fork();
    if (!child)
        run_self();
    wait_for(child);
}

static void do_vfork_exec(void)
{
    pid_t child = vfork();
    if (!child)
        run_self();
    wait_for(child);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "end"))
        return 0;
    self = argv[0];
    signal(SIGUSR1, handler);
    report_rate();
    measure("yield", do_yield, 200);
    measure("signal", do_signal, 100);
    measure_futex();
    measure_pipe();
    measure_unix();
    measure_eventfd();
    measure_ring("switch_2", 2);
    measure_ring("switch_16", 16);
    measure_ring("switch_96", 96);
    measure("pthread", do_pthread, 50);
    measure("fork", do_fork, 50);
    measure("fork_exec", do_fork_exec, 20);
    measure("vfork_exec", do_vfork_exec, 20);
    measure_tcp();
    measure_tcp_more();
    measure_udp();
    return finish();
}
