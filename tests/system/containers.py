"""What containers start with: shells and their jobs, an entrypoint script, small inits, make with a compiler, and the process
libraries of Go and Rust. All of it unmodified programs of Debian, beside Linux where both can do the same."""
import os
import pathlib
import re
import shutil

from harness import BUILD, Failure, busybox, check, compare, execute, knarr, once, place, scratch, tail, test

SCRIPTS = pathlib.Path(__file__).parent / "scripts"
ENV = {"PATH": "./bin", "HOME": "/"}


def applets(root, shell=None):
    """./bin with busybox's commands; sh is `shell`, a static program or one whose libraries are in the root."""
    directory = pathlib.Path(root, "bin")
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(busybox(), directory)
    for name in execute([busybox(), "--list"]).stdout.decode().split():
        if not (directory / name).exists():
            (directory / name).symlink_to("busybox")
    if shell:
        (directory / "sh").unlink()
        shutil.copy(shell, directory / "sh")
    pathlib.Path(root, "tmp").mkdir(exist_ok=True)


def both(fill, argv, options=(), env=None, status=None):
    """Runs argv in a directory that fill(directory) fills, on this machine, and with the same as the root of a guest."""
    env = {**ENV, **(env or {})}
    with scratch() as here, scratch() as root:
        fill(here)
        fill(root)
        want = execute(argv, cwd=here, env=env)
        settings = [word for pair in env.items() for word in ("-e", "=".join(pair))]
        got = knarr("--root", root, *settings, *options, *argv, timeout=240)
        check(status is None or want.status == status, f"status {want.status} on Linux: " + tail(want.stderr))
        compare(want, got)
        return want, got


def found(name):
    path = shutil.which(name)
    if not path:
        raise Failure(f"Debian's {name} is not installed")
    return path


# ---- shells ------------------------------------------------------------------------------------------------------------

def shell(program, *options):
    def fill(root):
        # Another copy is the shell's `sh`, of which the script makes many.
        applets(root)
        place(root, program)
        shutil.copy(program, pathlib.Path(root, "bin", "shell"))
        pathlib.Path(root, "bin", "sh").unlink()
        pathlib.Path(root, "bin", "sh").symlink_to("busybox" if "busybox" in program else "shell")
        shutil.copy(SCRIPTS / "shell.sh", root)

    argv = ["./bin/busybox", "ash"] if "busybox" in program else ["./bin/shell"]
    both(fill, [*argv, "shell.sh"], options, status=42)


@test("containers/shell-dash")
def shell_dash():
    shell(found("dash"))


@test("containers/shell-dash-2cpus")
def shell_dash_2cpus():
    shell(found("dash"), "--cpus", "2")


@test("containers/shell-busybox")
def shell_busybox():
    shell(busybox(), "--cpus", "2")


@test("containers/shell-bash")
def shell_bash():
    shell(found("bash"))


@test("containers/shell-bash-2cpus")
def shell_bash_2cpus():
    shell(found("bash"), "--cpus", "2")


# ---- an entrypoint -------------------------------------------------------------------------------------------------------

def image(root):
    applets(root)
    place(root, found("dash"))
    root = pathlib.Path(root)
    shutil.copy(found("dash"), root / "bin" / "dash")
    for name in ["entrypoint.sh", "server.sh"]:
        shutil.copy(SCRIPTS / name, root)
        (root / name).chmod(0o755)
    (root / "password").write_text("secret\n")
    first = root / "init.d"
    first.mkdir()
    (first / "10-first.sql").write_text("# tables\ncreate orders number item price\ninsert orders 1 bolt 0.10\ninsert orders 2 nut 0.05\n")
    (first / "20-run.sh").write_text('#!./bin/dash\necho "script runs as $(id -u)"\n')
    (first / "20-run.sh").chmod(0o755)
    (first / "30-source.sh").write_text("query insert users extra reader\n")
    (first / "40-more.sql.gz").write_bytes(execute(["gzip", "-nc"], b"create more a b\ninsert more 1 2\n").stdout)
    (first / "README").write_text("not for the entrypoint\n")


SETTINGS = {"DB_PASSWORD_FILE": "./password", "DB_CONF_THREADS": "8", "DB_CONF_LOG_DIR": "/var/log", "LOG_LEVEL": "debug"}


@test("containers/entrypoint")
def entrypoint():
    both(image, ["./entrypoint.sh", "--verbose", "one two"], env=SETTINGS, status=0)


@test("containers/entrypoint-2cpus")
def entrypoint_2cpus():
    both(image, ["./entrypoint.sh"], ["--cpus", "2"], env=SETTINGS, status=0)


@test("containers/entrypoint-other-command")
def entrypoint_command():
    both(image, ["./entrypoint.sh", "./bin/sh", "-c", "echo other; exit 31"], status=31)


