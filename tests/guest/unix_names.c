// Names of AF_UNIX sockets: files in the tree (permissions, umask, unlink, rename, symbolic links), abstract names, automatic ones,
// lengths, listen and its backlog, connect and its errors, accept.
// build: musl glibc
// cpus: 1 2
#include "check.h"
#include "sockets.h"
#include <sys/stat.h>

static int make(int type)
{
    int s = socket(AF_UNIX, type, 0);
    if (s < 0)
        give_up("socket");
    return s;
}

static int bind_to(int s, const char *path)
{
    struct sockaddr_un a = unix_path(path);
    return bind(s, (void *)&a, sizeof a);
}

static int connect_to(int s, const char *path)
{
    struct sockaddr_un a = unix_path(path);
    return connect(s, (void *)&a, sizeof a);
}

static void show_file(const char *path)
{
    struct stat st;
    if (lstat(path, &st))
        printf("%s: %s\n", path, errno_name(errno));
    else
        printf("%s: %o links %d size %ld\n", path, st.st_mode, (int)st.st_nlink, (long)st.st_size);
}

static void try_connect(const char *what, int type, const char *path)
{
    int c = make(type);
    int r = connect_to(c, path);
    printf("%s: %s\n", what, r ? errno_name(errno) : "connected");
    close(c);
}

static void files(void)
{
    section("files");
    umask(022);
    int s = make(SOCK_STREAM), t = make(SOCK_STREAM);
    show_name("new", s, false);
    SHOW(bind_to(s, "one.sock"));
    show_file("one.sock");
    show_name("bound", s, false);
    SHOW(bind_to(s, "two.sock"));
    show_file("two.sock");
    SHOW(bind_to(t, "one.sock"));
    SHOW(bind_to(t, "missing/x.sock"));
    SHOW(bind_to(t, "one.sock/x"));
    struct sockaddr_un a = unix_path("two.sock");
    SHOW(bind(t, (void *)&a, HEADER - 1));
    SHOW(bind(t, (void *)&a, sizeof a + 1));
    SHOW(bind(t, (void *)&a, 200));
    SHOW(bind(t, NULL, 10));
    SHOW(bind(t, (void *)&a, -1));
    a.sun_family = AF_INET;
    SHOW(bind(t, (void *)&a, sizeof a));
    a.sun_family = AF_UNIX;
    SHOW(bind(t, (void *)&a, HEADER + 3)); // "two", without its NUL
    show_name("cut", t, false);
    show_file("two");
    close(t);
    show_file("two");
    unlink("two");
    umask(077);
    t = make(SOCK_STREAM);
    SHOW(fchmod(t, 0640));
    SHOW(bind_to(t, "private"));
    show_file("private");
    close(t);
    unlink("private");
    umask(022);
    SHOW(open("one.sock", O_RDWR));
    memset(&a, 'l', sizeof a);
    a.sun_family = AF_UNIX;
    t = make(SOCK_STREAM);
    SHOW(bind(t, (void *)&a, sizeof a)); // 108 characters and no NUL
    struct sockaddr_storage big;
    socklen_t len = sizeof big;
    SHOW(getsockname(t, (void *)&big, &len));
    printf("length %u\n", len);
    len = 5;
    memset(&big, '.', sizeof big);
    SHOW(getsockname(t, (void *)&big, &len));
    printf("length %u, %.5s\n", len, (char *)&big + 2);
    len = -1U;
    SHOW(getsockname(t, (void *)&big, &len));
    SHOW(getsockname(t, (void *)&big, NULL));
    char longest[109] = {0};
    memset(longest, 'l', 108);
    SHOW(unlink(longest));
    close(t);

    section("connecting");
    try_connect("not listening", SOCK_STREAM, "one.sock");
    SHOW(listen(s, 5));
    try_connect("listening", SOCK_STREAM, "one.sock");
    try_connect("another type", SOCK_SEQPACKET, "one.sock");
    try_connect("another type", SOCK_DGRAM, "one.sock");
    try_connect("missing", SOCK_STREAM, "none");
    close(open("plain", O_CREAT | O_WRONLY, 0666));
    try_connect("a file", SOCK_STREAM, "plain");
    unlink("plain");
    try_connect("a directory", SOCK_STREAM, ".");
    symlink("one.sock", "link");
    try_connect("a symbolic link", SOCK_STREAM, "link");
    t = make(SOCK_STREAM);
    SHOW(bind_to(t, "link"));
    unlink("link");
    rename("one.sock", "renamed");
    try_connect("renamed", SOCK_STREAM, "renamed");
    try_connect("its old name", SOCK_STREAM, "one.sock");
    link("renamed", "second");
    try_connect("a second name", SOCK_STREAM, "second");
    unlink("second");
    unlink("renamed");
    try_connect("unlinked", SOCK_STREAM, "renamed");
    show_name("still", s, false);
    SHOW(bind_to(t, "one.sock"));
    try_connect("bound anew, not listening", SOCK_STREAM, "one.sock");
    close(t);
    try_connect("its socket closed", SOCK_STREAM, "one.sock");
    t = make(SOCK_STREAM);
    SHOW(bind_to(t, "one.sock"));
    unlink("one.sock");
    SHOW(connect_to(t, "one.sock"));
    a = unix_path("x");
    SHOW(connect(t, (void *)&a, 2));
    SHOW(connect(t, (void *)&a, 1));
    a.sun_family = AF_UNSPEC;
    SHOW(connect(t, (void *)&a, sizeof a));
    close(t);
    close(s);
}

