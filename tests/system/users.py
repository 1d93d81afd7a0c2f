"""Users inside the guest: what execve(2) makes of set-ID files and capabilities, and the programs with which entrypoints become
somebody else: gosu, su-exec's way, setpriv."""
import pathlib
import shutil
import tempfile

from harness import BUILD, Failure, busybox, check, compare, compiled, execute, knarr, place, scratch, tail, test

PASSWD = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:100:Alice:/home/alice:/bin/sh\nbob:x:1001:101::/:/bin/sh\n"
GROUP = "root:x:0:\nusers:x:100:\nbobs:x:101:\nstaff:x:300:alice,bob\nwheel:x:301:alice\n"


def privileges(flavour, *options):
    program = compiled("exec_privileges", flavour)
    BUILD.mkdir(parents=True, exist_ok=True)
    # Not in /dev/shm, which often is mounted with nosuid.
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="users-") as here:
        want = execute([program], cwd=here, env={})
    compare(want, knarr(*options, program))


for flavour, options in [("musl", []), ("glibc", ["--cpus", "2"])]:

    @test(f"users/exec-privileges-{flavour}")
    def exec_privileges(flavour=flavour, options=options):
        privileges(flavour, *options)


def root(directory, *programs):
    """A root with users, a shell, and these programs with their libraries."""
    top = pathlib.Path(directory)
    for name in ["bin", "etc", "tmp", "home/alice", "root"]:
        (top / name).mkdir(parents=True, exist_ok=True)
    (top / "tmp").chmod(0o1777)
    (top / "etc/passwd").write_text(PASSWD)
    (top / "etc/group").write_text(GROUP)
    shutil.copy(busybox(), top / "bin/busybox")
    for name in ["sh", "id", "cat", "ls", "mount", "grep", "chmod", "cp", "ps"]:
        (top / "bin" / name).symlink_to("busybox")
    place(top, *programs)
    return directory


def found(name):
    for place_ in ["/usr/sbin", "/usr/bin", "/bin", "/sbin"]:
        path = pathlib.Path(place_, name)
        if path.exists():
            return path
    raise Failure(f"Debian's {name} is not installed")


def says(directory, argv, expected, status=0, **kwargs):
    got = knarr("--root", directory, *argv, **kwargs)
    check((got.status, got.stdout.decode()) == (status, expected), f"{argv}: {got.status} {got.stdout!r} {tail(got.stderr)}")


@test("users/gosu")
def gosu():
    program = found("gosu")
    with scratch() as directory:
        root(directory, program)
        says(directory, [program, "alice", "id"], "uid=1000(alice) gid=100(users) groups=300(staff),301(wheel)\n")
        says(directory, [program, "bob:users", "id"], "uid=1001(bob) gid=100(users)\n")
        says(directory, ["--cpus", "2", program, "1234:567", "sh", "-c", "id -u; id -g; id -G; echo $HOME; grep Cap /proc/self/status"],
             "1234\n567\n567\n/\n" + "".join(f"Cap{s}:\t{v}\n" for s, v in [("Inh", "0" * 16), ("Prm", "0" * 16), ("Eff", "0" * 16),
                                                                            ("Bnd", "000001ffffffffff"), ("Amb", "0" * 16)]))
        got = knarr("--root", directory, program, "nobody-there", "id")
        check(got.status == 1 and b"unable to find user" in got.stderr, f"unknown user: {got.status} {got.stderr!r}")
        says(directory, [program, "alice", "sh", "-c", "echo x >/root/file; echo $?; echo x >/tmp/file; cat /tmp/file; exit 3"], "1\nx\n", 3)


SU_EXEC = r"""
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    struct passwd *pw = argc > 2 ? getpwnam(argv[1]) : NULL;
    gid_t groups[64];
    int n = 64;
    if (!pw || getgrouplist(pw->pw_name, pw->pw_gid, groups, &n) < 0)
        return 1;
    if (setgroups((size_t)n, groups) || setgid(pw->pw_gid) || setuid(pw->pw_uid)) {
        perror("su-exec");
        return 1;
    }
    setenv("HOME", pw->pw_dir, 1);
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    return 1;
}
"""


@test("users/su-exec")
def su_exec():
    with scratch() as directory:
        root(directory)
        source = pathlib.Path(directory, "su-exec.c")
        source.write_text(SU_EXEC)
        done = execute(["musl-gcc", "-static", "-O2", source, "-o", pathlib.Path(directory, "bin/su-exec")])
        check(done.status == 0, tail(done.stderr))
        says(directory, ["su-exec", "alice", "sh", "-c", "id; echo $HOME; exec id -u"],
             "uid=1000(alice) gid=100(users) groups=100(users),300(staff),301(wheel)\n/home/alice\n1000\n")
        says(directory, ["su-exec", "alice", "su-exec", "root", "id"], "", 1)


