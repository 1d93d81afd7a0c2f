"""Roots from directories, archives and images, and what is mounted on them: the guest sees what went in."""
import os
import pathlib
import signal
import subprocess

import image
from harness import KNARR, busybox, check, compare, compiled, execute, knarr, tail, test

# Names, kinds, modes, owners, sizes, links, times, devices; of directories what does not depend on the file system; contents.
LOOK = r"""cd TREE
find . ! -type d -exec stat -c '%n %F %a %u %g %s %h %Y %t,%T' {} + | sort
find . -type d -exec stat -c '%n %a %u %g %Y' {} + | sort
find . -type f -size -20000 -exec sha256sum {} + | sort
find . -type l -exec readlink {} \; | sort
ls -nR . | grep -v ^total | awk '$1 !~ /^d/' | sha256sum
[ ! -e sparse ] || dd if=sparse bs=4096 skip=1048579 count=1 2>/dev/null | sha256sum
"""


def make_tree(work):
    """A root with busybox and, in /tree, everything that is hard. On the host the same is at root/tree."""
    root = pathlib.Path(work, "root")
    (root / "tree").mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "bin/busybox").write_bytes(pathlib.Path(busybox()).read_bytes())
    (root / "bin/busybox").chmod(0o755)
    image.nasty(root / "tree", many=200)
    return root


def look(where):
    return ["sh", "-c", LOOK.replace("TREE", str(where))]


def tar_of(root):
    path = f"{root}.tar"
    done = execute(["tar", "--format=posix", "-S", "-C", root, "-cf", path, "."])
    check(done.status == 0, f"tar: {tail(done.stderr)}")
    return path


def image_of(root):
    done = execute([KNARR, "pack", "-o", f"{root}.erofs", root])
    check(done.status == 0, f"pack: {tail(done.stderr)}")
    return f"{root}.erofs"


def foreign_image_of(root, *options):
    for name in ["d" * 90, "n" * 255, "sparse"]:  # mkfs.erofs 1.5 does not go that deep and long, and is slow with holes
        execute(["rm", "-r", root / "tree" / name])
    os.utime(root / "tree", (1, 1))
    done = execute(["mkfs.erofs", *options, f"{root}.mkfs", root])
    check(done.status == 0, f"mkfs.erofs: {tail(done.stderr)}")
    return f"{root}.mkfs"


def same_test(name, source, *options):
    @test(f"root/same-{name}")
    def function():
        with image.room() as work:
            root = make_tree(work)
            if name == "tar":  # what tar does not keep
                for path in ["tree/socket", "tree/fifo-again"]:
                    (root / path).unlink()
                os.utime(root / "tree", (1, 1))
            packed = source(root)
            want = execute([busybox(), *look(root / "tree")], env={"PATH": "/bin:/usr/bin"})
            got = knarr("-m", "64M", *options, "--root", packed, "/bin/busybox", *look("/tree"))
            compare(want, got, stderr=True)
            check(len(got.stdout) > 20000, f"only {len(got.stdout)} bytes: {tail(got.stderr)}")


same_test("directory", lambda root: root)
same_test("tar", tar_of, "--machine", "q35")
same_test("image", image_of)
same_test("image-q35", image_of, "--machine", "q35", "--cpus", "2")
same_test("mkfs.erofs", foreign_image_of)


@test("root/larger-than-memory")
def larger_than_memory():
    """300 MB in a machine of 32: read once, and again while other pages are needed."""
    with image.room() as work:
        root = pathlib.Path(work, "root")
        (root / "bin").mkdir(parents=True)
        (root / "bin/busybox").write_bytes(pathlib.Path(busybox()).read_bytes())
        (root / "bin/busybox").chmod(0o755)
        for i in range(10):
            (root / f"data{i}").write_bytes(os.urandom(30 << 20))
        script = "cat data* >/dev/null && md5sum data0 data9 && dd if=data5 bs=64k 2>/dev/null | cmp - data5 && echo the same"
        want = execute([busybox(), "sh", "-c", script], cwd=root, env={"PATH": "/bin"})
        got = knarr("-m", "32M", "--root", root, "/bin/busybox", "sh", "-c", script)
        compare(want, got, stderr=True)


