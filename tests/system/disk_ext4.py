"""ext4 in the guest: disks made by mkfs.ext4, changed, and looked at by e2fsck and debugfs; machines killed while they write."""
import os
import pathlib
import random
import re
import signal
import subprocess
import time
import zlib

import checked
from disks import disk
from harness import BUILD, KNARR, TOP, busybox, check, compiled, execute, knarr, scratch, tail, test
from volumes import on_both

KINDS = {"ext4": ["-t", "ext4"], "small-blocks": ["-t", "ext4", "-b", "1024"], "large-blocks": ["-t", "ext4", "-b", "4096"],
         "ext3": ["-t", "ext3"], "ext2": ["-t", "ext2"]}
SBIN = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}


def tool(*argv, statuses=(0,)):
    done = execute(argv, env=SBIN)
    check(done.status in statuses, f"{argv[0]}: {done.status}: {tail(done.stdout)} {tail(done.stderr)}")
    return done.stdout


def make(directory, *options, size=32):
    image = pathlib.Path(directory, "disk")
    image.write_bytes(b"")
    os.truncate(image, size << 20)
    tool("mke2fs", "-q", "-F", *(options or KINDS["ext4"]), image)
    return image


def clean(image):
    tool("e2fsck", "-fn", image)


def shell(script, *options):
    done = knarr("-m", "64M", *options, busybox(), "sh", "-c", script)
    check(done.status == 0, f"status {done.status}: {tail(done.stdout)} {tail(done.stderr)}")
    return done.stdout.decode()


SCRIPT = """set -e
mkdir /m; mount -t ext4 /dev/vda /m; cd /m
cp /proc/self/exe program; ln -s program link; ln program hard
mkdir -p d/e; for i in $(seq 1 150); do echo "file $i" >d/e/a-name-that-is-rather-long-$i; done
dd if=/dev/zero of=sparse bs=1k seek=5000 count=1 2>/dev/null
rm d/e/a-name-that-is-rather-long-7; mv d/e/a-name-that-is-rather-long-8 d/moved
chmod 4711 program; chown 1000:70000 d/moved; touch -d '2001-02-03 04:05:06' link
cd /; umount /m; mount -t ext4 -o ro /dev/vda /m
test ! -e /m/d/e/a-name-that-is-rather-long-7; cat /m/d/moved; ls /m/d/e | wc -l; md5sum </m/hard; stat -c '%a %h %s' /m/program
mkdir /m/new 2>/dev/null && echo WRITABLE
umount /m
"""


def both_sides(kind):
    with scratch() as directory:
        image = make(directory, *KINDS[kind])
        tool("debugfs", "-w", "-R", "mkdir from-the-host", image)
        # ext2 has no journal, but it is unmounted well.
        out = shell(SCRIPT.replace("umount /m; mount", "ls /m; umount /m; mount"), *disk("microvm", 0, image))
        check("from-the-host" in out and "file 8\n148\n" in out and "WRITABLE" not in out and "4711 2" in out, out)
        clean(image)
        program = tool("debugfs", "-R", "cat /program", image)
        check(program == pathlib.Path(busybox()).read_bytes(), "the program's contents differ")
        stat = tool("debugfs", "-R", "stat /d/moved", image).decode()
        check("User:  1000" in stat and "70000" in stat, stat)
        tool("debugfs", "-w", "-R", "write /etc/passwd passwd", image)
        out = shell("mkdir /m; mount -t ext4 /dev/vda /m && cat /m/passwd && cat /m/d/e/a-name-that-is-rather-long-9; umount /m", *disk("microvm", 0, image))
        check(out == pathlib.Path("/etc/passwd").read_text() + "file 9\n", out)
        clean(image)


for each in KINDS:
    test(f"disk/ext4/{each}")(lambda kind=each: both_sides(kind))


@test("disk/ext4/option")
def by_option():
    with scratch() as directory:
        image = make(directory).rename(pathlib.Path(directory, "a disk, with=signs"))
        done = knarr("-m", "64M", "--disk", f"{image}:/my data/a\\040b", busybox(), "sh", "-c", "echo kept >'/my data/a\\040b/file'; grep -c ext4 /proc/mounts")
        check(done.status == 0 and done.stdout == b"1\n", f"{done.status} {done.stdout} {tail(done.stderr)}")
        done = knarr("-m", "64M", "--disk", f"{image}:/data:ro", busybox(), "sh", "-c", "cat /data/file; echo x >/data/file || echo refused")
        check(done.status == 0 and done.stdout == b"kept\nrefused\n", f"{done.status} {done.stdout} {tail(done.stderr)}")


