"""Volumes: directories and files of the host, seen and changed from both sides (docs/volumes.md)."""
import os
import pathlib
import subprocess
import tempfile
import threading

from harness import BUILD, GUEST, KNARR, TIMEOUT, Failure, busybox, check, compare, compiled, directives, execute, knarr, place, scratch, tail, test, usual_limits

MACHINES = ["microvm", "q35"]
# Of the guest's other programs those that a volume answers as a local file system does (docs/volumes.md has what it does not).
PROGRAMS = ["file_events", "file_fd", "file_links", "file_locks", "file_open", "file_resolve", "file_times", "mem_file", "inotify"]


def disk_scratch():
    """A directory on a real file system: one in memory lacks what QEMU's server wants (extended attributes)."""
    BUILD.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="knarr-test-", dir=BUILD)


def shell(text, *options, stdin=b""):
    return knarr("-m", "64M", *options, busybox(), "sh", "-c", text, stdin=stdin)


def flavour(name):
    return directives(GUEST / f"{name}.c").get("build", "musl").split()[0]


def on_both(machine, cpus, names_and_args, options=(), recorded=b""):
    """Runs programs one after the other in directories of their own: in a volume (or what `options` mount at /data) in one boot, and on
    Linux in memory. `recorded`: what Linux has printed for the last of them elsewhere."""
    with scratch() as root, disk_scratch() as volume, scratch() as plain:
        programs = [(compiled(name, flavour(name)), name, args) for name, args in names_and_args]
        place(root, busybox())
        script = []
        want = b""
        for number, (program, name, args) in enumerate(programs):
            place(root, program)
            for base in [volume, plain]:
                pathlib.Path(base, str(number)).mkdir()
            script.append(f"echo == {name}; mkdir -p /data/{number}; cd /data/{number}; {program} {' '.join(args)}; echo status $?")
            if recorded and f"== {name}\n".encode() in recorded:
                continue
            got = execute([program, *args], cwd=f"{plain}/{number}", env={"PATH": "/bin"}, preexec_fn=usual_limits)
            want += f"== {name}\n".encode() + got.stdout + f"status {got.status}\n".encode()
        on_knarr = knarr("-m", "128M", "--machine", machine, "--cpus", cpus, "--root", root, *(options or ["-v", f"{volume}:/data"]), "-e", "PATH=/bin",
                         busybox(), "sh", "-c", "\n".join(script))
        on_linux = type(on_knarr)(0, want + recorded, b"")
        compare(on_linux, on_knarr)
        return pathlib.Path(volume), {str(n): sorted(os.listdir(f"{volume}/{n}")) for n in range(len(programs))}


for machine in MACHINES:
    def volume_program(machine=machine):
        parts = [["unlinked"], ["appended"], ["mapped"], ["large"], ["names"], ["watched"]]
        on_both(machine, "2" if machine == "q35" else "1", [("volume", part) for part in parts])

    test(f"volumes/files/{machine}")(volume_program)


@test("volumes/guest-programs")
def guest_programs():
    on_both("microvm", "1", [(name, []) for name in PROGRAMS])


@test("volumes/mapped-writes")
def mapped_writes():
    """What a mapping has changed is on the host after msync, and all of it at the end."""
    with disk_scratch() as volume:
        got = knarr("-m", "64M", "-v", f"{volume}:/data", "-w", "/data", compiled("volume"), "mapped")
        check(got.status == 0, tail(got.stderr))
        data = pathlib.Path(volume, "m").read_bytes()
        check(len(data) == 8 * 4096, f"{len(data)} bytes")
        check(data[2 * 4096:2 * 4096 + 10] == b"stowritten"[:3] + b"written", f"{data[8192:8202]!r}")
        check(data[7 * 4096:7 * 4096 + 4] == b"left", "what nobody wrote explicitly is not there")


