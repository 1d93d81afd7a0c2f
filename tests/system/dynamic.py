"""Dynamically linked programs: with a root that has their libraries, and without one, when knarr brings them along."""
import pathlib
import shutil

from harness import BUILD, GUEST, TOP, check, compare, execute, Failure, knarr, once, place, scratch, tail, test

DIRECTORY = BUILD / "guest" / "dynamic"
CFLAGS = ["-O2", "-Wall", "-Wextra", f"-I{TOP}"]
LIBRARY = "int answer(int x) { return 2 * x + 2; }\n"
PRELOAD = '#include <stdlib.h>\nstatic void __attribute__((constructor)) begin(void) { setenv("PRELOADED", "yes", 1); }\n'


def build(compiler, source, target, *flags):
    with once(target):
        newest = max(pathlib.Path(source).stat().st_mtime, (GUEST / "check.h").stat().st_mtime)
        if not target.exists() or target.stat().st_mtime < newest:
            target.parent.mkdir(parents=True, exist_ok=True)
            done = execute([compiler, *CFLAGS, source, "-o", target, *flags])
            if done.status:
                raise Failure("does not compile: " + tail(done.stderr))
    return target


def text(name, content):
    path = DIRECTORY / name
    with once(path):
        if not path.exists() or path.read_text() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    return path


def program(compiler="gcc", name="dynamic", *flags):
    return build(compiler, GUEST / "dynamic.c", DIRECTORY / compiler / name, "-lm", "-ldl", "-pthread", *flags)


def library(compiler, name, content):
    return build(compiler, text(name + ".c", content), DIRECTORY / compiler / (name + ".so"), "-shared", "-fPIC")


def in_root(argv, files=(), env=None, options=()):
    """Runs a program of /app here, below a directory that becomes the root there: all paths are relative to it."""
    with scratch() as here, scratch() as root:
        for directory in [here, root]:
            (pathlib.Path(directory) / "tmp").mkdir()
            for file in files:
                shutil.copy(file, directory)
        place(root, *files)
        command = ["./" + pathlib.Path(argv[0]).name, *argv[1:]]
        env = {"PATH": "/usr/bin:/bin", "HOME": "/", **(env or {})}
        want = execute(command, cwd=here, env=env)
        settings = [word for pair in env.items() for word in ("-e", "=".join(pair))]
        compare(want, knarr("--root", root, *settings, *options, *command))


for kind, compiler, flags in [("glibc", "gcc", []), ("glibc-not-pie", "gcc", ["-no-pie"]), ("glibc-now", "gcc", ["-Wl,-z,now"]),
                              ("musl", "musl-gcc", []), ("musl-not-pie", "musl-gcc", ["-no-pie"])]:

    @test(f"dynamic/{kind}")
    def function(kind=kind, compiler=compiler, flags=flags):
        in_root([program(compiler, "dynamic-" + kind, *flags), "./dl-test.so"], [program(compiler, "dynamic-" + kind, *flags),
                library(compiler, "dl-test", LIBRARY)])

    @test(f"dynamic/{kind}-alone")
    def alone(kind=kind, compiler=compiler, flags=flags):
        path = program(compiler, "dynamic-" + kind, *flags)
        compare(execute([path, "/no/library.so"]), knarr(path, "/no/library.so"))


@test("dynamic/preload")
def preload():
    extra = library("gcc", "preload", PRELOAD)
    in_root([program()], [program(), extra], {"LD_PRELOAD": "./preload.so"}, ["--cpus", "2"])


@test("dynamic/library-path")
def library_path():
    extra = library("gcc", "dl-test", LIBRARY)
    for value in [".", "/nowhere:./"]:
        in_root([program(), "dl-test.so"], [program(), extra], {"LD_LIBRARY_PATH": value})