@test("users/setpriv")
def setpriv():
    program = found("setpriv")
    with scratch() as directory:
        root(directory, program)
        says(directory, [program, "--reuid", "alice", "--regid", "100", "--init-groups", "id"],
             "uid=1000(alice) gid=100(users) groups=100(users),300(staff),301(wheel)\n")
        says(directory, [program, "--reuid", "1000", "--clear-groups", "--inh-caps", "+kill,+net_bind_service", "--ambient-caps",
                         "+net_bind_service", "--no-new-privs", "grep", "-E", "Cap(Eff|Amb)|NoNew", "/proc/self/status"],
             "CapEff:\t0000000000000400\nCapAmb:\t0000000000000400\nNoNewPrivs:\t1\n")
        says(directory, [program, "--bounding-set", "-all,+chown", "--reuid", "1000", "--clear-groups", "grep", "CapBnd", "/proc/self/status"],
             "CapBnd:\t0000000000000001\n")
        says(directory, [program, "--reuid", "1000", "--clear-groups", program, "--reuid", "0", "id"], "", 127)


@test("users/secure-preload")
def secure_preload():
    """AT_SECURE: the dynamic linker of a set-user-ID program takes nothing from who starts it."""
    import dynamic

    program, extra, tool = dynamic.program(), dynamic.library("gcc", "preload", dynamic.PRELOAD), found("setpriv")
    with scratch() as directory:
        root(directory, program, tool)
        top = pathlib.Path(directory)
        shutil.copy(extra, top / "preload.so")
        for mode, words in [(0o755, ["secure 0", ": preload.so,"]), (0o4755, ["secure 1"])]:
            shutil.copy(program, top / "program")
            (top / "program").chmod(mode)
            got = knarr("--root", directory, "-e", "LD_PRELOAD=/preload.so", tool, "--reuid", "1000", "--clear-groups", "/program")
            said = got.stdout.decode()
            check(all(word in said for word in words) and (mode == 0o755 or "preload.so" not in said), f"{mode:o}: {got.status} {got.stdout!r} {tail(got.stderr)}")


@test("users/set-user-id")
def set_user_id():
    """A set-user-ID program in a shell, on a mount that allows it and on one that does not."""
    script = ("cp /bin/who /tmp/who && chmod 4755 /tmp/who && /bin/su-exec alice /tmp/who; "
              "mkdir /n && mount -t tmpfs -o nosuid none /n && cp /bin/who /n/who && chmod 4755 /n/who && /bin/su-exec alice /n/who; "
              "mkdir /x && mount -t tmpfs -o noexec none /x && cp /bin/who /x/who && /x/who; echo $?; /bin/maps /x/who; /bin/maps /bin/who")
    with scratch() as directory:
        root(directory)
        source = pathlib.Path(directory, "su-exec.c")
        source.write_text(SU_EXEC)
        check(execute(["musl-gcc", "-static", "-O2", source, "-o", pathlib.Path(directory, "bin/su-exec")]).status == 0, "su-exec")
        source.write_text('#include <stdio.h>\n#include <unistd.h>\nint main(void) { return printf("%d %d\\n", getuid(), geteuid()) < 0; }\n')
        check(execute(["musl-gcc", "-static", "-O2", source, "-o", pathlib.Path(directory, "bin/who")]).status == 0, "who")
        source.write_text("#include <fcntl.h>\n#include <stdio.h>\n#include <sys/mman.h>\n#include <unistd.h>\n"
                          'int main(int c, char **v) { int fd = open(v[c - 1], O_RDONLY); void *a = mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0);'
                          'printf("%d %d ", mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED, mprotect(a, 4096, PROT_READ | PROT_EXEC) == 0);'
                          'return printf("%d\\n", access(v[1], X_OK) == 0) < 0; }\n')
        check(execute(["musl-gcc", "-static", "-O2", source, "-o", pathlib.Path(directory, "bin/maps")]).status == 0, "maps")
        (pathlib.Path(directory) / "bin/mkdir").symlink_to("busybox")
        got = knarr("--root", directory, "sh", "-c", script)
        check(got.stdout == b"1000 0\n1000 1000\n126\n0 0 0\n1 1 1\n", f"{got.stdout!r} {tail(got.stderr)}")