static void permissions(void)
{
    section("permissions");
    int s = make(SOCK_STREAM);
    SHOW(bind_to(s, "secret"));
    SHOW(listen(s, 5));
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        if (getuid() == 0 && (setgid(12345) || setuid(12345)))
            _exit(9);
        chmod("secret", 0555); // who owns it may not write either
        int c = make(SOCK_STREAM);
        _exit(connect_to(c, "secret") ? errno : 0);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("a stranger: %s\n", WIFEXITED(status) ? errno_name(WEXITSTATUS(status)) : "?");
    close(s);
    unlink("secret");
}

static void abstract(void)
{
    struct sockaddr_un a, b;
    section("abstract names");
    int s = make(SOCK_STREAM), t = make(SOCK_STREAM), c = make(SOCK_STREAM), d = make(SOCK_DGRAM);
    socklen_t len = unix_abstract(&a, "abs");
    SHOW(bind(s, (void *)&a, len));
    SHOW(bind(t, (void *)&a, len));
    SHOW(bind(d, (void *)&a, len)); // another type: another name
    SHOW(bind(t, (void *)&a, len + 1)); // with a NUL behind it
    SHOW(listen(s, 3));
    SHOW(connect(c, (void *)&a, len));
    int e = accept(s, NULL, NULL);
    HOLDS(e >= 0);
    socklen_t got = sizeof b;
    HOLDS(getpeername(c, (void *)&b, &got) == 0 && got == len && !memcmp(&a, &b, len));
    got = sizeof b;
    HOLDS(getsockname(e, (void *)&b, &got) == 0 && got == len && !memcmp(&a, &b, len));
    show_name("the client's", e, true);
    show_name("the client's own", c, false);
    SHOW(connect(c, (void *)&a, len));
    close(s);
    int f = make(SOCK_STREAM);
    SHOW(connect(f, (void *)&a, len));
    SHOW(bind(f, (void *)&a, len)); // free again, although a connection shows it
    close(e);
    SHOW(listen(f, 1));
    SHOW(listen(c, 1));
    SHOW(listen(d, 1));
    SHOW(accept(d, NULL, NULL));
    SHOW(accept(t, NULL, NULL));
    SHOW(syscall(SYS_accept4, f, NULL, NULL, 0x40));
    close(c);
    close(d);
    close(f);
    close(t);

    section("automatic names");
    s = make(SOCK_DGRAM);
    memset(&a, 0, sizeof a);
    a.sun_family = AF_UNIX;
    SHOW(bind(s, (void *)&a, sizeof(sa_family_t)));
    got = sizeof b;
    SHOW(getsockname(s, (void *)&b, &got));
    printf("length %u, first %d, digits %zu\n", got, b.sun_path[0], strspn(b.sun_path + 1, "0123456789abcdef"));
    SHOW(bind(s, (void *)&a, sizeof(sa_family_t)));
    len = unix_abstract(&a, "again");
    SHOW(bind(s, (void *)&a, len));
    close(s);
    s = make(SOCK_STREAM);
    c = make(SOCK_STREAM);
    SHOW(bind(s, (void *)&a, len));
    SHOW(listen(s, 3));
    int one = 1;
    SHOW(setsockopt(c, SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
    SHOW(connect(c, (void *)&a, len));
    got = sizeof b;
    SHOW(getsockname(c, (void *)&b, &got));
    printf("length %u\n", got);
    close(c);
    close(s);
}

static void backlog(void)
{
    struct sockaddr_un a, from;
    section("backlog");
    socklen_t len = unix_abstract(&a, "backlog"), got;
    int s = make(SOCK_STREAM | SOCK_NONBLOCK), c[5], e;
    SHOW(listen(s, 2));
    bind(s, (void *)&a, len);
    show_events("bound", s);
    SHOW(listen(s, 2));
    show_events("listening", s);
    SHOW(accept(s, NULL, NULL));
    for (int i = 0; i < 5; i++) {
        c[i] = make(SOCK_STREAM | SOCK_NONBLOCK);
        int r = connect(c[i], (void *)&a, len);
        printf("connect %d: %s\n", i, r ? errno_name(errno) : "ok");
    }
    show_events("waiting", s);
    show_events("connected", c[0]);
    show_events("refused", c[4]);
    SHOW(read(s, from.sun_path, 1));
    SHOW(write(s, from.sun_path, 1));
    int n;
    SHOW(ioctl(s, FIONREAD, &n));
    SHOW(write(c[0], "early", 5));
    got = sizeof from;
    memset(&from, 'x', sizeof from);
    e = accept4(s, (void *)&from, &got, SOCK_CLOEXEC | SOCK_NONBLOCK);
    HOLDS(e >= 0);
    printf("address length %u, cloexec %d, nonblock %d\n", got, fcntl(e, F_GETFD), !!(fcntl(e, F_GETFL) & O_NONBLOCK));
    char text[10] = {0};
    SHOW(read(e, text, sizeof text));
    printf("%s\n", text);
    SHOW(connect(c[3], (void *)&a, len));
    SHOW(listen(s, 10));
    SHOW(connect(c[4], (void *)&a, len));
    close(e);
    e = accept(s, NULL, NULL);
    printf("nonblock %d\n", !!(fcntl(e, F_GETFL) & O_NONBLOCK));
    close(e);
    close(c[2]);
    e = accept(s, NULL, NULL); // whose client has gone
    SHOW(read(e, text, 1));
    show_events("client gone", e);
    close(e);
    SHOW(shutdown(s, SHUT_RD));
    show_events("shut", s);
    int d = make(SOCK_STREAM);
    SHOW(connect(d, (void *)&a, len));
    e = accept(s, NULL, NULL); // what has come before is still handed out
    HOLDS(e >= 0);
    close(e);
    close(s);
    show_events("not accepted", c[4]);
    SHOW(read(c[4], text, 1));
    SHOW(read(c[4], text, 1));
    for (int i = 0; i < 5; i++)
        if (i != 2)
            close(c[i]);
    close(d);
}

static void table(void)
{
    section("/proc/net/unix");
    char line[300];
    struct sockaddr_un a;
    int s = make(SOCK_STREAM), v[2], lines = 0;
    char found[3][100] = {"no", "no", "no"}; // in whatever order they are listed
    bind_to(s, "listed");
    listen(s, 1);
    int d = make(SOCK_DGRAM);
    socklen_t len = unix_abstract(&a, "listed");
    bind(d, (void *)&a, len);
    pair(SOCK_SEQPACKET, v);
    FILE *f = fopen("/proc/net/unix", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (!lines++)
            printf("%s", line);
        unsigned refs, protocol, flags, type, state;
        unsigned long inode;
        char name[200] = "";
        if (sscanf(line, "%*[^:]: %x %x %x %x %x %lu %199s", &refs, &protocol, &flags, &type, &state, &inode, name) < 6)
            continue;
        struct stat st;
        if (!strcmp(name, "listed") && !fstat(s, &st)) {
            snprintf(found[0], sizeof found[0], "%u %x %u %u %s, the inode: %s", protocol, flags, type, state, name,
                     st.st_ino == inode ? "yes" : "NO");
        }
        a.sun_path[0] = '@';
        if (len - HEADER == strlen(name) && !memcmp(name, a.sun_path, len - HEADER))
            snprintf(found[1], sizeof found[1], "%u %x %u %u abstract", protocol, flags, type, state);
        if (!fstat(v[0], &st) && st.st_ino == inode)
            snprintf(found[2], sizeof found[2], "%u %x %u %u \"%s\"", protocol, flags, type, state, name);
    }
    printf("%s\n%s\n%s\n", found[0], found[1], found[2]);
    char link[64], text[64];
    struct stat st;
    fstat(s, &st);
    snprintf(link, sizeof link, "/proc/self/fd/%d", s);
    ssize_t n = readlink(link, line, sizeof line - 1);
    line[n < 0 ? 0 : n] = 0;
    snprintf(text, sizeof text, "socket:[%lu]", (unsigned long)st.st_ino);
    HOLDS(!strcmp(line, text));
    SHOW(open(link, O_RDWR));
    SHOW(stat(link, &st));
    printf("%o\n", st.st_mode);
    if (f)
        fclose(f);
    unlink("listed");
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    alarm(60);
    setvbuf(stdout, NULL, _IOLBF, 0);
    files();
    permissions();
    abstract();
    backlog();
    table();
    return 0;
}