@test("root/read-only")
def read_only():
    with image.room() as work:
        root = make_tree(work)
        script = "echo x >/new; echo x >>/tree/size-100; rm /tree/size-100; mkdir /d; chmod 7 /tree; echo ok >/dev/null; echo ok >/run/x; cat /run/x; sha256sum /tree/size-100"
        for source in [root, image_of(root)]:
            got = knarr("--read-only", "--tmpfs", "/run", "--root", source, "/bin/busybox", "sh", "-c", script)
            check(got.stderr.count(b"Read-only file system") == 5, f"{got.stderr!r}")
            want = execute([busybox(), "sha256sum", root / "tree/size-100"]).stdout.split()[0]
            check(got.stdout.split()[:2] == [b"ok", want], f"{got.stdout!r}")
        got = knarr("--read-only", busybox(), "sh", "-c", "echo x >/new; echo x >/tmp/new; mkdir /a/b; echo x >/dev/null && echo ok")
        check(got.stderr.count(b"Read-only file system") == 2 and got.stdout == b"ok\n", f"{got.stderr!r} {got.stdout!r}")


@test("root/tmpfs")
def tmpfs():
    script = "grep ' /[cs]' /proc/mounts; dd if=/dev/zero of=/small/x bs=1M count=3; ls -ld /small /cache/deep; cp /busybox /cache/deep; /cache/deep/busybox true"
    got = knarr("--tmpfs", "/small:size=1m,uid=5", "--tmpfs", "/cache/deep:exec,mode=700", busybox(), "sh", "-c", script)
    text = got.stdout.decode()
    check(b"No space left" in got.stderr, f"a limit that is none: {got.stderr!r}")
    for line in ["tmpfs /small tmpfs rw,nosuid,nodev,noexec", "tmpfs /cache/deep tmpfs rw,nosuid,nodev"]:
        check(line in text, f"no {line} in {text}")
    check("drwxrwxrwt" in text and "drwx------" in text, text)
    check(got.status == 0, f"{got.status} {got.stderr!r}")


@test("root/changes-are-not-kept")
def changes():
    with image.room() as work:
        root = make_tree(work)
        packed = pathlib.Path(image_of(root))
        before = packed.read_bytes()
        got = knarr("--root", packed, "/bin/busybox", "sh", "-c", "echo more >>/tree/size-100; rm -r /tree/many; mv /tree/d* /x; mkdir /y; tail -1 /tree/size-100 | grep -ao more")
        check(got.stdout == b"more\n" and got.status == 0, f"{got.stdout!r} {tail(got.stderr)}")
        check(packed.read_bytes() == before, "the image was changed")


@test("root/program-of-the-host")
def program_of_host():
    """Above an image, too; what it is refused for is said before a machine starts."""
    with image.room() as work:
        packed = image_of(make_tree(work))
        got = knarr("--root", packed, compiled("hello"))
        check(got.stdout == b"Hello, world!\n", f"{got.stdout!r} {got.stderr!r}")
        for program, status, word in [("/tree/size-100", 126, "not executable"), ("/tree", 126, "directory"), ("/tree/link/x", 127, "not found"),
                                      ("/tree/socket", 126, "not a regular file"), ("/no", 127, "not found")]:
            got = knarr("--root", packed, program)
            check(got.status == status and word in got.stderr.decode() and got.stderr.count(b"\n") == 1, f"{program}: {got.status} {got.stderr!r}")


