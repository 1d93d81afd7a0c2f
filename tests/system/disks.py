"""Block devices under /dev/vd*: virtio disks on both machines, with several queues and sector sizes, partitions, disks that fail.
What tests/guest/disk.c prints for the calls is compared with disk-calls.txt, which is what Linux 6.1 printed in the same QEMU."""
import hashlib
import os
import pathlib
import random
import struct
import uuid
import zlib

import checked
from harness import TOP, busybox, check, compiled, knarr, scratch, tail, test


def disk(machine, number, file, device="", drive="", block=""):
    """The options for knarr that add a disk; `device`, `drive`: more of QEMU's properties."""
    kind = "virtio-blk-pci" if machine == "q35" else "virtio-blk-device"
    words = ["-blockdev", block] if block else ["-drive", f"if=none,id=d{number},format=raw,file={file}{drive}"]
    words += ["-device", f"{kind},drive=d{number}{device}"]
    return ["--machine", machine, *(word for each in words for word in ["--qemu-arg", each])]


def make(directory, name, size, seed=1):
    path = pathlib.Path(directory, name)
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def ran(outcome):
    check(outcome.status == 0, f"status {outcome.status}: {tail(outcome.stdout)} {tail(outcome.stderr)}")
    return outcome.stdout.decode()


def shell(script, *options):
    return ran(knarr("-m", "64M", *options, busybox(), "sh", "-c", script))


@test("disks/calls")
def calls():
    with scratch() as directory:
        image, other = make(directory, "a", 1050112), make(directory, "b", 1 << 20)
        options = disk("q35", 0, image) + disk("q35", 1, other, drive=",readonly=on")
        program = compiled("disk", "glibc")
        got = ran(knarr(*options, program, "calls", "/dev/vda")) + "RO\n" + ran(knarr(*options, program, "readonly", "/dev/vdb"))
        want = (TOP / "tests/system/disk-calls.txt").read_text()
        for mine, linux in zip(got.split("\n"), want.split("\n")):
            check(mine == linux, f"{mine}; Linux: {linux}")
        check(got == want, "lines are missing")


def random_io(machine, cpus, device="", kernel=None, rounds=300):
    with scratch() as directory:
        image = make(directory, "a", 8 << 20)
        seed = int.from_bytes(os.urandom(3), "big")
        options = ["-m", "64M", "--cpus", str(cpus), *disk(machine, 0, image, device), *(["--kernel", str(kernel)] if kernel else [])]
        got = ran(knarr(*options, compiled("disk", "glibc"), "random", "/dev/vda", "4", str(rounds), str(seed))).strip()
        check(got == f"{zlib.crc32(image.read_bytes()):08x}", f"seed {seed}: {got}")


@test("disks/random/microvm")
def random_microvm():
    random_io("microvm", 1)


@test("disks/random/microvm/2cpus")
def random_microvm_queues():
    random_io("microvm", 2, ",num-queues=4,logical_block_size=4096,physical_block_size=4096")


@test("disks/random/q35/2cpus")
def random_q35_queues():
    random_io("q35", 2, ",num-queues=4")


@test("disks/random/small-queue")
def random_small():
    random_io("q35", 2, ",num-queues=2,queue-size=4,seg-max-adjust=off,indirect_desc=off,event_idx=off")


@test("disks/random/checked")
def random_checked():
    random_io("microvm", 2, ",num-queues=2", checked.kernel(), 100)


@test("disks/several")
def several():
    """Each disk under its name, whatever its place and sector size; nothing is read that is not asked for."""
    for machine in ["microvm", "q35"]:
        with scratch() as directory:
            images = [make(directory, f"d{i}", (3 << 20) + i * 4096, i) for i in range(5)]
            options = []
            for i, image in enumerate(images):
                options += disk(machine, i, image, f",serial=number{i}" + (",logical_block_size=4096,physical_block_size=4096" if i == 3 else ""),
                                ",readonly=on" if i == 2 else "")
            script = ("cd /dev; for d in vda vdb vdc vdd vde; do busybox sha256sum $d; done; busybox cat /proc/partitions;"
                      "busybox dd if=vdc of=vdb bs=64k count=16 2>/dev/null; busybox dd if=vda of=vdd oflag=direct bs=64k count=16 2>/dev/null;"
                      "busybox dd if=vda of=vdc count=1 2>&1 | busybox grep -o 'Operation not permitted'; busybox sync")
            got = shell("busybox() { /busybox \"$@\"; }; " + script, *options).split("\n")
            before = [hashlib.sha256(random.Random(i).randbytes((3 << 20) + i * 4096)).hexdigest() for i in range(5)]
            names = [line.split() for line in got[:5]]
            order = [name for _, name in names] if [d for d, _ in names] == before else None
            check(order, f"{machine}: the disks are {[before.index(d) if d in before else d for d, _ in names]}")
            check(got[7].split() == ["254", "0", "3072", "vda"] and got[11].split() == ["254", "64", "3088", "vde"], str(got[5:12]))
            check(got[12] == "Operation not permitted", str(got[12:]))
            data = [image.read_bytes() for image in images]
            check(data[1][:1 << 20] == data[2][:1 << 20] and data[3][:1 << 20] == data[0][:1 << 20], f"{machine}: copies differ")


