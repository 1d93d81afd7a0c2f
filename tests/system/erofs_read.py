"""The kernel's reader of EROFS: images that Debian's mkfs.erofs makes of a directory show what the directory has (tests/guest/tree.c,
run here and in the guest); damaged images and failing disks give errors, and the machine lives."""
import os
import pathlib
import random
import socket
import subprocess
import tempfile

import checked
import disks
from harness import BUILD, busybox, check, compare, compiled, execute, knarr, tail, test

TREE = ("tree", "musl")


def room():
    """A directory on a disk: memory has no extended attributes."""
    BUILD.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="erofs-", dir=BUILD)


def attribute(path, name, value):
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError:
        pass  # not here: then the image has none either


def make_tree(directory, small=False):
    """Every file type, sizes around the ends of blocks, a large directory, long names, owners, times, attributes."""
    rand = random.Random(2)
    top = pathlib.Path(directory, "tree")
    for name in ["", "sizes", "many", "deep/a/b/c/d/e/f", "empty"]:
        (top / name).mkdir(parents=True, exist_ok=True)
    for size in [0, 1, 100, 4000, 4032, 4063, 4064, 4065, 4095, 4096, 4097, 8192, 12289, 65536, 300001, *([] if small else [5 << 20])]:
        (top / "sizes" / str(size)).write_bytes(rand.randbytes(size))
    for i in range(100 if small else 1200):
        (top / "many" / f"{'abcdefghijklmnop'[i % 16] * (i % 23 + 1)}-{i}").write_bytes(rand.randbytes(i % 3))
    sparse = top / "sparse"
    sparse.write_bytes(b"at the start")
    with open(sparse, "r+b") as file:
        file.seek(500000)
        file.write(b"in the middle")
        file.truncate(1000000)
    (top / "!first").write_text("before the dots\n")
    (top / ("n" * 250)).write_text("a long name\n")
    (top / "link").symlink_to("sizes/4096")
    (top / "long link").symlink_to("t" * 3000)
    (top / "nowhere").symlink_to("/nowhere/at/all")
    os.link(top / "!first", top / "many" / "hard")
    os.link(top / "!first", top / "hard")
    os.mkfifo(top / "fifo")
    here = os.getcwd()
    os.chdir(top)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("socket")
    os.chdir(here)
    for name, mode, major, minor in [("char", 0o020620, 4, 65), ("block", 0o060600, 259, 70000)]:
        try:
            os.mknod(top / name, mode, os.makedev(major, minor))
        except OSError:
            pass
    (top / "secret").write_text("for nobody\n")
    os.chmod(top / "secret", 0)
    os.chmod(top / "empty", 0o1777)
    for name in ["sizes/100", "sizes/4096", "many"]:
        attribute(top / name, "user.shared", b"the same in all three")
        attribute(top / name, "user.own", name.encode())
    attribute(top / "link", "trusted.link", b"of the link itself")
    attribute(top / "sizes/1", "security.capability", bytes([0, 0, 0, 2, 0, 4, *[0] * 14]))
    try:
        os.chown(top / "sizes/65536", 1000, 70000)
    except OSError:
        pass
    os.utime(top / "sizes/100", ns=(1, 2222222222123456789))
    return top


def make_image(directory, top, name, *options):
    image = pathlib.Path(directory, name)
    done = execute(["mkfs.erofs", "--quiet", *options, image, top])
    check(done.status == 0, f"mkfs.erofs: {tail(done.stdout)} {tail(done.stderr)}")
    return image


def root(directory):
    """A root with the two programs, for boots that only mount."""
    top = pathlib.Path(directory, "root")
    (top / "mnt").mkdir(parents=True)
    for source, name in [(busybox(), "busybox"), (compiled(*TREE), "program")]:
        target = top / name
        target.write_bytes(pathlib.Path(source).read_bytes())
        target.chmod(0o755)
    return top


def boot(directory, script, *options, memory="64M"):
    return knarr("-m", memory, "--root", root(directory), *options, "/busybox", "sh", "-c", script)


def compared(machine, *mkfs, kernel=None, memory="64M", cpus="1"):
    with room() as directory:
        top = make_tree(directory, small=bool(kernel))
        image = make_image(directory, top, "image", *mkfs)
        options = ["--cpus", cpus, *disks.disk(machine, 0, image, drive=",readonly=on"), *(["--kernel", kernel] if kernel else [])]
        got = boot(directory, "mount -t erofs /dev/vda /mnt && /program /mnt && umount /mnt", *options, memory=memory)
        if kernel:
            checked.silent(got)
        compare(execute([compiled(*TREE), top]), got)


@test("erofs/tree/microvm")
def tree_microvm():
    compared("microvm", "--preserve-mtime")


@test("erofs/tree/q35/2cpus")
def tree_q35():
    compared("q35", "--preserve-mtime", "-Eforce-inode-extended,noinline_data", "-x1", cpus="2")


@test("erofs/tree/chunks")
def tree_chunks():
    compared("microvm", "--preserve-mtime", "--chunksize=8192", memory="20M")  # less than the image wants


