"""A machine under the test's own hand: an initrd made here, QEMU started here, and the frames of docs/boot-protocol.md spoken here."""
import pathlib
import select
import socket
import stat
import struct
import subprocess
import tempfile
import time

from harness import BUILD, Failure, TIMEOUT

KERNEL = BUILD / "knarr.elf"


# ---- cpio (newc) -----------------------------------------------------------------------------------------------------

def member(name, mode, data=b"", uid=0, gid=0, ino=0, nlink=1, mtime=0, rdev=(0, 0)):
    name = name if isinstance(name, bytes) else name.encode()
    data = data if isinstance(data, bytes) else data.encode()
    fields = [ino, mode, uid, gid, nlink, mtime, len(data), 0, 0, *rdev, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def trailer():
    return member("TRAILER!!!", 0)


def members(archive):
    """name -> (fields as a dict, data) of an archive, in order; the trailer must be there."""
    names = "ino mode uid gid nlink mtime size dev_major dev_minor rdev_major rdev_minor namesize check".split()
    found, at = [], 0
    while True:
        if archive[at:at + 6] != b"070701":
            raise Failure(f"no header at {at} of {len(archive)}: {archive[at:at + 20]!r}")
        fields = dict(zip(names, (int(archive[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13))))
        name = archive[at + 110:at + 109 + fields["namesize"]]
        data_at = (at + 110 + fields["namesize"] + 3) // 4 * 4
        if name == b"TRAILER!!!":
            return found
        found.append((name.decode(), fields, archive[data_at:data_at + fields["size"]]))
        at = (data_at + fields["size"] + 3) // 4 * 4


def records(**words):
    """`arg=["a", "b"]` becomes arg=a, arg=b; underscores in names become dashes."""
    out = b""
    for name, values in words.items():
        for value in values if isinstance(values, list) else [values]:
            out += name.replace("_", "-").encode() + b"=" + (value if isinstance(value, bytes) else str(value).encode()) + b"\0"
    return out


def initrd(config, files=()):
    """files: (name, mode, data) or more of member()'s arguments."""
    parts = [member(".knarr/config", 0o100644, config)]
    for file in files:
        name, mode, data = file[0], file[1], file[2] if len(file) > 2 else b""
        parts.append(member(name, mode if stat.S_IFMT(mode) else mode | stat.S_IFREG, data, *file[3:]))
    return b"".join(parts) + trailer()


# ---- the machine -----------------------------------------------------------------------------------------------------

class Machine:
    """QEMU with a framed console. Use it as a context: its end is QEMU's. Without an image it boots by its firmware."""

    def __init__(self, image, machine="microvm", memory="128M", cpus=1, words="", devices=(), kernel=KERNEL):
        self.directory = tempfile.TemporaryDirectory(prefix="knarr-wire-")
        base = pathlib.Path(self.directory.name)
        self.log_path = base / "log"
        boot = []
        if image is not None:
            (base / "initrd").write_bytes(image)
            boot = ["-kernel", str(kernel), "-initrd", str(base / "initrd"), "-append", f"console=framed {words}"]
        ours, theirs = socket.socketpair()
        self.wire = ours
        bus = "device" if machine == "microvm" else "pci"
        command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
        if machine == "microvm":
            command += ["-M", "microvm,acpi=off,pit=on,pic=off,rtc=on,isa-serial=on", "-global", "virtio-mmio.force-legacy=off"]
        else:
            command += ["-M", machine]
        command += ["-accel", "tcg", "-cpu", "max", "-smp", str(cpus), "-m", memory,
                    "-chardev", f"socket,id=console,fd={theirs.fileno()}",
                    "-device", f"virtio-serial-{bus},max_ports=2", "-device", "virtserialport,nr=1,chardev=console",
                    "-serial", f"file:{self.log_path}", *devices, *boot]
        self.qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                     pass_fds=[theirs.fileno()])
        theirs.close()
        self.buffer = b""
        self.sessions = {0: Session(self, 0)}
        self.deadline = time.monotonic() + TIMEOUT

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.qemu.kill()
        self.qemu.wait()
        self.qemu.stderr.close()
        self.wire.close()
        self.directory.cleanup()

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def send(self, kind, session=0, payload=b""):
        self.wire.sendall(kind.encode() + bytes([session]) + struct.pack("<H", len(payload)) + payload)

    def step(self):
        """Waits for bytes of the guest and hands out the frames. False: it is gone."""
        if not select.select([self.wire], [], [], max(self.deadline - time.monotonic(), 0))[0]:
            raise Failure(f"the guest says nothing: {self.log()[-500:]}")
        try:
            data = self.wire.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        if not data:
            return False
        self.buffer += data
        at = 0
        while len(self.buffer) - at >= 4:
            kind, number, length = struct.unpack_from("<BBH", self.buffer, at)
            if len(self.buffer) - at < 4 + length:
                break
            if number not in self.sessions:
                raise Failure(f"a frame {chr(kind)} of session {number}, which there is not")
            self.sessions[number].take(chr(kind), self.buffer[at + 4:at + 4 + length])
            at += 4 + length
        self.buffer = self.buffer[at:]
        return True

    def until(self, condition, what="what was waited for"):
        while not condition():
            if not self.step():
                if condition():
                    return
                raise Failure(f"the guest ended before {what}: {self.main.messages} {self.log()[-500:]}")

    @property
    def main(self):
        return self.sessions[0]

    def open(self, number, config, window=1 << 16, input=b"", end=True, pieces=1):
        """A session: its records in so many R frames, then the empty one; input goes out as its window opens."""
        s = self.sessions[number] = Session(self, number)
        size = -(-len(config) // pieces)
        for at in range(0, len(config), size or 1):
            self.send("R", number, config[at:at + size])
        self.send("R", number)
        s.give(window)
        s.keep = window
        s.write(input, end)
        return s

    def finish(self):
        """To the end of the program: its status as a shell shows it, its output, its errors."""
        self.until(lambda: self.main.exit is not None, "its exit frame")
        return self.main.outcome()


class Session:
    def __init__(self, machine, number):
        self.machine, self.number = machine, number
        self.output, self.errors, self.messages = b"", b"", []
        self.exit = None
        self.window, self.pending, self.ending = 0, b"", False
        self.given = self.keep = self.used = 0

    def take(self, kind, data):
        if kind in "OE":
            self.used += len(data)
            if self.number and self.used > self.given:
                raise Failure(f"session {self.number} sends more than its window of {self.given}")
            if kind == "O":
                self.output += data
            else:
                self.errors += data
            if self.keep and self.given - self.used < self.keep // 2:
                self.give(self.keep - (self.given - self.used))
        elif kind == "W":
            self.window += struct.unpack("<I", data)[0]
            self.flush()
        elif kind == "M":
            self.messages.append(data.decode())
        elif kind == "X":
            if self.exit is not None:
                raise Failure(f"session {self.number} ends twice")
            self.exit = struct.unpack("<B3xi", data)
        else:
            raise Failure(f"a frame of type {kind}")

    def give(self, window):
        if window:
            self.given += window
            self.machine.send("V", self.number, struct.pack("<I", window))

    def write(self, data, end=False):
        self.pending += data
        self.ending |= end
        self.flush()

    def flush(self):
        while self.pending and self.window:
            n = min(len(self.pending), self.window, 8192)
            self.machine.send("I", self.number, self.pending[:n])
            self.pending, self.window = self.pending[n:], self.window - n
        if self.ending and not self.pending:
            self.ending = False
            self.machine.send("Z", self.number)

    def signal(self, number):
        self.machine.send("K", self.number, bytes([number]))

    def outcome(self):
        kind, code = self.exit
        return (128 + code if kind == 1 else code), self.output, self.errors

    def finish(self):
        self.machine.until(lambda: self.exit is not None, f"session {self.number}")
        return self.outcome()


def run(config, files=(), **kwargs):
    """One program in a machine of its own: (status, output, errors, messages)."""
    with Machine(initrd(config, files), **kwargs) as m:
        return (*m.finish(), m.main.messages)