def gpt(sectors, parts):
    """A protective MBR, the header and the table, for the disk's beginning; and for its end."""
    table = b""
    for first, last in parts:
        table += uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4").bytes_le + uuid.uuid4().bytes + struct.pack("<QQQ", first, last, 0) + bytes(72)
    table += bytes(128 * 128 - len(table))

    def header(mine, other, entries):
        def pack(crc):
            return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, mine, other, 34, sectors - 34, bytes(16), entries,
                               128, 128, zlib.crc32(table))
        return pack(zlib.crc32(pack(0))) + bytes(420)

    mbr = bytes(446) + struct.pack("<B3sB3sII", 0, b"", 0xEE, b"", 1, sectors - 1) + bytes(48) + b"\x55\xaa"
    return mbr + header(1, sectors - 1, 2) + table, table + header(sectors - 1, 1, sectors - 33)


@test("disks/partitions")
def partitions():
    with scratch() as directory:
        sectors = 8192
        image, damaged, old = (make(directory, name, sectors * 512) for name in "abc")
        start, end = gpt(sectors, [(2048, 4095), (4096, 6143)])
        for file, first in [(image, start), (damaged, start[:600] + b"?" + start[601:])]:  # the second has its backup
            data = bytearray(file.read_bytes())
            data[:len(first)], data[-len(end):] = first, end
            file.write_bytes(data)
        data = bytearray(old.read_bytes())
        entries = [(0x83, 64, 1000), (0x05, 2048, 4096), (0, 0, 0), (0x83, 1064, 100)]
        data[:512] = bytes(446) + b"".join(struct.pack("<B3sB3sII", 0, b"", t, b"", s, n) for t, s, n in entries) + b"\x55\xaa"
        data[2048 * 512:2049 * 512] = bytes(446) + struct.pack("<B3sB3sII", 0, b"", 0x83, b"", 10, 500) + bytes(48) + b"\x55\xaa"
        old.write_bytes(data)
        script = "cat /proc/partitions; cd /dev; for d in vd??; do sha256sum $d; done; echo changed | dd of=/dev/vda2 conv=fsync 2>/dev/null"
        got = shell(f"for a in cat sha256sum dd; do alias $a=\"/busybox $a\"; done\n{script}", *disk("microvm", 0, image),
                    *disk("microvm", 1, damaged), *disk("microvm", 2, old)).split("\n")
        rows = [line.split()[2:] for line in got if line.startswith(" 254")]
        want = {"vda": 4096, "vda1": 1024, "vda2": 1024, "vdb": 4096, "vdb1": 1024, "vdb2": 1024, "vdc": 4096, "vdc1": 500, "vdc4": 50, "vdc5": 250}
        check(sorted((name, int(blocks)) for blocks, name in rows) == sorted(want.items()), str(rows))
        content = {"vda1": (image, 2048, 2048), "vda2": (image, 4096, 2048), "vdb2": (damaged, 4096, 2048), "vdc4": (old, 1064, 100), "vdc5": (old, 2058, 500)}
        sums = {line.split()[1]: line.split()[0] for line in got if len(line) > 64}
        after = image.read_bytes()
        check(after[4096 * 512:4096 * 512 + 8] == b"changed\n", "vda2 was not written")
        for name, (file, first, count) in content.items():
            if name != "vda2":
                digest = hashlib.sha256(file.read_bytes()[first * 512:(first + count) * 512]).hexdigest()
                check(sums.get(name) == digest, f"{name} has not its own contents")


@test("disks/errors")
def errors():
    """A sector that cannot be read fails its page and no other; a write that fails is told by fsync, once."""
    with scratch() as directory:
        image = make(directory, "a", 1 << 20)
        rules = [("read", 5, 203), ("write", 28, 400)]
        block = f"driver=blkdebug,node-name=d0,image.driver=file,image.filename={image}" + "".join(
            f",inject-error.{i}.event=none,inject-error.{i}.iotype={kind},inject-error.{i}.errno={errno},inject-error.{i}.sector={sector}"
            for i, (kind, errno, sector) in enumerate(rules))
        for cpus in ["1", "2"]:
            got = ran(knarr("--cpus", cpus, *disk("microvm", 0, None, ",werror=report,num-queues=2", block=block), compiled("disk", "glibc"), "bad",
                            "/dev/vda", "102400", "204800")).split("\n")
            answers = [line.rsplit(" = ")[1] for line in got if " = " in line]
            want = ["-1 EIO", "4096", "4096", "4096", "32768", "-1 EIO", "4096", "4096", "0", "0", "4096", "0", "4096", "4096", "0",
                    "4096", "4096", "4096", "8192", "65536", "4096", "4096", "4096", "-1 EIO", "0", "4096", "0", "-1 EIO", "4096", "0"]
            check(answers == want, "\n".join(got))
