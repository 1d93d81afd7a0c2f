"""Core dumps: when there is one, what it is called, and that gdb finds everything in it."""
import base64
import pathlib
import re
import shutil

from harness import BUILD, busybox, check, compiled, execute, knarr, place, scratch, tail, test

EXPECTED = """\
plain: signal 11 core 1: [core mode 600 user 0 full] |
SIGQUIT: signal 3 core 1: [core mode 600 user 0 full] |
SIGABRT: signal 6 core 1: [core mode 600 user 0 full] |
SIGTERM: signal 15 core 0: |
SIGKILL: signal 9 core 0: |
limit 0: signal 11 core 0: |
limit 4095: signal 11 core 0: |
limit 16384: signal 11 core 1: [core mode 600 user 0 small] |
not dumpable: signal 11 core 0: |
other user: signal 11 core 0: |
other user, dumpable: signal 11 core 1: [core mode 600 user 1000 full] |
no permission: signal 11 core 0: |
pattern: signal 6 core 1: [c.prog.6.0.%. mode 600 user 0 full] |
place: signal 11 core 1: | [named-!prog mode 600 user 0 full]
pid: signal 11 core 1: [withpid.PID mode 600 user 0 full] |
pipe: signal 11 core 0: |
symbolic link: signal 11 core 0: [core mode 777 user 0 link] |
hard links: signal 11 core 0: [another mode 600 user 0 empty] [core mode 600 user 0 empty] |
readable by others: signal 11 core 0: [core mode 644 user 0 empty] |
an old one: signal 11 core 1: [core mode 600 user 0 full] |
only headers: signal 11 core 1: [core mode 600 user 0 small] |
safe: signal 11 core 1: | [safe mode 600 user 0 full]
not safe: signal 11 core 0: |
"""


def root(directory, program):
    top = pathlib.Path(directory)
    (top / "bin").mkdir()
    (top / "tmp").mkdir()
    (top / "tmp").chmod(0o1777)
    shutil.copy(busybox(), top / "bin/busybox")
    shutil.copy(program, top / "prog")
    return directory


for cpus in ["1", "2"]:

    @test(f"cores/table-{cpus}cpus")
    def table(cpus=cpus):
        with scratch() as directory:
            got = knarr("--cpus", cpus, "--root", root(directory, compiled("cores")), "/prog", "table")
            text = re.sub(r"withpid\.\d+", "withpid.PID", got.stdout.decode())
            check(text == EXPECTED, "\n" + "\n".join(f"{a}\n  expected {b}" for a, b in zip(text.split("\n"), EXPECTED.split("\n")) if a != b))


@test("cores/race")
def race():
    """Threads that come and go, start programs and end the process while others crash: on several CPUs nothing hangs."""
    with scratch() as directory:
        for cpus in ["1", "4"]:
            got = knarr("--cpus", cpus, "--root", root(directory, compiled("cores")) if cpus == "1" else directory, "/prog", "race")
            check(got.stdout == b"no round was lost\n", f"{cpus} CPUs: {got.status} {got.stdout!r} {tail(got.stderr)}")


def dump(program, directory, *options):
    """The core file of the program, fetched through its standard output, and gdb's answers about it."""
    got = knarr(*options, "--root", directory, "/prog")
    first, _, rest = got.stdout.partition(b"\n")
    check(first == b"signal 11 core 1", f"{first!r} {tail(got.stderr)}")
    core = pathlib.Path(directory, "core")
    core.write_bytes(base64.b64decode(rest))
    commands = ["set debuginfod enabled off", "set auto-load off", f"set sysroot {directory}", "thread apply all bt", "print marker", "print (char*)memory+500000", "print forgotten",
                "print $_siginfo.si_signo", "print $_siginfo._sifields._sigfault.si_addr", "print $mxcsr", "info auxv", "info threads"]
    asked = execute(["gdb", "-batch", "-nx", *[word for c in commands for word in ("-ex", c)], program, core])
    return asked.stdout.decode() + asked.stderr.decode()


def in_order(text, *words):
    at = 0
    for word in words:
        at = text.find(word, at)
        check(at >= 0, f"gdb does not say {word!r}: {text}")


for flavour, options in [("musl", []), ("glibc-pie", ["--cpus", "2"])]:

    @test(f"cores/gdb-{flavour}")
    def gdb(flavour=flavour, options=options):
        program = compiled("cores", flavour)
        with scratch() as directory:
            said = dump(program, root(directory, program), *options)
            in_order(said, "terminated with signal SIGSEGV")
            in_order(said, "in third (", "in second (n=", "in first ()", "in crash_with_threads ()")
            # musl's pause() cannot be unwound.
            check(said.count("in waiter (" if flavour != "musl" else "in pause ()\n#2") == 2 and said.count("spinner (") >= 1, said)
            in_order(said, "= 12345", '"a text in memory"', "= 11", "(void *) 0x0", "IM", "AT_PHDR")
            check("a secret" not in said, "memory of MADV_DONTDUMP is in the core")


@test("cores/gdb-dynamic")
def gdb_dynamic():
    """The libraries are found by the names in the core."""
    program = BUILD / "guest" / "dynamic" / "cores"
    source = pathlib.Path(__file__).parents[1] / "guest/cores.c"
    program.parent.mkdir(parents=True, exist_ok=True)
    done = execute(["gcc", "-O2", "-g", "-pthread", f"-I{source.parents[2]}", source, "-o", program])
    check(done.status == 0, tail(done.stderr))
    with scratch() as directory:
        root(directory, program)
        place(directory, program)
        said = dump(program, directory)
        in_order(said, "in third (", "in second (n=", "in first ()", "in crash_with_threads ()")
        in_order(said, "= 12345", '"a text in memory"')
        check(said.count("in waiter (") == 2, said)
