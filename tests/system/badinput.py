"""Files that are no programs, programs that are broken or hostile, archives that are corrupt, memory that runs out."""
import pathlib
import struct

import harness
from harness import busybox, check, compiled, knarr, scratch, test


def hello():
    return bytearray(pathlib.Path(compiled("hello")).read_bytes())


def refused(name, make, status=126):
    """The file is refused with the status and one line, and the machine does not hang or die."""

    @test(f"bad/{name}")
    def function():
        with scratch() as directory:
            path = pathlib.Path(directory, "program")
            path.write_bytes(bytes(make()))
            path.chmod(0o755)
            # By itself, where the host program may see what it is, and inside of a root, where only the kernel can.
            for argv in [[path], ["--root", directory, "/program"]]:
                got = knarr("-m", "64M", *argv)
                check(got.status == status, f"status {got.status}, not {status}: {harness.tail(got.stderr)}")
                check(got.stdout == b"", f"stdout {got.stdout!r}")
                lines = got.stderr.decode().rstrip("\n").split("\n")
                check(len(lines) == 1 and lines[0].startswith("knarr: "), f"not one clear line: {got.stderr!r}")


def patched(*changes):
    """The hello program with (offset, format, value) written over it."""

    def make():
        data = hello()
        for offset, form, value in changes:
            struct.pack_into("<" + form, data, offset, value)
        return data

    return make


def segments_patched(field, form, value, kind=1):
    """Each program header of a kind with one field changed."""

    def make():
        data = hello()
        offset, = struct.unpack_from("<Q", data, 32)
        count, = struct.unpack_from("<H", data, 56)
        for at in range(offset, offset + 56 * count, 56):
            if struct.unpack_from("<I", data, at)[0] == kind:
                struct.pack_into("<" + form, data, at + field, value)
        return data

    return make


def elf32(machine):
    header = b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, 0x8048054, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    return header + struct.pack("<IIIIIIII", 1, 0, 0x8048000, 0x8048000, 96, 96, 5, 4096) + b"\xb8\x01\0\0\0\xcd\x80\0\0\0\0\0"


refused("empty-file", lambda: b"")
refused("one-byte", lambda: b"\x7f")
refused("magic-only", lambda: b"\x7fELF")
refused("text", lambda: b"just some text\n")
refused("zeros", lambda: bytes(4096))
refused("i386-elf", lambda: elf32(3))
refused("arm-elf", lambda: elf32(40))
refused("x32-elf", lambda: elf32(62))
refused("aarch64-elf", patched((18, "H", 183)))
refused("big-endian", patched((5, "B", 2)))
refused("relocatable", patched((16, "H", 1)))
refused("core-file", patched((16, "H", 4)))
refused("truncated-header", lambda: hello()[:40])
refused("truncated-segments", lambda: hello()[:64 + 56])
refused("no-segments", patched((56, "H", 0)))
refused("many-segments", patched((56, "H", 65535)))
refused("small-segment-headers", patched((54, "H", 8)))
refused("headers-outside", patched((32, "Q", 1 << 40)))
refused("headers-wrap", patched((32, "Q", (1 << 64) - 8)))
refused("entry-zero-segments-kernel", segments_patched(16, "Q", 0xFFFFFFFF80000000))
refused("address-noncanonical", segments_patched(16, "Q", 0x8000000000000000))
refused("address-wraps", segments_patched(16, "Q", 0xFFFFFFFFFFFFF000))
refused("size-huge", segments_patched(40, "Q", (1 << 64) - 4096))
refused("size-47-bits", segments_patched(40, "Q", 1 << 47))
refused("file-part-larger-than-memory", segments_patched(32, "Q", 1 << 40))
refused("offset-misaligned", segments_patched(8, "Q", 0x123))
refused("interpreter-missing", lambda: with_interpreter(b"/no/such/ld.so\0"), 127)
refused("script-without-interpreter", lambda: b"#!\n")
refused("script-interpreter-missing", lambda: b"#!/no/such/shell\necho hello\n", 127)


def with_interpreter(name):
    """A dynamic program made of the static one: its PT_GNU_STACK header becomes PT_INTERP."""
    data = hello()
    offset, = struct.unpack_from("<Q", data, 32)
    count, = struct.unpack_from("<H", data, 56)
    for at in range(offset, offset + 56 * count, 56):
        if struct.unpack_from("<I", data, at)[0] == 0x6474E551:
            struct.pack_into("<IIQQQQQQ", data, at, 3, 4, len(data), 0, 0, len(name), len(name), 1)
            return data + name
    raise harness.Failure("the program has no PT_GNU_STACK")