@test("containers/entrypoint-refuses")
def entrypoint_refuses():
    both(image, ["./entrypoint.sh"], status=1)


# ---- inits -----------------------------------------------------------------------------------------------------------------

# Orphans are left to process 1, which is to reap them; at the end nobody but process 1 and the shell may be there.
ORPHANS = """
for i in 1 2 3 4 5; do (./bin/sleep 0.0$i & exit 0); done
(trap '' HUP; ./bin/sleep 0.05 & ./bin/sleep 0.1 &)
tries=0
while [ $tries -lt 100 ]; do
    left=0
    for p in /proc/[0-9]*; do left=$((left + 1)); done
    [ $left -le 2 ] && break
    tries=$((tries + 1)); ./bin/sleep 0.05
done
echo "my number: $$, parent $PPID, processes left: $left"
exit 23
"""

SIGNALLED = """
trap 'echo "term came"; exit 9' TERM
(./bin/sleep 0.2; kill -TERM 1) &
while :; do wait; ./bin/sleep 0.05; done
"""


def init(argv, script, options=()):
    with scratch() as root:
        applets(root)
        place(root, argv[0])
        return knarr("--root", root, "-e", "PATH=/bin", *options, *argv, "./bin/busybox", "ash", "-c", script)


INITS = {"tini-static": ["/usr/bin/tini-static", "--"], "tini": ["/usr/bin/tini", "-g", "--"], "catatonit": ["/usr/bin/catatonit", "--"]}


def inits(name, options=()):
    got = init(INITS[name], ORPHANS, options)
    check(got.status == 23 and got.stdout == b"my number: 2, parent 1, processes left: 2\n", f"orphans: {got.status} {got.stdout} {tail(got.stderr)}")
    got = init(INITS[name], SIGNALLED, options)
    check(got.status == 9 and got.stdout == b"term came\n", f"signal: {got.status} {got.stdout} {tail(got.stderr)}")
    got = init(INITS[name], "kill -KILL $$", options)
    check(got.status == 137, f"killed child: {got.status} {tail(got.stderr)}")


for name in INITS:
    test(f"containers/init-{name}")(lambda name=name: inits(name))
test("containers/init-tini-static-2cpus")(lambda: inits("tini-static", ["--cpus", "2"]))


# ---- make and a compiler -----------------------------------------------------------------------------------------------------

def toolchain(root):
    """Debian's make, tcc and dash, and what tcc wants of libc6-dev, at their own paths."""
    place(root, found("make"), found("tcc"), found("dash"), found("cat"), found("cmp"), found("rm"))
    # /bin and /lib are links into /usr on Debian, and not here.
    shutil.copytree(pathlib.Path(root, "usr/bin"), pathlib.Path(root, "bin"), dirs_exist_ok=True)
    shutil.copy(found("dash"), pathlib.Path(root, "bin/sh"))
    libraries = "/usr/lib/x86_64-linux-gnu"
    for path in ["/usr/include", f"{libraries}/tcc"]:
        shutil.copytree(path, root + path, symlinks=False, ignore=shutil.ignore_patterns("c++", "llvm*", "clang*", "node", "python*"),
                        ignore_dangling_symlinks=True, dirs_exist_ok=True)
    os.makedirs(root + libraries, exist_ok=True)
    for name in ["crt1.o", "crti.o", "crtn.o", "libc.so", "libc_nonshared.a", "libc.so.6", "ld-linux-x86-64.so.2"]:
        shutil.copy(f"{libraries}/{name}", root + libraries)
    shutil.copytree(SCRIPTS / "build", root + "/build")
    pathlib.Path(root, "tmp").mkdir()


def make(*options):
    want = (SCRIPTS / "build" / "expected.out").read_bytes()
    with scratch() as root:
        toolchain(root)
        got = knarr("--root", root, "-w", "/build", "-e", "PATH=/usr/bin:/bin", "-m", "1G", *options, "/usr/bin/make", "-j2", timeout=240)
        check(got.status == 0 and got.stdout == b"as expected\n" + want, f"{got.status} {tail(got.stdout)} {tail(got.stderr)}")


@test("containers/make")
def make_one():
    make()


@test("containers/make-2cpus")
def make_two():
    make("--cpus", "2")


# ---- Go's own tests of its process libraries ----------------------------------------------------------------------------------