@test("disk/ext4/dead")
def dead():
    """A disk that takes no more writes does not keep the machine from its end. The guest's clock runs ahead while it waits."""
    with scratch() as directory:
        image = make(directory)
        block = ("driver=raw,node-name=d0,file.driver=throttle,file.throttle-group=slow,file.file.driver=file,"
                 f"file.file.filename={image}")
        slow = "throttle-group,id=slow,x-bps-write=1,x-bps-write-max=1000000,x-bps-write-max-length=1"
        words = ["-icount", "shift=0,sleep=off", "-object", slow]
        script = "mkdir /m; mount -t ext4 /dev/vda /m && dd if=/dev/zero of=/m/f bs=1M count=4 2>/dev/null && echo written; exit 7"
        done = knarr("--verbose", "-m", "64M", *(word for each in words for word in ["--qemu-arg", each]), *disk("microvm", 0, image, block=block),
                     busybox(), "sh", "-c", script)
        check(done.status == 7 and done.stdout == b"written\n", f"{done.status} {done.stdout} {tail(done.stderr)}")
        check(b"have not taken all changes within 30 seconds" in done.stderr, tail(done.stderr))


# What these programs print does not depend on the file system, where blocks have 4 KiB.
PROGRAMS = ["file_calls", "file_dirs", "file_events", "file_fd", "file_links", "file_locks", "file_names", "file_open", "file_resolve", "file_rw",
            "file_stat", "file_times", "mem_file", "permissions", "splice", "inotify"]


@test("disk/ext4/guest-programs")
def guest_programs():
    """Calls on a disk as on Linux in memory; what differs there, as Linux 6.18 answered on ext4 (ext4-calls.txt)."""
    with scratch() as directory:
        image = make(directory, *KINDS["large-blocks"], size=256)
        last = [("file_limits", ["largest"]), ("file_direct", [])]
        on_both("microvm", "1", [(name, []) for name in PROGRAMS] + last, ["--disk", f"{image}:/data"],
                (TOP / "tests/system/ext4-calls.txt").read_bytes())
        clean(image)


@test("disk/ext4/full")
def full():
    with scratch() as directory:
        image = make(directory, size=16)
        done = knarr("-m", "64M", "--cpus", "2", "--disk", f"{image}:/data", compiled("ext4", "glibc"), "fill", "/data")
        want = b"ENOSPC, nothing left: 1, most of it used: 1\nnot removed: 0, free again: 1\n"
        check(done.status == 0 and done.stdout == want, f"{done.status} {done.stdout} {tail(done.stderr)}")
        tool("e2fsck", "-fp", image, statuses=(0, 1))
        clean(image)


@test("disk/ext4/broken")
def broken():
    """A disk whose writes fail after a while: errors, and a file system that is read-only."""
    with scratch() as directory:
        image = make(directory)
        conf = pathlib.Path(directory, "conf")
        conf.write_text('[inject-error]\nevent = "pwritev"\nerrno = "5"\nonce = "off"\nsector = "20000"\n')
        block = f"driver=raw,node-name=d0,file.driver=blkdebug,file.config={conf},file.image.driver=file,file.image.filename={image}"
        script = ("mkdir /m; mount -t ext4 /dev/vda /m || exit 1; i=0; while [ $i -lt 40 ]; do dd if=/dev/zero of=/m/f$i bs=512k count=1 conv=fsync 2>/dev/null"
                  " || echo FAILED; i=$((i+1)); done; ls /m >/dev/null && echo listed")
        done = knarr("-m", "64M", *disk("microvm", 0, image, block=block), busybox(), "sh", "-c", script)
        check(b"FAILED" in done.stdout and b"listed" in done.stdout, f"{done.status} {tail(done.stdout)} {tail(done.stderr)}")


def expected(output):
    """What must be there: names with size and checksum, or None for those that must not."""
    state = {}
    for line in output.decode().split("\n")[:-1]:
        words = line.split()
        if words[0] == "durable":
            state[words[1]] = (int(words[2]), int(words[3], 16))
        elif words[0] == "gone":
            state[words[1]] = None
        elif words[0] == "change":
            state.pop(words[1], None)
        else:
            check(False, line)
    return state


