"""Files larger than memory: read, mapped, written, stored to; memory that the cache has is given back to who needs it; the settings
of write-back; many names."""
import os
import pathlib
import struct

import checked
import containers
from disks import disk
from harness import busybox, check, compiled, execute, knarr, scratch, tail, test

PAGE = 4096


def numbered(directory, mib):
    """A file whose pages begin with their number."""
    path = pathlib.Path(directory, "numbered")
    with open(path, "wb") as f:
        for i in range(mib * 256):
            f.write(struct.pack("<Q", i) + bytes(PAGE - 8))
    return path


def check_numbers(path, mib, stored=False):
    with open(path, "rb") as f:
        for i in range(mib * 256):
            got = struct.unpack("<QQ", f.read(16))
            f.seek(PAGE - 16, 1)
            want = (i, ~(i * PAGE) & 0xffffffffffffffff if stored else 0)
            check(got == want, f"page {i} on the disk: {got}")


def ran(*argv, timeout=120):
    outcome = knarr(*argv, timeout=timeout)
    check(outcome.status == 0, f"status {outcome.status}: {tail(outcome.stdout)} {tail(outcome.stderr)}")
    return outcome.stdout.decode()


def large(memory, mib, cpus=1, kernel=None):
    options = ["-m", f"{memory}M", "--cpus", str(cpus), *(["--kernel", str(kernel)] if kernel else [])]
    program = compiled("pagecache", "glibc")
    with scratch() as directory:
        image = numbered(directory, mib)
        for how, want in [("read", "done"), ("map", "major faults: some\ndone"), ("write", "done"), ("store", "major faults: some\ndone")]:
            got = ran(*options, "--disk", str(image), program, how, "/dev/vda", str(mib)).strip()
            check(got == want, f"{how}: {got}")
            check_numbers(image, mib, how == "store")


@test("pagecache/large")
def larger_than_memory():
    large(20, 80)


@test("pagecache/large/tiny")
def larger_than_tiny_memory():
    large(4, 12)


@test("pagecache/large/checked")
def larger_than_memory_checked():
    large(12, 16, 2, checked.kernel())


SETTINGS = """ratio 20 bytes 0
set bytes: 0 ratio 0 bytes 1048576
too few: 22, 101 percent: 22, drop 9: 22
dirty: within the limit
after fsync: 0 kB dirty
aged: 1, then 0
resident 256
drop: 0, resident 0, cached little
wanted: resident 256, read 1 MiB
not wanted: resident 128
random: resident 2
done
"""


@test("pagecache/settings")
def settings():
    with scratch() as directory:
        image = numbered(directory, 16)
        got = ran("-m", "64M", "--disk", str(image), compiled("pagecache", "glibc"), "settings", "/dev/vda")
        for mine, want in zip(got.splitlines(), SETTINGS.splitlines()):
            check(mine == want, f"{mine}; expected: {want}")
        check(got == SETTINGS, "lines are missing")


@test("pagecache/names")
def names():
    """6,000 files in a machine where their names and inodes do not find room together, nor beside what the program needs then."""
    with scratch() as directory:
        root = pathlib.Path(directory, "root")
        for d in range(40):
            (root / f"d{d}" / "sub").mkdir(parents=True)
            for i in range(150):
                (root / f"d{d}" / "sub" / f"a-file-{i}").write_text("x" * i)
        program = root / "program"
        program.write_bytes(compiled("pagecache", "glibc").read_bytes())
        program.chmod(0o755)
        for options in [["-m", "16M"], ["-m", "16M", "--cpus", "2"]]:
            got = ran(*options, "--root", str(root), "/program", "walk", "/", "9").split("\n")
            check(got[0] == got[1] and int(got[0].split()[0]) > 6000 and got[2] == "memory had", f"{got}")


@test("pagecache/killed")
def killed():
    """Who waits for a page can be killed: readers of a disk of 4 KiB a second, by read, by a mapping, and in the kernel's copy from one."""
    with scratch() as directory:
        slow = disk("microvm", 0, numbered(directory, 8), drive=",throttling.bps-read=4096")
        got = ran(*slow, compiled("pagecache", "glibc"), "killed", "/dev/vda", "8").strip()
        check(got == "6 killed, soon\ndone", got)


def pressure(memory, mib, cpus, kernel=None, seconds=3):
    """Everything that wants memory at once: the cache gives way, and nobody is killed or refused as long as the rest fits."""
    with scratch() as directory:
        root = pathlib.Path(directory, "root")
        (root / "disk").mkdir(parents=True)
        numbered(root, 24).rename(root / "changed")
        numbered(root, 2 * memory)
        for name, program in [("pressure", compiled("pressure", "glibc")), ("busybox", busybox())]:
            (root / name).write_bytes(pathlib.Path(program).read_bytes())
            (root / name).chmod(0o755)
        disk = pathlib.Path(directory, "disk")
        disk.write_bytes(b"")
        os.truncate(disk, 64 << 20)
        env = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
        check(execute(["mke2fs", "-q", "-F", "-t", "ext4", str(disk)], env=env).status == 0, "mke2fs")
        script = f"/busybox mount -t ext4 /dev/vdb /disk && /pressure /numbered /changed /disk {mib} {seconds} && /busybox umount /disk"
        options = ["-m", f"{memory}M", "--cpus", str(cpus), *(["--kernel", str(kernel)] if kernel else [])]
        done = knarr(*options, "--root", str(root), "--disk", str(disk), "/busybox", "sh", "-c", script, timeout=120)
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        check(done.status == 0 and said == "done\n", f"status {done.status}: {said[-1500:]}")
        check(execute(["e2fsck", "-fn", str(disk)], env=env).status == 0, "the disk is damaged")


for count in [1, 2, 4]:
    test(f"pagecache/pressure-{count}cpus")(lambda count=count: pressure(48, 16, count))


@test("pagecache/pressure/checked")
def pressure_checked():
    pressure(64, 16, 2, checked.kernel())


@test("pagecache/walkers")
def walkers():
    """Several read all of an image that is larger than memory, with long argument lists: each reads the same, and no fork or exec is
    refused."""
    with scratch() as directory:
        root = pathlib.Path(directory, "root")
        containers.applets(root)
        for i in range(40):
            (root / "tree" / str(i)).mkdir(parents=True)
            for j in range(60):
                (root / "tree" / str(i) / f"a file whose name is long enough, number {j}").write_bytes(bytes([i + j]) * (9000 + 400 * j))
        script = ("for w in 1 2 3 4; do ( for r in 1; do find /tree -type f -print0 | xargs -0 cat | md5sum; done >/tmp/$w 2>&1 ) & done; wait; "
                  "cat /tmp/[1-4] | sort | uniq -c")
        for cpus in ["1", "4"]:
            got = ran("--root", root, "-m", "28M", "--cpus", cpus, "sh", "-c", script)
            check(len(got.splitlines()) == 1 and got.split()[0] == "4", got)
