"""Programs beside the first one: frames of sessions, spoken by the test itself (docs/boot-protocol.md)."""
import pathlib

from guestwire import Machine, initrd, member, members, records, trailer
from harness import busybox, check, test

B = "/bin/busybox"


def machine(script="/bin/busybox sleep 60", **kwargs):
    files = [("bin/busybox", 0o755, pathlib.Path(busybox()).read_bytes()), ("plain", 0o644, b"no program"),
             *[(f"bin/{name}", 0o120777, b"busybox") for name in ["tty", "stty", "stat", "sleep"]]]
    return Machine(initrd(records(arg=[B, "sh", "-c", "echo up; " + script], stdin="stream", stdout="stream", stderr="stream"), files), **kwargs)


def begun(m):
    m.until(lambda: b"up\n" in m.main.output, "the program")
    return m


def program(*argv, **more):
    return records(arg=list(argv), env=["PATH=/bin"], stdin="stream", stdout="stream", stderr="stream", **more)


@test("session/ends")
def ends():
    """Exit status, death by signal, what cannot be started; the records in pieces; numbers are free again afterwards."""
    with machine() as m:
        begun(m)
        for config, want, pieces in [(program(B, "true"), (0, 0), 1), (program(B, "sh", "-c", "exit 7"), (0, 7), 5), (program(B, "false"), (0, 1), 1),
                                     (program(B, "sh", "-c", "kill -9 $$"), (1, 9), 1), (program("/nothing"), (2, 127), 1),
                                     (program("nothing"), (2, 127), 1), (program("/plain"), (2, 126), 1), (b"", (2, 125), 1),
                                     (program(B, "true", user="x"), (2, 125), 1), (b"nonsense\0", (2, 125), 1)]:
            s = m.open(7, config, pieces=pieces)
            s.finish()
            check(s.exit == want and len(s.messages) == (want[0] == 2), f"{config}: {s.exit}, not {want}; {s.messages}")


@test("session/bytes")
def flow():
    """Input and output much larger than the windows, several sessions at once, each with its own."""
    with machine(cpus=2) as m:
        begun(m)
        data = bytes(range(256)) * 4096
        all_of_them = [m.open(n, program(B, "cat"), window=3000 * n, input=data) for n in [1, 2, 255]]
        s = m.open(9, program(B, "sh", "-c", "echo out; echo err >&2; id -u; pwd; echo $PPID", user="12:34", cwd="/x/y"))
        status, out, err = s.finish()
        check((status, out, err) == (0, b"out\n12\n/x/y\n0\n", b"err\n"), f"{status} {out} {err}")
        for s in all_of_them:
            status, out, err = s.finish()
            check(status == 0 and out == data, f"session {s.number}: {status}, {len(out)} bytes")


@test("session/signals-and-end")
def signals():
    """K goes to its session; the end of the machine's program is the end of all."""
    with machine("read line; exit 5") as m:
        begun(m)
        s, other = [m.open(n, program(B, "sh", "-c", "echo here; sleep 60")) for n in [3, 4]]
        m.until(lambda: s.output and other.output)
        s.signal(15)
        check(s.finish()[0] == 128 + 15 and other.exit is None, f"{s.exit} {other.exit}")
        m.send("I", 99, b"nobody")  # of no session: ignored
        m.send("K", 98, b"\x09")
        m.main.write(b"go\n", end=True)
        check(m.finish()[0] == 5, f"{m.main.exit}")


@test("session/terminal")
def terminal():
    """A terminal of its own: echo, size, the interrupt key, and its owner."""
    with machine() as m:
        begun(m)
        config = records(arg=[B, "sh", "-c", "tty; stty size; stat -c %u $(tty); trap 'echo caught; stty size; exit 4' INT; read x; echo got $x; while :; do sleep 0.1; done"],
                         env=["PATH=/bin"], user="5:6", stdin="tty", stdout="tty", stderr="tty", winsize="33x77")
        s = m.open(1, config, end=False)
        m.until(lambda: b"\n5\r\n" in s.output and s.window)
        s.write(b"word\n")
        m.until(lambda: b"got word" in s.output)
        m.send("S", 1, b"\x0a\0\x14\0")
        s.write(b"\x03")
        status, out, _ = s.finish()
        text = out.decode().replace("\r", "")
        check(status == 4 and text.startswith("/dev/pts/0\n33 77\n5\n") and "word\ngot word\n" in text and "caught\n10 20\n" in text, f"{status} {text!r}")


def copy_in(m, archive, directory="/in", **kwargs):
    s = m.open(20, records(copy_in=directory), input=archive, **kwargs)
    return s.finish()[0], s.messages


def copy_out(m, path, window=1 << 16):
    s = m.open(21, records(copy_out=path), window=window)
    status, out, _ = s.finish()
    return status, out, s.messages