def kill(machine):
    """Kills QEMU alone: what the guest said before is still on its way through `knarr run`, which then ends by itself."""
    children = pathlib.Path(f"/proc/{machine.pid}/task/{machine.pid}/children").read_text().split()
    check(children, "no QEMU")
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    try:
        return machine.communicate(timeout=20)
    finally:
        if machine.poll() is None:
            os.killpg(machine.pid, signal.SIGKILL)


def killed(image, cpus, seconds, seed, kernel=()):
    """Runs the storm and kills the machine; returns what must be on the disk."""
    argv = [KNARR, "run", "-m", "64M", "--cpus", str(cpus), *kernel, "--disk", f"{image}:/data", compiled("ext4", "glibc"), "storm", "/data", "3", str(seed)]
    with open(str(image) + ".out", "w+b") as out:
        machine = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, start_new_session=True)
        deadline = time.monotonic() + 60
        while os.fstat(out.fileno()).st_size < 2000 and time.monotonic() < deadline and machine.poll() is None:
            time.sleep(0.05)
        time.sleep(seconds)
        check(machine.poll() is None, "the machine ended by itself")
        _, err = kill(machine)
        out.seek(0)
        output = out.read()
    check(len(output) >= 2000, f"nothing was written: {tail(err)}")
    return expected(output[:output.rfind(b"\n") + 1])


def compare(image, state):
    with scratch() as directory:
        tool("debugfs", "-R", f"rdump / {directory}", image)
        for name, want in state.items():
            file = pathlib.Path(directory, name.removeprefix("/data/"))
            if want is None:
                check(not file.exists(), f"{name} is back")
            else:
                check(file.exists(), f"{name} is missing")
                data = file.read_bytes()
                check((len(data), zlib.crc32(data)) == want, f"{name}: {len(data)} bytes, want {want[0]}, or other contents")


def power_cuts(cpus, rounds, kernel=()):
    with scratch() as directory:
        image = make(directory, *KINDS["small-blocks" if rounds % 2 else "ext4"], size=24)
        for each in range(rounds):
            seed = int.from_bytes(os.urandom(3), "big")
            state = killed(image, cpus, random.random() * 1.5, seed, kernel)
            check(state, "nothing was durable")
            if each % 2:  # replayed by e2fsck, or by the next mount
                tool("e2fsck", "-fp", image, statuses=(0, 1))
            else:
                shell("mkdir /m; mount -t ext4 /dev/vda /m && umount /m", *disk("microvm", 0, image))
            clean(image)
            compare(image, state)


@test("disk/ext4/killed")
def killed_alone():
    power_cuts(1, 2)


@test("disk/ext4/killed-cpus")
def killed_cpus():
    power_cuts(3, 3)


@test("disk/ext4/killed-checked")
def killed_checked():
    power_cuts(2, 1, ["--kernel", str(checked.kernel())])


# What e2fsck says of a journal that it replays, of files that were open without a name or were being cut, and its advice on trees of extents
# that lost some (Linux leaves them so, too).
HARMLESS = re.compile(rb"e2fsck |Pass \d|Inode \d+ extent tree \(at level \d\) could be (shorter|narrower)\. |(.*: )?(Clearing|Truncating) orphaned inode|.*: (recovering journal|\d+/\d+ files|\*\*\*\*\* FILE SYSTEM WAS MODIFIED)|$")


def only_replayed(image):
    out = tool("e2fsck", "-fy", image, statuses=(0, 1))
    found = [line for line in out.split(b"\n") if not HARMLESS.match(line)]
    check(not found, f"e2fsck finds more than a journal: {found[:5]}")
    clean(image)


def killed_in_stress(kind, rounds, kernel=()):
    """The machine is killed in the midst of names and files that change on several processors; the disk goes on as it is."""
    with scratch() as directory:
        image = make(directory, *KINDS[kind], size=64)
        for each in range(rounds):
            tool("debugfs", "-w", "-R", f"mkdir {each}", image)
            before = image.read_bytes()
            argv = [KNARR, "run", "-m", "64M", "--cpus", "2", *kernel, "--disk", f"{image}:/data", compiled("fsstress"), "--keep", f"/data/{each}",
                    "1000000", str(random.randrange(1 << 24)), "3"]
            machine = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
            time.sleep(2 + random.random() * 3)
            check(machine.poll() is None, "the machine ended by itself")
            out, err = kill(machine)
            check(b"wrong" not in out and image.read_bytes() != before, f"nothing was written, or wrongly: {tail(out)} {tail(err)}")
            only_replayed(image)


@test("disk/ext4/killed-stress")
def killed_stress():
    killed_in_stress("small-blocks", 2)