class Guest:
    """A shell in the guest that is told what to do line by line, while the host does its part in between."""

    def __init__(self, *options):
        self.process = subprocess.Popen([KNARR, "run", "-m", "64M", *options, busybox(), "sh"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.timer = threading.Timer(TIMEOUT, self.process.kill)
        self.timer.start()

    def do(self, text, want=None):
        """Runs a command; its output, and a status other than 0 as `status N`."""
        self.process.stdin.write(f"{{ {text}\n}} 2>&1; s=$?; [ $s = 0 ] || echo status $s; echo ==end\n".encode())
        self.process.stdin.flush()
        lines = []
        while True:
            line = self.process.stdout.readline().decode()
            if not line:
                raise Failure(f"the guest ended in: {text}: {tail(self.process.stderr.read())}")
            if line == "==end\n":
                break
            lines.append(line)
        got = "".join(lines).rstrip("\n")
        if want is not None:
            check(got == want, f"{text}: {got!r}, not {want!r}")
        return got

    def end(self):
        self.process.stdin.close()
        status = self.process.wait()
        self.timer.cancel()
        self.process.stdout.close()
        error = self.process.stderr.read()
        self.process.stderr.close()
        check(status == 0, f"status {status}: {tail(error)}")


@test("volumes/both-sides")
def both_sides():
    """Each side sees at once what the other one does."""
    with disk_scratch() as volume, disk_scratch() as second:
        top = pathlib.Path(volume)
        (top / "f").write_text("first\n")
        (top / "d").mkdir()
        (top / "d" / "x").write_text("x\n")
        guest = Guest("-v", f"{volume}:/data", "-v", f"{second}:/second:ro")
        guest.do("cat /data/f", "first")
        (top / "f").write_text("second, longer\n") # while the guest knows it
        guest.do("cat /data/f; wc -c </data/f", "second, longer\n15")
        guest.do("exec 3</data/f; head -c 6 <&3; echo", "second")
        (top / "f").write_text("THIRD\n")
        guest.do("cat /data/f", "THIRD")
        os.rename(top / "f", top / "g")
        guest.do("cat /data/f", "cat: can't open '/data/f': No such file or directory\nstatus 1")
        guest.do("cat /data/g", "THIRD")
        (top / "new").write_text("made by the host\n") # a name that the guest had looked for
        guest.do("cat /data/nothing 2>/dev/null || echo none", "none")
        (top / "nothing").write_text("now\n")
        guest.do("cat /data/nothing /data/new", "now\nmade by the host")
        (top / "d" / "x").unlink()
        (top / "d").rmdir()
        guest.do("ls /data/d 2>/dev/null || echo gone", "gone")
        (top / "d").write_text("a file where a directory was\n")
        guest.do("cat /data/d", "a file where a directory was")
        os.chmod(top / "g", 0o600)
        guest.do("stat -c %a /data/g", "600")
        # An open file outlives what the host does with its name.
        guest.do("exec 4<>/data/g; rm /data/new")
        check(not (top / "new").exists(), "removed in the guest, and there")
        (top / "g").unlink()
        guest.do("cat <&4; echo more >&4; ls /data", "THIRD\nd\nnothing")
        guest.do("exec 4<&-")
        # A log that the host moves away, writes to, and makes anew.
        (top / "log").write_text("one\n")
        guest.do("exec 5</data/log; read line <&5; echo $line", "one")
        os.rename(top / "log", top / "log.1")
        (top / "log").write_text("of another file\n")
        os.chmod(top / "log", 0o640)
        with open(top / "log.1", "a", encoding="ascii") as file:
            file.write("two\n")
        guest.do("chmod 600 /proc/self/fd/5; cat <&5; exec 5<&-; stat -c %a /data/log", "two\n640")
        (top / "log").unlink()
        (top / "log.1").unlink()
        # What the guest does.
        guest.do("mkdir -p /data/a/b; echo text >/data/a/b/c; ln -s b/c /data/a/link; ln /data/a/b/c /data/a/hard; touch -d '2001-02-03 00:00:00' /data/a")
        check((top / "a" / "b" / "c").read_text() == "text\n", "contents")
        check(os.readlink(top / "a" / "link") == "b/c" and (top / "a" / "link").read_text() == "text\n", "symlink")
        check((top / "a" / "hard").stat().st_nlink == 2, "links")
        check(int((top / "a").stat().st_mtime) == 981158400, f"time {(top / 'a').stat().st_mtime}")
        guest.do("echo more >>/data/a/hard")
        with open(top / "a" / "b" / "c", "a", encoding="ascii") as file:
            file.write("host\n")
        guest.do("echo last >>/data/a/hard; cat /data/a/b/c", "text\nmore\nhost\nlast")
        guest.do("mv /data/a/b/c /data/c; rm -r /data/a; mv /data/c /data/d")
        check((top / "d").read_text() == "text\nmore\nhost\nlast\n" and not (top / "a").exists(), "moved and removed")
        # Two volumes, one of which cannot be written.
        guest.do("(echo x >/second/y) 2>/dev/null || echo refused", "refused")
        pathlib.Path(second, "z").write_text("z\n")
        guest.do("cat /second/z; mv /data/d /second/d 2>/dev/null || echo refused", "z\nrefused")
        guest.end()


@test("volumes/one-file")
def one_file():
    """A single file of the host in the place of one of the guest's, read-only or not."""
    with disk_scratch() as directory:
        config, log = pathlib.Path(directory, "x, a:conf"), pathlib.Path(directory, "log")
        config.write_text("setting\n")
        log.write_text("")
        guest = Guest("-v", f"{config}:/etc/x.conf:ro", "-v", f"{log}:/var/log/x")
        guest.do("cat /etc/x.conf; (echo y >/etc/x.conf) 2>/dev/null || echo refused", "setting\nrefused")
        guest.do("echo line >>/var/log/x; ls /etc/x.conf /var/log; rm /var/log/x 2>/dev/null || echo busy", "/etc/x.conf\n\n/var/log:\nx\nbusy")
        check(log.read_text() == "line\n", "written")
        config.write_text("other\n")
        guest.do("cat /etc/x.conf", "other")
        replacement = pathlib.Path(directory, "editor")
        replacement.write_text("replaced\n")
        os.rename(replacement, config)
        guest.do("cat /etc/x.conf", "replaced")
        guest.end()


@test("volumes/owners")
def owners():
    """Who makes something in the guest owns it: on the host when knarr is root's, in the guest alone with :mapped."""
    want = [("file", 1234, 4321, 0o100640), ("dir", 1234, 4321, 0o40750), ("sym", 1234, 4321, 0o120777), ("dir/below", 77, 88, 0o100600)]
    for option in ["", ":mapped"]:
        if not option and os.geteuid():
            continue # the server may not set owners
        with disk_scratch() as volume:
            got = knarr("-m", "64M", "-v", f"{volume}:/data{option}", "-w", "/data", compiled("volume"), "owned")
            check(got.status == 0 and b"NO" not in got.stdout and got.stdout.count(b"-1 EPERM") == 1, f"{got.stdout!r} {tail(got.stderr)}")
            for name, uid, gid, mode in want:
                there = os.lstat(f"{volume}/{name}")
                if not option:
                    check((there.st_uid, there.st_gid, there.st_mode) == (uid, gid, mode), f"{name}: {there}")
                else:
                    check(there.st_uid == os.geteuid(), f"{name}: {there}")


@test("volumes/exec")
def programs():
    """Programs on a volume: a root of its own under chroot, dynamic and static."""
    with disk_scratch() as volume:
        program = pathlib.Path("/bin/cat")
        place(volume, busybox(), program)
        got = shell(f"chroot /data {busybox()} echo static; echo text >/data/t; chroot /data {program} /t", "-v", f"{volume}:/data")
        check((got.status, got.stdout) == (0, b"static\ntext\n"), f"{got.status} {got.stdout!r} {tail(got.stderr)}")


@test("volumes/replaced")
def replaced():
    """A program is run again and again while the host puts others in its place."""
    with disk_scratch() as volume:
        text = pathlib.Path(busybox()).read_bytes()
        new, name, end = pathlib.Path(volume, "new"), pathlib.Path(volume, "true"), threading.Event()

        def replace():
            while True:
                new.write_bytes(text)
                new.chmod(0o755)
                os.rename(new, name)
                if end.wait(0.01):
                    return

        thread = threading.Thread(target=replace)
        thread.start()
        try:
            got = shell("while [ ! -e /data/true ]; do :; done; i=0; while [ $i -lt 60 ]; do /data/true || echo status $?; i=$((i + 1)); done; echo done",
                        "--cpus", "2", "-v", f"{volume}:/data")
        finally:
            end.set()
            thread.join()
        check((got.status, got.stdout) == (0, b"done\n"), f"{got.status} {got.stdout!r} {tail(got.stderr)}")


@test("volumes/many")
def many():
    """A directory of ten thousand names, made on the host; many small files made in the guest."""
    with disk_scratch() as volume:
        for number in range(10000):
            os.close(os.open(f"{volume}/entry-{number:05}", os.O_CREAT | os.O_WRONLY))
        program = compiled("volume")
        want = execute([program, "list", "10000"], cwd=volume).stdout
        with scratch() as root:
            place(root, program, busybox())
            script = (f"cd /data; {program} list 10000; mkdir objects; for i in 0 1 2 3; do mkdir objects/$i; for j in 0 1 2 3 4 5 6 7 8 9; do "
                      "echo $i $j >objects/$i/t.$j; mv objects/$i/t.$j objects/$i/$j; done; done; cat objects/*/* | md5sum")
            got = knarr("-m", "64M", "--root", root, "-v", f"{volume}:/data", "-e", "PATH=/bin", busybox(), "sh", "-c", script)
        check(got.status == 0 and got.stdout.startswith(want), f"{got.stdout!r}, not {want!r} {tail(got.stderr)}")
        check(len(list(pathlib.Path(volume, "objects").glob("*/*"))) == 40, "files")


@test("volumes/absent")
def absent():
    """mount(2) says what Linux says."""
    with disk_scratch() as volume:
        text = ("mkdir /m; for o in msize=100 trans=tcp version=9p2000.u; do mount -t 9p vol0 /m -o $o 2>&1; done; "
                "mount -t 9p none /m 2>&1; mount -t 9p vol0 /m 2>&1; umount /data && mount -t 9p vol0 /m -o trans=virtio,version=9p2000.L,msize=8192 && "
                "echo x >/m/x && cat /m/x; head -c 100000 /dev/zero >/m/z; wc -c </m/z")
        got = shell(text, "-v", f"{volume}:/data")
        lines = got.stdout.decode().split("\n")
        want = ["Invalid argument", "Invalid argument", "Invalid argument", "No such file or directory", "Device or resource busy"]
        for line, error in zip(lines, want):
            check(error in line, f"{line!r}, not {error!r}")
        check(lines[5:] == ["x", "100000", ""], f"{lines[5:]!r} {tail(got.stderr)}")