def survives(name, make):
    """Not refused, but the program cannot work: it must end by a signal, and Knarr not with it."""

    @test(f"bad/{name}")
    def function():
        with scratch() as directory:
            path = pathlib.Path(directory, "program")
            path.write_bytes(bytes(make()))
            path.chmod(0o755)
            got = knarr("-m", "64M", path)
            check(got.status > 128 or got.status == 126, f"status {got.status}: {harness.tail(got.stderr)}")


survives("truncated-text", lambda: hello()[:len(hello()) // 2])
survives("entry-nowhere", patched((24, "Q", 0x700000000000)))
survives("entry-in-kernel", patched((24, "Q", 0xFFFFFFFF80001000)))
survives("entry-noncanonical", patched((24, "Q", 0x8000000000000000)))
survives("segments-not-executable", segments_patched(4, "I", 4))
survives("segments-without-rights", segments_patched(4, "I", 0))


@test("bad/directory")
def directory():
    with scratch() as path:
        got = knarr(path)
        check(got.status == 126, f"status {got.status}: {harness.tail(got.stderr)}")
        got = knarr("--root", path, "/")
        check(got.status == 126, f"status {got.status}: {harness.tail(got.stderr)}")


def corrupt_root(name, make):
    @test(f"bad/root-{name}")
    def function():
        with scratch() as directory:
            path = pathlib.Path(directory, "root.cpio")
            path.write_bytes(make())
            got = knarr("-m", "64M", "--root", path, compiled("hello"))
            check(got.status == 125, f"status {got.status}: {got.stdout!r} {harness.tail(got.stderr)}")
            lines = got.stderr.decode().rstrip("\n").split("\n")
            check(len(lines) == 1 and lines[0].startswith("knarr: "), f"not one clear line: {got.stderr!r}")


def member(name, data, size=None, mode=0o100644):
    fields = [1, mode, 0, 0, 1, 0, len(data) if size is None else size, 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % f for f in fields) + name + b"\0"
    head += bytes(-len(head) % 4)
    return head + data + bytes(-len(data) % 4)


corrupt_root("cut-off", lambda: member(b"file", b"x" * 1000)[:500])
corrupt_root("size-too-large", lambda: member(b"file", b"x" * 100, 0x7FFFFFFF))
corrupt_root("not-an-archive", lambda: b"no archive at all " * 100)
corrupt_root("bad-number", lambda: member(b"file", b"x").replace(b"070701000", b"070701zzz"))


@test("bad/raw-initrd")
def raw_initrd():
    """What the host program would not let through, given straight to the kernel: it must say so and not hang."""
    for data in [member(b"file", b"x" * 1000)[:300], member(b"file", b"x" * 100, 0xFFFFFFFF), b"\0" * 100000, b"070701" * 2000,
                 member(b"n" * 100000, b""), member(b"../../escape", b"x") + member(b"a/" * 2000, b"")]:
        with scratch() as directory:
            path = pathlib.Path(directory, "initrd")
            path.write_bytes(data)
            dry = knarr("--dry-run", "-m", "64M", compiled("hello")).stdout.decode()
            got = run_with_initrd(dry, path)
            check(got.status != 124, "the machine hangs")


def run_with_initrd(command, initrd):
    """The command that --dry-run printed, with another initrd and with plain consoles."""
    kernel = harness.BUILD / "knarr.elf"
    return harness.execute(["timeout", "20", "qemu-system-x86_64", "-M", "microvm,acpi=off", "-cpu", "max", "-accel", "tcg", "-m", "64M",
                            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-kernel", kernel, "-initrd", initrd,
                            "-append", "loglevel=info", "-serial", "stdio"])


@test("bad/memory-eaten")
def memory_eaten():
    """A program that takes all memory is killed, and a report says why."""
    for argument in ["touch", "file"]:
        got = knarr("-m", "32M", compiled("hog"), argument)
        check(got.status == (137 if argument == "touch" else 0), f"{argument}: status {got.status}: {harness.tail(got.stderr)}")
        check(got.stdout == b"start\n" if argument == "touch" else b"ENOSPC" in got.stdout or b"ENOMEM" in got.stdout, f"{got.stdout!r}")
        if argument == "touch":
            check(b"memory" in got.stderr, f"no report: {got.stderr!r}")


@test("bad/memory-threads")
def memory_threads():
    """Threads without end: the limit is an error of clone, not a hang or a crash."""
    got = knarr("-m", "32M", compiled("hog"), "threads")
    check(got.status in (0, 137), f"status {got.status}: {harness.tail(got.stderr)}")


@test("bad/memory-pipes")
def memory_pipes():
    got = knarr("-m", "24M", compiled("hog"), "pipes")
    check(got.status in (0, 137), f"status {got.status}: {harness.tail(got.stderr)}")