# What the machine here cannot do, by package; everything else is run.
GO_WITHOUT = {
    "os/exec": {"TestExtraFiles": "TCP", "TestExtraFilesRace": "TCP", "TestCredentialNoSetGroups": "cgo"},
    "os/signal": {},
    "os": {"TestErrProcessDone": "the go tool", "TestExecutableDeleted": "the go tool"},
    "syscall": {"TestExecPtrace": "ptrace", "TestUnshare": "namespaces", "TestUnshareMountNameSpace": "namespaces",
                "TestUnshareMountNameSpaceChroot": "namespaces", "TestCloneNEWUSERAndRemapNoRootDisableSetgroups": "namespaces",
                "TestCloneNEWUSERAndRemapNoRootSetgroupsEnableSetgroups": "namespaces",
                "TestCloneNEWUSERAndRemapRootDisableSetgroups": "namespaces",
                "TestCloneNEWUSERAndRemapRootEnableSetgroups": "namespaces", "TestGroupCleanup": "namespaces",
                "TestGroupCleanupUserNamespace": "namespaces", "TestUnshareUidGidMapping": "namespaces", "TestEmptyCredGroupsDisableSetgroups": "namespaces"},
}


def go_sources():
    for root in [pathlib.Path(execute(["go", "env", "GOROOT"], env={"PATH": os.environ["PATH"], "HOME": "/"}).stdout.decode().strip())]:
        if (root / "src" / "os" / "exec").exists():
            return root / "src"
    raise Failure("Go's own sources are not installed")


def go_tests(package):
    path = BUILD / "third-party" / ("go-" + package.replace("/", "-") + ".test")
    with once(path):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            env = {"PATH": "/usr/bin:/bin", "HOME": str(path.parent), "GOCACHE": str(path.parent / "go-cache"), "CGO_ENABLED": "0",
                   "GOFLAGS": "-p=2"}
            done = execute(["go", "test", "-c", "-o", path, package], timeout=600, env=env)
            if done.status:
                raise Failure(f"go test -c {package}: " + tail(done.stderr))
    return path


def go_results(outcome):
    return {name: verdict for verdict, name in re.findall(rb"^--- (PASS|FAIL|SKIP): (\w+)", outcome.stdout, re.M)}


def go_package(package, least, options=()):
    program, without = go_tests(package), GO_WITHOUT[package]
    names = [n for n in execute([program, "-test.list", "^Test"]).stdout.decode().split() if n not in without]
    with scratch() as root:
        applets(root)
        place(root, program)
        etc = pathlib.Path(root, "etc")
        etc.mkdir()
        (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (etc / "hosts").write_text("127.0.0.1 localhost\n")
        (etc / "group").write_text("root:x:0:\n")
        shutil.copytree(go_sources() / package, root + "/src", symlinks=False)
        shutil.copy(program, root + "/src/package.test")
        # Side by side with what it is beside in Go's tree.
        for name in ["/usr/bin", "/root"]:
            os.makedirs(root + name, exist_ok=True)
        settings = ["-e", "USER=root", "-e", "HOME=/root", "-e", "PATH=/bin", "-w", "/src", "-m", "1G"]
        got = knarr("--root", root, *settings, *options, "./package.test", "-test.v", "-test.short", "-test.run", "^(" + "|".join(names) + ")$",
                    timeout=300)
    results = go_results(got)
    failed = sorted(name.decode() for name, verdict in results.items() if verdict == b"FAIL")
    passed = sum(verdict == b"PASS" for verdict in results.values())
    check(not failed and got.status == 0 and passed >= least, f"status {got.status}, {passed} passed, failed: {failed} {tail(got.stdout, 4)} {tail(got.stderr)}")


@test("containers/go-os-exec")
def go_exec():
    go_package("os/exec", 28)


@test("containers/go-os-exec-2cpus")
def go_exec_2cpus():
    go_package("os/exec", 28, ["--cpus", "2"])


@test("containers/go-os-signal")
def go_signal():
    go_package("os/signal", 17, ["--cpus", "2"])


@test("containers/go-os")
def go_os():
    go_package("os", 120, ["--cpus", "2"])


@test("containers/go-syscall")
def go_syscall():
    go_package("syscall", 25, ["--cpus", "2"])


# ---- Rust ------------------------------------------------------------------------------------------------------------------

def rust_program():
    path, source = BUILD / "third-party" / "rust-process", SCRIPTS / "process.rs"
    with once(path):
        if not path.exists() or path.stat().st_mtime < source.stat().st_mtime:
            path.parent.mkdir(parents=True, exist_ok=True)
            done = execute(["/usr/bin/rustc", "-O", "-C", "target-feature=+crt-static", "-C", "panic=abort", "-o", path, source], timeout=600)
            if done.status:
                raise Failure("rustc: " + tail(done.stderr))
    return path


def rust(*options):
    both(lambda root: shutil.copy(rust_program(), pathlib.Path(root, "process")), ["./process"], options, status=0)


@test("containers/rust")
def rust_one():
    rust()


@test("containers/rust-2cpus")
def rust_two():
    rust("--cpus", "2")
