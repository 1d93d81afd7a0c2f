"""What a booted disk needs of the kernel: users, roots by the name of their partition and on the host, GRUB, machines without knarr."""
import os
import pathlib
import struct
import subprocess
import threading
import zlib

import image
from guestwire import KERNEL, Machine, initrd, records, run
from harness import busybox, check, execute, tail, test

SH = ["/bin/busybox", "sh", "-c"]


def with_busybox(*more):
    return [("bin/busybox", 0o755, pathlib.Path(busybox()).read_bytes()), *more]


# ---- users -----------------------------------------------------------------------------------------------------------

WHO = r"""B=/bin/busybox; $B grep -E '^(Uid|Gid|Groups|Cap(Inh|Prm|Eff|Amb)):' /proc/self/status
$B pwd; $B stat -c '%u:%g %a' .
for f in stdout stderr; do echo again-$f > /dev/$f || echo no $f; done
read line < /proc/self/fd/0; echo "got $line"
echo x > /by-root/new && echo wrote
$B id -u"""


def who(user, kinds="stream", **kwargs):
    config = records(arg=SH + [WHO],
                     env=["PATH=/bin"], cwd="/made/for", user=user, stdin=kinds, stdout=kinds, stderr=kinds)
    files = with_busybox(("by-root", 0o40755, b""), ("dev", 0o40755, b""))
    with Machine(initrd(config, files), **kwargs) as m:
        m.main.write(b"line\n", end=kinds == "stream")
        return m.finish()


@test("user/plain")
def user_plain():
    """Like docker: no capabilities, a directory of one's own, and the standard streams can be opened again."""
    status, out, err = who("1000:100:7,5,100")
    text = out.decode()
    check(status == 0, f"status {status}: {text} {err}")
    for line in ["Uid:\t1000\t1000\t1000\t1000", "Gid:\t100\t100\t100\t100", "Groups:\t5 7 100 ", "CapInh:\t0000000000000000",
                 "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000", "/made/for", "1000:100 755",
                 "again-stdout", "got line", "1000"]:
        check(line in text.split("\n"), f"no line {line!r} in {text!r}")
    check("wrote" not in text and b"again-stderr" in err, f"{text!r} {err!r}")


@test("user/terminal")
def user_terminal():
    status, out, _ = who("1000:100", "tty")
    text = out.decode().replace("\r", "")
    check(status == 0 and "again-stdout\n" in text and "again-stderr\n" in text and "got line\n" in text, text)


@test("user/root")
def user_root():
    """Root keeps what it has, whatever its groups."""
    status, out, err = who("0:0:0,4")
    text = out.decode()
    check(status == 0 and "wrote\n" in text and "Groups:\t0 4 \n" in text and "CapEff:\t0000000000000000" not in text, f"{text!r} {err!r}")


@test("user/nonsense")
def user_nonsense():
    for user in ["", "1", "1:", ":1", "1:1:x", "4294967295:1", "-1:1", "1:1:1,,2"]:
        status, _, _, messages = run(records(arg=SH + ["true"], user=user), with_busybox(), memory="32M")
        check(status == 125 and len(messages) == 1 and "user" in messages[0], f"{user!r}: {status} {messages}")


# ---- roots -----------------------------------------------------------------------------------------------------------

def gpt_disk(path, partitions):
    """partitions: (name, size in MiB, bytes or None); each begins at a MiB, the last 1 MiB is the other table's."""
    sectors = (2 + sum(size for _, size, _ in partitions)) * 2048
    table, at = b"", 2048
    with open(path, "wb") as disk:
        disk.truncate(sectors * 512)
        for number, (name, size, data) in enumerate(partitions):
            table += struct.pack("<16s16sQQQ72s", b"\xaf=\xc6\x0f\x83\x84rG\x8ey=i\xd8G}\xe4", bytes([number + 1] * 16), at,
                                 at + size * 2048 - 1, 0, name.encode("utf-16-le"))
            disk.seek(at * 512)
            disk.write(data or b"")
            at += size * 2048
        table = table.ljust(128 * 128, b"\0")
        disk.seek(446)
        disk.write(struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xee, b"\xff" * 3, 1, sectors - 1))
        disk.seek(510)
        disk.write(b"\x55\xaa")
        for here, other, where in [(1, sectors - 1, 2), (sectors - 1, 1, sectors - 33)]:
            fields = [b"EFI PART", 0x10000, 92, 0, 0, here, other, 34, sectors - 34, b"d" * 16, where, 128, 128, zlib.crc32(table)]
            fields[3] = zlib.crc32(struct.pack("<8sIIIIQQQQ16sQIII", *fields))
            disk.seek(here * 512)
            disk.write(struct.pack("<8sIIIIQQQQ16sQIII", *fields))
            disk.seek(where * 512)
            disk.write(table)