@test("dynamic/linker-by-itself")
def linker_by_itself():
    """The dynamic linker is a program, too: it loads the one that it is told."""
    linker = "/lib64/ld-linux-x86-64.so.2"
    with scratch() as root:
        path = program("gcc", "plain")
        place(root, path)
        shutil.copy(path, pathlib.Path(root, "plain"))
        for argv in [["--list", "/plain"], ["/plain", "child", "x"], ["/missing"]]:
            got = knarr("--root", root, linker, *argv)
            want = execute([linker, *argv[:-1 if len(argv) < 3 else 0], *argv[-1:]]) if argv[0] == "/missing" else None
            if argv[0] == "--list":
                check(got.status == 0 and b"libm.so.6 => " in got.stdout, f"--list: {got.status} {got.stdout!r} {got.stderr!r}")
            elif want:
                check(got.status == want.status, f"missing: {got.status}")
            else:
                check((got.status, got.stdout) == (3, b"a child: x\n"), f"{got.status} {got.stdout!r} {tail(got.stderr)}")


@test("dynamic/origin")
def origin():
    """A library beside the program, by $ORIGIN: the program changes its place, the library goes with it."""
    with scratch() as directory:
        top = pathlib.Path(directory)
        (top / "lib" / "deep").mkdir(parents=True)
        (top / "bin").mkdir()
        (top / "two.c").write_text("int two(void) { return 2; }\n")
        (top / "one.c").write_text("int two(void);\nint one(void) { return two() - 1; }\n")
        (top / "main.c").write_text('#include <stdio.h>\nint one(void);\nint main(void) { printf("one is %d\\n", one()); return one(); }\n')
        for argv in [["-shared", "-fPIC", "two.c", "-o", "lib/deep/libtwo.so"],
                     ["-shared", "-fPIC", "one.c", "-o", "lib/libone.so", "-Llib/deep", "-ltwo", "-Wl,-rpath,$ORIGIN/deep"],
                     ["main.c", "-o", "bin/main", "-Llib", "-lone", "-Wl,-rpath,${ORIGIN}/../lib", "-Wl,-rpath-link,lib/deep"]]:
            done = execute(["gcc", *argv], cwd=directory)
            check(done.status == 0, tail(done.stderr))
        compare(execute([top / "bin/main"]), knarr(top / "bin/main"))
        (top / "lib/deep/libtwo.so").unlink()
        got = knarr(top / "bin/main")
        lines = got.stderr.decode().splitlines()
        check(got.status == 127 and len(lines) == 1 and "libtwo.so" in lines[0], f"missing library: {got.status} {got.stderr!r}")


def damaged(name, spoil, status):
    @test(f"dynamic/linker-{name}")
    def function():
        with scratch() as root:
            path = program("gcc", "plain")
            place(root, path)
            shutil.copy(path, pathlib.Path(root, "plain"))
            spoil(pathlib.Path(root, "lib64/ld-linux-x86-64.so.2"))
            got = knarr("--root", root, "/plain", "child", "x")
            check(got.status == status, f"status {got.status}: {tail(got.stderr)}")
            lines = got.stderr.decode().splitlines()
            check(len(lines) == 1 and lines[0].startswith("knarr: "), f"not one clear line: {got.stderr!r}")


damaged("missing", lambda path: path.unlink(), 127)
damaged("not-executable", lambda path: path.chmod(0o644), 126)
damaged("empty", lambda path: path.write_bytes(b""), 126)
damaged("text", lambda path: path.write_text("#!/plain\n"), 126)
damaged("cut", lambda path: path.write_bytes(path.read_bytes()[:5000]), 126)
damaged("for-another-machine", lambda path: path.write_bytes(path.read_bytes()[:18] + b"\xb7" + path.read_bytes()[19:]), 126)
damaged("directory", lambda path: (path.unlink(), path.mkdir()), 126)


@test("dynamic/bash")
def bash():
    """Debian's own shell and tools, with the libraries that they are linked to."""
    script = 'echo $((6*7)); for i in a b c; do echo $i; done | sort -r; ls / | head -3; [[ abc =~ b ]] && echo match; printf "%s\\n" "${PATH//:/ }"'
    with scratch() as root:
        (pathlib.Path(root) / "tmp").mkdir()
        place(root, "/bin/bash", "/bin/ls", "/usr/bin/sort", "/usr/bin/head")
        got = knarr("--root", root, "-e", "PATH=/usr/bin:/bin", "/bin/bash", "-c", script)
        check(got.status == 0 and got.stdout == b"42\nc\nb\na\nbin\ndev\netc\nmatch\n/usr/bin /bin\n", f"{got.status} {got.stdout!r} {tail(got.stderr)}")