@test("root/images-that-are-none")
def bad_images():
    with image.room() as work:
        root = make_tree(work)
        packed = pathlib.Path(image_of(root))
        data = packed.read_bytes()
        for name, content, word in [("truncated", data[:len(data) // 2], "truncated"),
                                    ("lz4", pathlib.Path(foreign_image_of(root, "-zlz4")).read_bytes(), "compressed"),
                                    ("blocks", data[:1024 + 12] + b"\x10" + data[1024 + 13:], "blocks"),
                                    ("features", data[:1024 + 80] + b"\xf0" + data[1024 + 81:], "features")]:
            pathlib.Path(work, name).write_bytes(content)
            got = knarr("--root", f"{work}/{name}", "/bin/busybox")
            check(got.status == 125 and word in got.stderr.decode() and got.stderr.count(b"\n") == 1, f"{name}: {got.status} {got.stderr!r}")
        damaged = bytearray(data)  # the host's look finds the program, the kernel finds the checksum wrong
        damaged[3000] ^= 1
        pathlib.Path(work, "damaged").write_bytes(damaged)
        got = knarr("--root", f"{work}/damaged", "/bin/busybox", "true")
        check(got.status in (125, 126, 127) and got.stderr.startswith(b"knarr: "), f"{got.status} {got.stderr!r}")


@test("root/nothing-left-behind")
def nothing_left():
    """However knarr ends."""
    with image.room() as work:
        root = make_tree(work)
        (root / "big").write_bytes(os.urandom(20 << 20))
        temporary = pathlib.Path(work, "tmp")
        temporary.mkdir()
        environment = {**os.environ, "TMPDIR": str(temporary)}
        got = execute([KNARR, "run", "--root", root, "/bin/busybox", "echo", "ok"], env=environment)
        check(got.stdout == b"ok\n" and not os.listdir(temporary), f"{got.stdout!r} {os.listdir(temporary)}")
        with subprocess.Popen([KNARR, "run", "--root", root, "/bin/busybox", "sh", "-c", "echo up; sleep 60"], env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
            check(running.stdout.readline() == b"up\n", "it did not start")
            running.send_signal(signal.SIGKILL)
        check(not os.listdir(temporary), f"{os.listdir(temporary)}")


# ---- what is mounted -------------------------------------------------------------------------------------------------

@test("root/words-of-v")
def words():
    """-v is the log unless a volume follows."""
    with image.room() as work:
        pathlib.Path(work, "file").write_text("shared\n")
        for words in [["-v", f"{work}:/data"], ["--volume", f"{work}:/data"], [f"--volume={work}:/data:ro"], ["-v", f"{work}:/data:rw"]]:
            got = knarr(*words, busybox(), "cat", "/data/file")
            check((got.stdout, got.stderr) == (b"shared\n", b""), f"{words}: {got.stdout!r} {got.stderr!r}")
        for words in [["-v"], ["-vv"], ["-v", "-v"], ["--verbose"], ["-v", "-v", f"{work}:/data"]]:
            got = knarr(*words, busybox(), "echo", "ok")
            check(got.stdout == b"ok\n" and b"interrupts" in got.stderr, f"{words}: {got.stdout!r} {got.stderr[:200]!r}")
        new = pathlib.Path(work, "made/for/it")
        got = knarr("-v", f"{new}:/data", busybox(), "touch", "/data/x")
        check((new / "x").exists(), f"no volume was made: {got.stderr!r}")
        got = execute([KNARR, "run", "-v", "./made:/data", busybox(), "ls", "/data"], cwd=work)
        check(got.stdout == b"for\n", f"a relative path: {got.stdout!r} {got.stderr!r}")


@test("root/wrong-words")
def wrong_words():
    with image.room() as work:
        fifo = f"{work}/fifo"
        os.mkfifo(fifo)
        empty, disk = pathlib.Path(work, "empty"), pathlib.Path(work, "disk")
        empty.touch()
        disk.write_bytes(bytes(4096))
        for words, reason in [(["-v", "data:/data"], "by name"), (["--volume", "/data"], "HOST:GUEST"), (["-v", f"{work}:/"], "root itself"),
                              (["-v", f"{work}:/a/../b"], ".."), (["-v", f"{work}:/a:no"], "option"), (["-v", f"{fifo}:/a"], "regular"),
                              (["-v", f"{work}:/a", "--tmpfs", "/a/"], "already"), (["--tmpfs", "x"], "absolute"),
                              (["--tmpfs", "/x:size=many"], "size"), (["--disk", f"{work}/none"], "No such file"), (["--disk", work], "neither"),
                              (["--disk", str(empty)], "empty"), (["--disk", str(disk), "--disk", f"{work}/./disk:/x"], "twice"),
                              (["--machine", "microvm", *(word for i in range(7) for word in ["-v", f"{work}:/v{i}"])], "too many")]:
            got = knarr(*words, "/bin/busybox")
            check(got.status == 125 and reason in got.stderr.decode() and got.stderr.count(b"\n") == 1, f"{words}: {got.status} {got.stderr!r}")
        check(not os.path.exists("/a") and sorted(os.listdir(work)) == ["disk", "empty", "fifo"], "something was made")


@test("root/disk-in-use")
def disk_in_use():
    """A disk that another machine writes to: one line says so."""
    with image.room() as work:
        disk = pathlib.Path(work, "a disk, in use")
        disk.write_bytes(bytes(4096))
        first = subprocess.Popen([KNARR, "run", "--disk", disk, busybox(), "sh", "-c", "echo up; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        check(first.stdout.readline() == b"up\n", "the first machine does not start")
        for option in ["", ":ro"]:
            got = knarr("--disk", f"{disk}{option}", busybox(), "true")
            check(got.status == 125 and got.stderr.decode() == f"knarr: {disk}: in use by another machine\n", f"{got.status} {got.stderr!r}")
        first.communicate()
        check(first.returncode == 0, "the first machine fails")


@test("root/disks-in-order")
def disks():
    """The root's image, then --disk's, on both machines; more than a microvm has room for."""
    with image.room() as work:
        sizes = [3, 5, 7]
        for size in sizes:
            with open(f"{work}/{size}", "wb") as file:
                file.truncate(size << 20)
        packed = image_of(make_tree(work))
        for options in [["--machine", "microvm"], ["--machine", "q35"], [word for i in range(5) for word in ["-v", f"{work}:/v{i}"]]]:
            for size in sizes:
                options += ["--disk", f"{work}/{size}" + (":ro" if size == 5 else "")]
            script = "for d in b c d; do wc -c </dev/vd$d; done; echo x >/dev/vdc; echo x >/dev/vdd; sync"
            got = knarr(*options, "--root", packed, "/bin/busybox", "sh", "-c", script)
            check(got.stdout == b"".join(b"%d\n" % (size << 20) for size in sizes), f"{options}: {got.stdout!r} {got.stderr!r}")
            check([pathlib.Path(work, str(size)).read_bytes()[:2] for size in sizes] == [b"\0\0", b"\0\0", b"x\n"], "what was written")


@test("root/mount-order")
def mount_order():
    """Inner directories lie on outer ones, whatever came first."""
    with image.room() as work:
        for name in ["outer", "inner"]:
            pathlib.Path(work, name).mkdir()
            pathlib.Path(work, name, "which").write_text(name)
        pathlib.Path(work, "one file").write_text("a file")
        got = knarr("-v", f"{work}/inner:/a/b/c", "--tmpfs", "/a/b", "-v", f"{work}/one file:/a/b/with blanks \\ here:ro", "-v", f"{work}/outer:/a",
                    busybox(), "sh", "-c", "cat /a/which /a/b/c/which '/a/b/with blanks \\ here'; ls /a/b; echo no >'/a/b/with blanks \\ here'")
        check(got.stdout == b"outerinnera filec\nwith blanks \\ here\n" and b"Read-only" in got.stderr, f"{got.stdout!r} {got.stderr!r}")