def drive(path, number=0, kind="virtio-blk-device"):
    return ["-drive", f"if=none,id=d{number},format=raw,readonly=on,file={path}", "-device", f"{kind},drive=d{number}"]


def tree(work):
    root = pathlib.Path(work, "root")
    (root / "bin").mkdir(parents=True)
    (root / "bin/busybox").write_bytes(pathlib.Path(busybox()).read_bytes())
    (root / "bin/busybox").chmod(0o755)
    return root


def erofs_of(root):
    image.packed(f"{root}.erofs", root)
    return pathlib.Path(f"{root}.erofs").read_bytes()


@test("root/partlabel")
def partlabel():
    """The first partition of the name, on whichever disk; a clear error when there is none."""
    with image.room() as work:
        root = tree(work)
        (root / "which").write_text("the one\n")
        data = erofs_of(root)
        one, two = f"{work}/one.img", f"{work}/two.img"
        gpt_disk(one, [("knarr-boot", 1, None), ("knarr-root-2", 1, None)])
        gpt_disk(two, [("other", 1, None), ("knarr-root", 4, data), ("knarr-root", 1, None)])
        config = dict(arg=["/bin/busybox", "cat", "/which", "/proc/mounts"])
        for machine, kind in [("microvm", "virtio-blk-device"), ("q35", "virtio-blk-pci")]:
            status, out, _, messages = run(records(root="erofs PARTLABEL=knarr-root", stdout="stream", **config), machine=machine,
                                           devices=drive(one, 0, kind) + drive(two, 1, kind))
            check(status == 0 and out.startswith(b"the one\n"), f"{machine}: {status} {out[:100]} {messages}")
        for name in ["knarr", "knarr-root-", ""]:
            status, _, _, messages = run(records(root=f"erofs PARTLABEL={name}", **config), devices=drive(one) + drive(two, 1))
            check(status == 125 and len(messages) == 1 and "no disk has a partition of that name" in messages[0], f"{status} {messages}")


@test("root/host-directory")
def host_directory():
    """The root is a directory of the host: what the guest writes is there afterwards, and it stays mounted as any root."""
    with image.room() as work:
        root = tree(work)
        (root / "old").write_text("old\n")
        config = records(arg=SH + [r"""B=/bin/busybox; $B cat /old; echo new > /new; $B mkdir /dir; $B mv /old /dir/moved; $B ln -s x /link
echo t > /tmp/t; $B stat -c '%n %a' /tmp /dev /proc /sys; $B ls /dev/null /proc/self/status /sys/class | $B head -3
$B grep -E ' / ' /proc/mounts; $B cp /bin/busybox /dir; /dir/busybox echo ran"""], root="9p host", stdin="null", stdout="stream", stderr="stream")
        p9 = ["-fsdev", f"local,id=f0,path={root},security_model=none", "-device", "virtio-9p-device,fsdev=f0,mount_tag=host"]
        for turn in [1, 2]:
            status, out, err, messages = run(config, devices=p9)
            text = out.decode()
            check(status == 0, f"{status} {text} {err} {messages}")
            check("ran\n" in text and "/tmp 1777\n/dev 755\n/proc 555\n/sys 555\n" in text and " / 9p " in text, f"{text!r} {err!r}")
            if turn == 1:
                check(text.startswith("old\n") and err == b"", f"{text!r} {err!r}")
                check((root / "new").read_text() == "new\n" and (root / "dir/moved").read_text() == "old\n", "not on the host")
                check(os.readlink(root / "link") == "x" and (root / "tmp/t").exists() and (root / "dev").is_dir(), "not on the host")
        status, _, _, messages = run(records(arg=["/x"], root="9p nobody"), devices=p9)
        check(status == 125 and len(messages) == 1 and "9p nobody" in messages[0], f"{status} {messages}")


# ---- GRUB ------------------------------------------------------------------------------------------------------------

GRUB = pathlib.Path("/usr/lib/grub")
MODULES = ["part_msdos", "part_gpt", "fat", "multiboot2", "search", "search_fs_file", "normal"]


def grub(target, output, config, more):
    done = execute(["grub-mkimage", "-O", target, "-o", output, "-c", config, "-p", "/boot/grub", *MODULES, *more])
    check(done.status == 0, f"grub-mkimage: {tail(done.stderr)}")


