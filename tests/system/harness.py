"""What all system tests share: the list of tests, building guest programs, and running a program on Linux and on Knarr."""
import difflib
import hashlib
import os
import pathlib
import resource
import shutil
import subprocess
import tempfile
import threading

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = (TOP / os.environ.get("BUILD", "build")).resolve()
GUEST = TOP / "tests" / "guest"
KNARR = BUILD / "knarr"
WORK = BUILD / "system"
TIMEOUT = 90  # seconds for one boot; the slowest takes a quarter of it on an idle machine

TESTS = []


class Failure(Exception):
    pass


class Skipped(Exception):
    """This machine does not allow what the test needs."""


class Test:
    def __init__(self, name, function, first=False):
        self.name, self.function, self.first = name, function, first


def test(name, first=False):
    """Decorator: makes a test of a function without arguments. Those with `first` start before the others."""

    def register(function):
        TESTS.append(Test(name, function, first))
        return function

    return register


def check(condition, why):
    if not condition:
        raise Failure(why)


class Outcome:
    def __init__(self, status, stdout, stderr):
        self.status, self.stdout, self.stderr = status, stdout, stderr


def execute(argv, stdin=b"", timeout=TIMEOUT, **kwargs):
    """Runs a command to its end; death by signal N counts as status 128+N, as in a shell."""
    try:
        done = subprocess.run([str(a) for a in argv], input=stdin, capture_output=True, timeout=timeout, **kwargs)
    except subprocess.TimeoutExpired as expired:
        raise Failure(f"no end after {timeout} s: {tail(expired.stdout)} {tail(expired.stderr)}") from None
    return Outcome(done.returncode if done.returncode >= 0 else 128 - done.returncode, done.stdout, done.stderr)


def knarr(*argv, stdin=b"", timeout=TIMEOUT, env=None):
    """`knarr run ARGV`; returns its Outcome."""
    return execute([KNARR, "run", *argv], stdin, timeout, env={**os.environ, **(env or {})})


def scratch():
    """A fresh empty directory that goes away by itself; in memory where possible, as the guest's files are."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="knarr-test-", dir=base)


def linux(argv, env=None, stdin=b"", timeout=TIMEOUT):
    """Runs a program on this machine in an empty directory with nothing but the environment given."""
    with scratch() as directory:
        return execute(argv, stdin, timeout, cwd=directory, env={"PATH": "/usr/bin:/bin", **(env or {})}, preexec_fn=usual_limits)


def usual_limits():
    """The limits that a process has on Linux when nobody changed them."""
    for limit, soft in [(resource.RLIMIT_NOFILE, 1024), (resource.RLIMIT_STACK, 8 << 20), (resource.RLIMIT_CORE, 0)]:
        _, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def tail(data, lines=6):
    if not data:
        return ""
    text = data.decode("utf-8", "replace").replace("\r", "").rstrip().split("\n")
    return " | ".join(text[-lines:])


def compare(on_linux, on_knarr, stderr=False):
    """Fails with the first differences when the two outcomes are not the same."""
    problems = []
    if on_linux.status != on_knarr.status:
        problems.append(f"status {on_knarr.status}, on Linux {on_linux.status}")
    for name in ["stdout", "stderr"] if stderr else ["stdout"]:
        want, got = getattr(on_linux, name), getattr(on_knarr, name)
        if want == got:
            continue
        diff = difflib.unified_diff(want.decode("utf-8", "backslashreplace").split("\n"),
                                    got.decode("utf-8", "backslashreplace").split("\n"), "linux", "knarr", lineterm="", n=1)
        lines = list(diff)[2:]
        problems += [f"{name} differs", *lines[:16], *(["..."] if len(lines) > 16 else [])]
    if problems:
        if not stderr and on_knarr.stderr:
            problems.append("stderr: " + tail(on_knarr.stderr, 12))
        raise Failure("\n".join(problems))


# ---- guest programs --------------------------------------------------------------------------------------------------

COMPILERS = {
    "musl": ["musl-gcc", "-static"],
    # musl-gcc does not know -static-pie: its parts by hand.
    "musl-pie": ["musl-gcc", "-fPIE", "-static", "-Wl,-pie,--no-dynamic-linker,-z,text", "-nostartfiles",
                 *(f"/usr/lib/x86_64-linux-musl/{part}" for part in ["rcrt1.o", "crti.o", "crtn.o"])],
    "glibc": ["gcc", "-static"],
    "glibc-pie": ["gcc", "-static-pie", "-fPIE"],
}
# The programs pass on purpose what no sane program would.
CFLAGS = ["-O2", "-g", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-unknown-warning-option", "-Wno-nonnull",
          "-Wno-stringop-overflow", "-Wno-stringop-overread", "-Wno-infinite-recursion", "-Wno-unused-result", "-pthread"]

_locks, _locks_lock = {}, threading.Lock()


def once(key):
    """A lock by name: two tests that need the same file build it once."""
    with _locks_lock:
        return _locks.setdefault(key, threading.Lock())


def directives(source):
    """The `// word: text` lines among the first twelve of a guest program."""
    found = {}
    with open(source) as lines:
        for _, line in zip(range(12), lines):
            if line.startswith("// ") and ": " in line:
                word, text = line[3:].rstrip("\n").split(": ", 1)
                if word.isalpha() and word.islower():
                    found[word] = text
    return found


def compiled(name, flavour="musl", flags=()):
    """The path of tests/guest/NAME.c compiled, built when it is older than its source."""
    source = GUEST / f"{name}.c"
    command = [*COMPILERS[flavour], *CFLAGS, f"-I{TOP}", source, *flags]
    target = BUILD / "guest" / f"{flavour}-{hashlib.sha256(repr(command).encode()).hexdigest()[:8]}" / name
    with once(target):
        newest = max(path.stat().st_mtime for path in [source, *GUEST.glob("*.h")])
        if not target.exists() or target.stat().st_mtime < newest:
            target.parent.mkdir(parents=True, exist_ok=True)
            done = execute([*command, "-o", target])
            if done.status:
                raise Failure("does not compile: " + tail(done.stderr))
    return target


def libraries(program):
    """The dynamic linker and the libraries of a program of this machine, as absolute paths."""
    musl = "/lib/ld-musl-x86_64.so.1"
    list_them = [musl, "--list"] if musl.encode() in pathlib.Path(program).read_bytes() else ["ldd"]
    words = execute([*list_them, program]).stdout.decode().split()
    return [word for word in words if word.startswith("/") and not word.endswith(":")]


def place(root, *files):
    """Copies files of this machine, with the libraries that they need, to the same paths under root."""
    for file in files:
        for path in [str(file), *libraries(file)]:
            target = pathlib.Path(root, path.lstrip("/"))
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)


def busybox():
    path = shutil.which("busybox")
    if not path:
        raise Failure("Debian's busybox-static is not installed")
    return path
