"""`knarr run` in a terminal: a pseudo-terminal here plays the person's."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import containers
import harness
from harness import Failure, busybox, check, compiled, scratch, test


class Terminal:
    """A command in a terminal of its own. `with Terminal([...]) as t: t.expect("$ "); t.type("exit\\r")`"""

    def __init__(self, argv, rows=24, columns=80):
        self.argv, self.size, self.seen = [str(a) for a in argv], (rows, columns), b""

    def __enter__(self):
        self.master, slave = pty.openpty()
        self.resize(*self.size)
        self.child = subprocess.Popen(self.argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                      preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        os.close(self.master)

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def read(self, seconds):
        ready, _, _ = select.select([self.master], [], [], max(seconds, 0))
        try:
            data = os.read(self.master, 65536) if ready else b""
        except OSError:  # the other end is closed
            data = b""
            time.sleep(0.02)
        self.seen += data

    def expect(self, pattern, seconds=30):
        """Waits for a pattern in what is printed, and forgets everything up to its end."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern.encode(), self.seen, re.DOTALL)):
            if time.monotonic() > deadline:
                raise Failure(f"no {pattern!r} in {self.seen[-500:]!r}")
            self.read(0.5)
        before = self.seen[: found.start()]
        self.seen = self.seen[found.end() :]
        return before

    def status(self, seconds=30):
        deadline = time.monotonic() + seconds
        while self.child.poll() is None:
            if time.monotonic() > deadline:
                raise Failure(f"no end; printed {self.seen[-500:]!r}")
            self.read(0.1)
        return self.child.returncode


def shell(*options):
    return Terminal([harness.KNARR, "run", "-e", "PS1=READY ", *options, busybox(), "sh"])


@test("terminal/line-editing")
def line_editing():
    """The guest's terminal echoes, and erases with Backspace, Ctrl-W and Ctrl-U."""
    with Terminal([harness.KNARR, "run", busybox(), "sh", "-c", "read a; echo \"<$a>\"; read b; echo \"<$b>\"; cat"]) as t:
        time.sleep(0.3)
        t.type("hellx\x7fo\r")
        t.expect("hellx")
        t.expect("<hello>\r\n")
        t.type("one two\x17three\x15last words\x17line\r")
        t.expect("<last line>\r\n")
        t.type("through cat\r")
        t.expect("through cat\r\n")
        t.expect("through cat\r\n")
        t.type("\x04")
        check(t.status() == 0, f"status {t.child.returncode}")


@test("terminal/shell")
def interactive_shell():
    with shell() as t:
        t.expect("READY ")
        t.type("tty; test -t 0 && test -t 1 && echo both\r")
        t.expect("/dev/")
        t.expect("both\r\n")
        t.type("sleep 100\r")
        time.sleep(0.5)
        t.type("\x03")  # Ctrl-C ends the sleep, not the shell
        t.expect("READY ")
        t.type("echo $?\r")
        t.expect("130\r\n")
        t.type("exit 7\r")
        check(t.status() == 7, f"status {t.child.returncode}")


@test("terminal/ctrl-c")
def ctrl_c():
    with Terminal([harness.KNARR, "run", busybox(), "sh", "-c", "echo start; while :; do :; done"]) as t:
        t.expect("start")
        t.type("\x03")
        check(t.status() == 130, f"status {t.child.returncode}")


@test("terminal/ctrl-backslash")
def ctrl_backslash():
    with Terminal([harness.KNARR, "run", busybox(), "sleep", "100"]) as t:
        time.sleep(1.5)
        t.type("\x1c")
        check(t.status() == 131, f"status {t.child.returncode}")


@test("terminal/window-size")
def window_size():
    with Terminal([harness.KNARR, "run", "-e", "PS1=READY ", busybox(), "sh"], rows=33, columns=111) as t:
        t.expect("READY ")
        t.type("stty size\r")
        t.expect("33 111\r\n")
        t.type("trap 'echo RESIZED' WINCH\r")
        t.expect("READY ")
        t.resize(44, 99)
        t.child.send_signal(signal.SIGWINCH)
        time.sleep(0.3)
        t.type("\r")
        t.expect("RESIZED")
        t.type("stty size\r")
        t.expect("44 99\r\n")
        t.type("exit\r")
        t.status()


@test("terminal/raw-mode")
def raw_mode():
    with Terminal([harness.KNARR, "run", "-e", "PS1=READY ", busybox(), "sh"], columns=200) as t:
        t.expect("READY ")
        t.type("stty raw -echo; dd bs=1 count=5 2>/dev/null | od -An -tx1; stty sane; echo done\r")
        t.expect("\r\n")
        time.sleep(0.7)
        t.type("a\x03\x7f\r\x04")
        before = t.expect("done")
        check(b"61 03 7f 0d 04" in before, f"{before!r}")
        t.type("exit\r")
        t.status()