@test("erofs/tree/checked")
def tree_checked():
    compared("microvm", "--preserve-mtime", kernel=checked.kernel(), memory="128M")


@test("erofs/tree/memory")
def tree_memory():
    """As the root, an image in the initrd, where whole pages are shown in place."""
    with room() as directory:
        top = root(directory)
        data = make_tree(top, small=True)
        got = knarr("-v", "-m", "64M", "--kernel", checked.kernel(), "--root", top, "/program", "/tree")
        checked.silent(got)
        compare(execute([compiled(*TREE), data]), got)


@test("erofs/corrupt")
def corrupt():
    """A few disks in one machine, each with an image damaged in its own way."""
    with room() as directory:
        top = make_tree(directory, small=True)
        good = make_image(directory, top, "image", "-T1").read_bytes()
        options, script = [], ""
        for number in range(8):
            rand, data = random.Random(number), bytearray(good)
            # Metadata are at the start; what is damaged there is noticed more often.
            for _ in range(10 << number):
                data[rand.randrange(1152, min(len(data), 40000 if number % 2 else len(data)))] ^= 1 << rand.randrange(8)
            data[1024 + 8] &= ~1  # no checksum
            path = pathlib.Path(directory, f"bad{number}")
            path.write_bytes(data)
            options += disks.disk("q35", number, path, drive=",readonly=on")
            device = f"/dev/vd{'abcdefgh'[number]}"
            script += f"echo DISK; mount -t erofs {device} /mnt && {{ /program /mnt; umount /mnt; }}; "
        got = boot(directory, script + "echo END", *options)
        check(got.status == 0 and got.stdout.endswith(b"END\n"), f"status {got.status}: {tail(got.stderr)}")
        check(got.stdout.count(b"DISK\n") == 8 and b"EUCLEAN" in got.stdout, "no error at all")
        errors = {line.rsplit(b": ", 1)[1] for line in got.stdout.split(b"\n") if b": read: " in line or b": stat: " in line}
        # A name that is listed may not be found where the order is damaged.
        check(errors <= {b"EIO", b"EUCLEAN", b"Not supported", b"No such file or directory"}, f"errors {errors}")


@test("erofs/refused")
def refused():
    """Features that are not supported, and what is no image."""
    with room() as directory:
        top = make_tree(directory, small=True)
        compressed = make_image(directory, top, "lz4", "-zlz4")
        sums = bytearray(make_image(directory, top, "sums").read_bytes())
        sums[2000] ^= 1
        broken, noise = pathlib.Path(directory, "broken"), pathlib.Path(directory, "noise")
        broken.write_bytes(sums)
        noise.write_bytes(random.Random(1).randbytes(65536))
        options = [word for i, image in enumerate([compressed, broken, noise]) for word in disks.disk("q35", i, image)]
        got = boot(directory, "for i in a b c; do mount -t erofs /dev/vd$i /mnt && echo MOUNTED; done; true", "-v", *options)
        log = got.stderr.decode("utf-8", "replace")
        check(got.status == 0 and got.stdout == b"", f"status {got.status}: {got.stdout!r}")
        for line in ["erofs vda: not mounted: it is compressed", "erofs vdb: not mounted: the checksum", "erofs vdc: not mounted: no EROFS"]:
            check(log.count(line) == 1, f"no line {line!r}: {tail(got.stderr, 20)}")


@test("erofs/failing-disk")
def failing_disk():
    """A disk with bad sectors under one file: that file gives EIO, all else is well."""
    with room() as directory:
        top = pathlib.Path(directory, "tree")
        top.mkdir()
        (top / "bad").write_bytes(b"B" * 40960)
        (top / "good").write_bytes(b"G" * 40960)
        image = make_image(directory, top, "image", "-T1")
        bad = image.read_bytes().index(b"B" * 4096)
        errors = ",".join(f"inject-error.{i}.event=read_aio,inject-error.{i}.iotype=read,inject-error.{i}.errno=5,"
                          f"inject-error.{i}.sector={(bad + i * 8192) // 512}" for i in range(2))
        block = f"driver=raw,node-name=d0,read-only=on,file.driver=blkdebug,file.image.driver=file,file.image.filename={image}," + ",".join(
            f"file.{word}" for word in errors.split(","))
        got = boot(directory, "mount -t erofs /dev/vda /mnt; cat /mnt/good | md5sum; cat /mnt/bad >/dev/null; echo $?; /program /mnt",
                   *disks.disk("microvm", 0, image, block=block))
        expected = subprocess.run(["md5sum"], input=b"G" * 40960, capture_output=True, check=True).stdout.split()[0]
        lines = got.stdout.split(b"\n")
        check(got.status == 0 and lines[0].startswith(expected), f"status {got.status}: {tail(got.stdout)} {tail(got.stderr)}")
        check(lines[1] == b"1" and b"/bad: read: EIO" in got.stdout and b"/good: read" not in got.stdout, tail(got.stdout))
