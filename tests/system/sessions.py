"""Programs beside the first one: frames of sessions, spoken by the test itself (docs/boot-protocol.md)."""
import pathlib

from guestwire import Machine, initrd, records
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
        config = records(arg=[B, "sh", "-c", "tty; stty size; stat -c %u $(tty); trap 'echo caught; stty size; exit 4' INT; read x; echo got $x; read x"],
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