@test("terminal/restored")
def restored():
    """The person's terminal is as it was, also when the program is killed."""
    harness.WORK.mkdir(parents=True, exist_ok=True)
    with Terminal(["sh", "-c", 'stty -a >"$2"; "$0" run "$1" sh -c "stty raw -echo; kill -9 \\$\\$"; stty -a >"$3"; echo AFTER',
                   harness.KNARR, busybox(), harness.WORK / "before", harness.WORK / "after"]) as t:
        t.expect("AFTER")
        check((harness.WORK / "before").read_text() == (harness.WORK / "after").read_text(), "the terminal has changed")


@test("terminal/vi")
def vi():
    """busybox vi: writes a file with text typed, changed and deleted."""
    with scratch() as directory:
        with Terminal([harness.KNARR, "run", "-e", "TERM=xterm", "-e", "PS1=READY ", busybox(), "sh"]) as t:
            t.expect("READY ")
            t.type("vi /note\r")
            t.expect("~")
            # A pause after Escape tells it from the start of a key's sequence.
            for keys in ["ifirst line\rsecond line\rthird line\x1b", "ggjdd", "Gofourth\x1b", "ggxP", ":s/first/FIRST/\r"]:
                t.type(keys)
                time.sleep(0.5)
            t.type(":wq\r")
            t.expect("READY ")
            t.type("cat /note; exit 3\r")
            t.expect("exit 3\r\n")
            check(t.status() == 3, f"status {t.child.returncode}")
            t.read(0.1)
            check(b"FIRST line\r\nthird line\r\nfourth\r\n" in t.seen, f"{t.seen!r}")


@test("terminal/not-one")
def not_a_terminal():
    got = harness.knarr(busybox(), "sh", "-c", "test -t 0 || test -t 1 || test -t 2 || echo none; tty; stty")
    check(got.stdout == b"none\nnot a tty\n", f"{got.stdout!r}")
    got = harness.knarr(compiled("tty"))
    harness.compare(harness.linux([compiled("tty")]), got)


def job_control(root, argv, options=()):
    """An interactive shell with jobs: Ctrl-Z, jobs, bg, fg, a background reader, kill %1, a stopped job at the end."""
    with Terminal([harness.KNARR, "run", "--root", root, "-e", "PS1=READY ", "-e", "PATH=/bin", "-e", "ENV=", *options, *argv], columns=200) as t:
        t.expect("READY ")
        t.type("set -b 2>/dev/null; echo $((40 + 2))\r")
        t.expect("42\r\n.*READY ")
        t.type("sleep 100\r")
        time.sleep(0.5)
        t.type("\x1a")
        t.expect("[Ss]topped.*READY ")
        t.type("jobs\r")
        t.expect("\\[1\\] *\\+ *[Ss]topped.*sleep 100.*READY ")
        t.type("bg\r")
        t.expect("READY ")
        t.type("jobs\r")
        t.expect("[Rr]unning.*sleep 100.*READY ")
        t.type("fg\r")
        t.expect("sleep 100")
        time.sleep(0.3)
        t.type("\x03")
        t.expect("READY ")
        t.type("echo status $?\r")
        t.expect("status 130\r\n.*READY ")
        # Who reads from the terminal in the background is stopped.
        t.type("cat &\r")
        t.expect("READY ")
        time.sleep(0.5)
        t.type("\r")
        t.expect("READY ")
        t.type("jobs\r")
        t.expect("[Ss]topped.*cat.*READY ")
        t.type("kill %1; sleep 0.2; kill -CONT %1 2>/dev/null; wait; echo over\r")
        t.expect("\r\nover\r\n|over\r\n")
        t.expect("READY ")
        # A pipeline is one job; another one goes on behind it.
        t.type("sleep 0.2 | cat | sleep 100\r")
        time.sleep(0.6)
        t.type("\x1a")
        t.expect("[Ss]topped.*READY ")
        t.type("kill -KILL %1; wait; echo killed\r")
        t.expect("killed\r\n.*READY ")
        t.type("(sleep 0.3; echo from behind) &\r")
        t.expect("READY ")
        t.expect("from behind", 10)
        t.type("exit 5\r")
        time.sleep(0.2)
        if t.child.poll() is None:
            t.type("exit 5\r")
        check(t.status() == 5, f"status {t.child.returncode}")


def jobs_of(program, argv, options=()):
    with scratch() as root:
        containers.applets(root)
        harness.place(root, program)
        job_control(root, argv, options)


@test("terminal/jobs-busybox")
def jobs_busybox():
    jobs_of(busybox(), ["/bin/busybox", "ash"])


@test("terminal/jobs-bash")
def jobs_bash():
    jobs_of(containers.found("bash"), [containers.found("bash"), "--norc", "--noediting"], ["--cpus", "2"])


@test("terminal/jobs-dash")
def jobs_dash():
    jobs_of(containers.found("dash"), [containers.found("dash"), "-i"])