@test("session/copy")
def copies():
    """A tree goes in and comes out again as it was; links, modes, owners, times, odd names, many names, empty and large files."""
    with machine() as m:
        begun(m)
        check(m.open(3, program(B, "mkdir", "/in")).finish()[0] == 0, "mkdir")
        large = bytes(range(251)) * 5000
        tree = [("top", 0o040755, b"", {}), ("top/empty", 0o100600, b"", {}), ("top/large", 0o104711, large, {"uid": 12, "gid": 34}),
                ("top/link", 0o120777, b"/no/where", {}), ("top/dir", 0o041777, b"", {"gid": 5}), ("top/dir/ odd\n\\name*", 0o100444, b"x\0y", {}),
                ("top/fifo", 0o010640, b"", {}), ("top/null", 0o020666, b"", {"rdev": (1, 3)}), ("top/" + "n" * 255, 0o100644, b"long", {}),
                *[(f"top/dir/file-{i:060}", 0o100644, b"%d" % i, {}) for i in range(150)]]
        archive = b"".join(member(name, mode, data, mtime=1000000000 + i, **more) for i, (name, mode, data, more) in enumerate(tree)) + trailer()
        for turn in range(2):  # the second time in place of what is there
            check(copy_in(m, archive) == (0, []), "in")
            status, out, messages = copy_out(m, "/in/top/" if turn else "/in/top", window=5000)
            check(status == 0 and not messages, f"out: {status} {messages}")
            got = {name: (fields, data) for name, fields, data in members(out)}
            check(set(got) == {name for name, *_ in tree}, f"names: {set(got) ^ {name for name, *_ in tree}}")
            for i, (name, mode, data, more) in enumerate(tree):
                fields, content = got[name]
                check((fields["mode"], content, fields["uid"], fields["gid"]) == (mode, data, more.get("uid", 0), more.get("gid", 0)), f"{name}: {fields}")
                check((fields["rdev_major"], fields["rdev_minor"]) == more.get("rdev", (0, 0)), f"{name}: {fields}")
                check(mode >> 12 == 4 or fields["mtime"] == 1000000000 + i, f"the time of {name}: {fields['mtime']}")
        status, out, _ = copy_out(m, "/in/top/empty")
        check(status == 0 and [name for name, *_ in members(out)] == ["empty"], "a file alone")
        status, out, _ = copy_out(m, "/in/top/link")
        check(status == 0 and [(name, data) for name, _, data in members(out)] == [("link", b"/no/where")], "a link alone")


@test("session/copy-refused")
def copies_refused():
    """Archives that are damaged or lead out of the directory, places that there are not: a reason and 125, and nothing outside."""
    with machine() as m:
        begun(m)
        check(m.open(3, program(B, "mkdir", "-p", "/in/dir")).finish()[0] == 0, "mkdir")
        good = member("good", 0o100644, b"good")
        for what, archive in {"nothing": b"", "no trailer": good, "no header": b"x" * 200, "cut": good[:-2], "a long size": member("a", 0o100644, b"12345678")[:-4],
                              "digits": b"070701" + b"zz" * 52 + b"a\0", "parent": member("../out", 0o100644, b"x") + trailer(),
                              "parent within": member("dir/../../out", 0o100644, b"x") + trailer(), "absolute": member("/out", 0o100644, b"x") + trailer(),
                              "empty name": member("", 0o100644, b"x") + trailer(), "NUL": member(b"a\0b", 0o100644, b"x") + trailer(),
                              "long name": member("n" * 5000, 0o100644, b"x") + trailer(), "a directory in the way": member("dir", 0o100644, b"x") + trailer(),
                              "no such parent": member("no/file", 0o100644, b"x") + trailer(), "a type": member("a", 0o000644) + trailer(),
                              "a socket": member("a", 0o140644) + trailer(), "an empty link": member("a", 0o120777) + trailer()}.items():
            status, messages = copy_in(m, archive)
            check(status == 125 and len(messages) == 1, f"{what}: {status} {messages}")
        check(copy_in(m, good + trailer(), "/nothing")[0] == 125 and copy_in(m, good + trailer(), "/plain")[0] == 125, "no directory")
        check(copy_in(m, good + trailer() + b"what follows" * 10000) == (0, []), "what follows it")
        for path in ["/nothing", "", "/plain/x", "/in/" + "x" * 5000]:
            status, out, messages = copy_out(m, path)
            check(status == 125 and len(messages) == 1, f"{path[:20]}: {status} {messages}")
        for config in [records(copy_in="/in", copy_out="/in"), records(copy_out="/in", arg="x", exec=B), records(copy_out="/in", stdout="tty")]:
            check(m.open(22, config).finish()[0] == 125, f"{config}")
        check(m.open(4, program(B, "test", "-e", "/out")).finish()[0] == 1, "something outside")
        status, out, _ = m.open(5, program(B, "cat", "/in/good")).finish()
        check((status, out) == (0, b"good"), "it works still")