def boot_disk(work, words, config, kernel=KERNEL, files=()):
    """A disk that BIOS and UEFI boot: GRUB behind the MBR, and a FAT partition with kernel and initrd."""
    work = pathlib.Path(work)
    disk, fat = work / "disk.img", work / "fat.img"
    (work / "grub.cfg").write_text(f"search --no-floppy --file /knarr/knarr.elf --set=root\nmultiboot2 /knarr/knarr.elf {words}\n"
                                   "module2 /knarr/config.cpio\nboot\n")
    (work / "config.cpio").write_bytes(initrd(config, files))
    grub("i386-pc", work / "core.img", work / "grub.cfg", ["biosdisk"])
    grub("x86_64-efi", work / "boot.efi", work / "grub.cfg", [])
    with open(fat, "wb") as file:
        file.truncate(40 << 20)
    for command in [["mformat", "-F", "-i", fat, "::"], ["mmd", "-i", fat, "::/EFI", "::/EFI/BOOT", "::/knarr"],
                    ["mcopy", "-i", fat, work / "boot.efi", "::/EFI/BOOT/BOOTX64.EFI"], ["mcopy", "-i", fat, kernel, "::/knarr/knarr.elf"],
                    ["mcopy", "-i", fat, work / "config.cpio", "::/knarr/config.cpio"]]:
        done = execute(command)
        check(done.status == 0, f"{command[0]}: {tail(done.stderr)}")
    mbr = bytearray((GRUB / "i386-pc/boot.img").read_bytes()[:440].ljust(512, b"\0"))
    struct.pack_into("<B3sB3sII", mbr, 446, 0x80, b"\0\2\0", 0xef, b"\xff" * 3, 2048, 40 << 11)
    mbr[510:] = b"\x55\xaa"
    data = bytes(mbr) + (work / "core.img").read_bytes()
    check(len(data) <= 1 << 20, "GRUB is too large")
    disk.write_bytes(data.ljust(1 << 20, b"\0") + fat.read_bytes())
    return disk


def firmware(work, name):
    """QEMU's options for a firmware: "bios", or "uefi" with variables of its own."""
    if name == "bios":
        return []
    ovmf = pathlib.Path("/usr/share/OVMF")
    (pathlib.Path(work) / "vars.fd").write_bytes((ovmf / "OVMF_VARS_4M.fd").read_bytes())
    return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={ovmf}/OVMF_CODE_4M.fd",
            "-drive", f"if=pflash,unit=1,format=raw,file={work}/vars.fd"]


def grub_test(name, machine, memory, cpus=1):
    @test(f"grub/{name}-{machine}-{memory}")
    def function():
        """The kernel starts by Multiboot2, sees its words, its initrd and all the memory, and finds the devices."""
        with image.room() as work:
            config = records(arg=SH + ["echo started $(/bin/busybox nproc) $(/bin/busybox awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)"],
                             env=["PATH=/bin"], stdin="null", stdout="stream", stderr="stream")
            disk = boot_disk(work, "console=framed loglevel=info", config, files=with_busybox(("sbin/large", 0o644, b"x" * (3 << 20))))
            with Machine(None, machine, memory, cpus, devices=firmware(work, name) + drive(disk, 0, "virtio-blk-pci,bootindex=0")) as m:
                status, out, err = m.finish()
                check(status == 0 and out.startswith(b"started %d " % cpus), f"{status} {out} {err} {m.main.messages}")
                size, all_of_it = int(out.split()[2]), int(memory[:-1]) * (1024 if memory[-1] == "G" else 1)
                check(0.85 * all_of_it < size <= all_of_it, f"{size} MiB of {memory}")
                log = m.log()
                check("unknown word" not in log and "panic" not in log, log[-600:])


grub_test("bios", "q35", "128M")
grub_test("bios", "pc", "5G", 2)
grub_test("uefi", "q35", "3G", 2)


# ---- without knarr ---------------------------------------------------------------------------------------------------

def plain_test(name, machine, firm):
    @test(f"plain/{name}")
    def function():
        """No framed console: the serial port is the terminal, and the machine switches itself off (QEMU may reboot here)."""
        with image.room() as work:
            config = records(arg=SH + ["echo question; read line; echo answer $line; exit 3"], env=["PATH=/bin"])
            disk = boot_disk(work, "", config, files=with_busybox())
            command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-M", machine, "-accel", "tcg",
                       "-cpu", "max", "-m", "128M", "-serial", "stdio", *firmware(work, firm), *drive(disk, 0, "virtio-blk-pci,bootindex=0")]
            text = b""
            with subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as qemu:
                timer = threading.Timer(60, qemu.kill)
                timer.start()
                while b"question" not in text and (piece := os.read(qemu.stdout.fileno(), 4096)):
                    text += piece
                qemu.stdin.write(b"42\r")
                qemu.stdin.flush()
                text += qemu.stdout.read()
                timer.cancel()
            text = text.decode(errors="replace").replace("\r", "")
            check("question\n" in text and "answer 42\n" in text and qemu.returncode == 0, f"{qemu.returncode} {text[-500:]}")
            check("the program ended with status 3" in text, text[-500:])


plain_test("serial-q35", "q35", "bios")
plain_test("serial-pc", "pc", "bios")
