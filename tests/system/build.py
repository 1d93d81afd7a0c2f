"""`knarr build`: from every kind of source the same image with what the source has, which `knarr run` boots; nothing is left of what fails."""
import json
import mmap
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import uuid
import zlib

from erofs import Image
from harness import BUILD, KNARR, Skipped, busybox, check, execute, knarr, libraries, tail, test
from ocilayout import LAYER, Layout, digest, docker_archive, layer, member, soft

MIB = 1 << 20
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nbob:x:1001:1002::/home/bob:/bin/sh\n"
GROUP = b"root:x:0:\nbob:x:1002:\nextra:x:50:bob\nmore:x:51:eve,bob\n"
CONFIG = {"User": "bob", "WorkingDir": "/work", "Env": ["PATH=/bin", "A=1"], "Entrypoint": ["/bin/sh", "-c"],
          "Cmd": ["id; pwd; echo $A $HOME; cat /etc/top"], "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/vol": {}},
          "StopSignal": "SIGQUIT", "Labels": {"x": "y"}, "Healthcheck": {"Test": ["CMD", "true"]}}


class Room:
    """A directory for a test, with a cache and temporary files of its own."""

    def __enter__(self):
        BUILD.mkdir(exist_ok=True)
        memory = os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 1 << 30  # no waiting for a disk
        self.holder = tempfile.TemporaryDirectory(prefix="knarr-build-", dir="/dev/shm" if memory else BUILD)
        self.path = pathlib.Path(self.holder.name)
        for name in ["out", "tmp", "cache"]:
            (self.path / name).mkdir()
        self.env = {**os.environ, "TMPDIR": str(self.path / "tmp"), "XDG_CACHE_HOME": str(self.path / "cache")}
        self.env.pop("SOURCE_DATE_EPOCH", None)
        return self

    def __exit__(self, *_):
        self.holder.cleanup()

    def __truediv__(self, name):
        return self.path / name

    def attempt(self, source, *options, name="image", env=None, **kwargs):
        return execute([KNARR, "build", "-o", self / "out" / name, *options, source], env={**self.env, **(env or {})}, **kwargs)

    def build(self, source, *options, name="image", **kwargs):
        done = self.attempt(source, *options, name=name, **kwargs)
        check(done.status == 0 and not done.stdout and not done.stderr, f"{source}: {done.status} {tail(done.stderr)}")
        return self / "out" / name

    def empty(self, what):
        for name in ["out", "tmp"]:
            for _ in range(20):  # the temporary directory goes when the process has gone
                left = os.listdir(self / name)
                if not left:
                    break
                time.sleep(0.05)
            check(not left, f"{what}: {name} has {left}")


def base_layer():
    names = ["sh", "id", "cat", "ls", "echo", "pwd", "env", "sleep"]
    return layer(member("bin"), member("bin/busybox", pathlib.Path(busybox()).read_bytes()),
                 *(soft(f"bin/{name}", "busybox") for name in names), member("etc"),
                 member("etc/passwd", PASSWD, mode=0o644), member("etc/group", GROUP, mode=0o644),
                 member("etc/gone", b"old", mode=0o644), member("opaque"), member("opaque/old", b"old"))


def top_layer(text=b"top\n"):
    return layer(member("etc/.wh.gone", b""), member("etc/top", text, mode=0o644), member("opaque/.wh..wh..opq", b""),
                 member("opaque/new", b"new", mode=0o640, uid=7, gid=8), soft("etc/link", "top"))


class Disk:
    """The partitions of an image, everything about the table checked."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.path, sectors, tables = path, len(self.data) // 512, []
        check(len(self.data) % MIB == 0, f"{len(self.data)} bytes")
        check(self.data[510:512] == b"\x55\xaa" and self.data[450] == 0xEE, "no protective MBR")
        for at in [1, sectors - 1]:
            header = bytearray(self.data[at * 512:at * 512 + 92])
            (signature, revision, size, crc, _, here, other, first, last, guid, entries_at, count, entry_size,
             entries_crc) = struct.unpack("<8sIIIIQQQQ16sQIII", header)
            header[16:20] = bytes(4)
            entries = self.data[entries_at * 512:entries_at * 512 + count * entry_size]
            check((signature, revision, size, here, other) == (b"EFI PART", 0x10000, 92, at, sectors - at), f"header {header}")
            check(crc == zlib.crc32(header) and entries_crc == zlib.crc32(entries), "wrong checksum")
            tables.append((first, last, guid, entries))
        check(tables[0] == tables[1], "the copy differs")
        first, last, guid, entries = tables[0]
        self.guids, self.parts, end = {guid}, {}, first
        for at in range(0, len(entries), 128):
            kind, own, start, stop, _, name = struct.unpack("<16s16sQQQ72s", entries[at:at + 128])
            if not any(kind):
                continue
            check(end <= start <= stop <= last, f"partition from {start} to {stop} behind {end}")
            end = stop + 1
            self.guids.add(own)
            self.parts[name.decode("utf-16le").rstrip("\0")] = (str(uuid.UUID(bytes_le=kind)), start * 512, (stop + 1) * 512)
        check(len(self.guids) == 4 and list(self.parts) == ["knarr-bios", "knarr-boot", "knarr-root"], f"{self.parts}")
        check([kind for kind, _, _ in self.parts.values()] == [
            "21686148-6449-6e6f-744e-656564454649", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
            "0fc63daf-8483-4772-8e79-3d69d8477de4"], "types")
        check(self.parts["knarr-root"][1] % 4096 == 0, "the root is not aligned")

    def root(self):
        _, start, end = self.parts["knarr-root"]
        return Image(self.data[start:end]).tree()

    def boot_file(self, name):
        done = execute(["mtype", "-i", f"{self.path}@@{self.parts['knarr-boot'][1]}", f"::{name}"])
        check(done.status == 0, f"{name}: {tail(done.stderr)}")
        return done.stdout


def config_of(tree):
    return json.loads(tree[b".knarr/image.json"].content())


def check_content(image):
    disk = Disk(image)
    tree = disk.root()
    check(tree[b"etc/top"].content() == b"top\n" and tree[b"etc/link"].content() == b"top", "etc/top")
    check(b"etc/gone" not in tree and b"opaque/old" not in tree, "whiteouts")
    new = tree[b"opaque/new"]
    check((new.mode, new.uid, new.gid, new.mtime) == (0o100640, 7, 8, 1600000000 * 10**9), "attributes")
    check(tree[b"bin/busybox"].content() == pathlib.Path(busybox()).read_bytes(), "busybox")
    check(tree[b"vol"].mode == 0o040755 and b"work" not in tree, "volumes")
    config = config_of(tree)
    check(config["config"] == CONFIG and config["architecture"] == "amd64", f"{config}")
    check(len(config["rootfs"]["diff_ids"]) == 2, "diff_ids")
    kernel = pathlib.Path(os.environ.get("KNARR_KERNEL") or BUILD / "knarr.elf").read_bytes()
    check(disk.boot_file("/knarr/knarr.elf") == kernel, "the kernel")
    check(disk.boot_file("/EFI/BOOT/BOOTX64.EFI")[:2] == b"MZ", "BOOTX64.EFI")
    check(b"multiboot2 /knarr/knarr.elf" in disk.boot_file("/boot/grub/grub.cfg"), "grub.cfg")
    records = disk.boot_file("/knarr/config.cpio")
    for record in [b"arg=/bin/sh", b"exec=/bin/sh", b"env=A=1", b"env=HOME=/home/bob", b"cwd=/work", b"user=1001:1002:50,51",
                   b"root=erofs PARTLABEL=knarr-root"]:
        check(b"\0" + record + b"\0" in records, f"{record} in {records}")
    core, rest = struct.unpack_from("<Q", disk.data, 0x5C)[0], None
    check(core * 512 == disk.parts["knarr-bios"][1], f"GRUB's core at {core}")
    rest = struct.unpack_from("<Q", disk.data, core * 512 + 500)[0]
    check(rest == core + 1, f"GRUB's core goes on at {rest}")


@test("build/sources")
def sources():
    with Room() as room:
        layers = [base_layer(), top_layer()]
        images = {}
        for how in ["gzip", "zstd", "plain"]:
            layout = Layout(room / f"oci:{how}")  # a name with a colon, too
            images[f"oci:{layout.root}"] = layout.add(layout.image(layers, CONFIG, how), "v1").root
        several = Layout(room / "several")
        foreign = several.image([top_layer()], {}, architecture="arm64")
        platform = lambda name: {"platform": {"os": "linux", "architecture": name}}
        several.add(several.index({**foreign, **platform("arm64")}, {**several.image(layers, CONFIG), **platform("amd64")}), "v1")
        several.add(foreign, "v2", **platform("arm64"))
        archive, saved = several.archive(room / "several.tar"), room / "saved.tar"
        docker_archive(saved, layers, CONFIG)
        docker_archive(f"{saved}.gz", layers, CONFIG, compressed=True)
        names = [*images, f"oci:{room / 'oci:gzip'}:v1", f"oci:{several.root}:v1", f"oci-archive:{archive}:v1",
                 f"docker-archive:{saved}", f"docker-archive:{saved}:v1", f"docker-archive:{saved}.gz:example.org/app:v1"]
        first = room.build(names[0], name="first")
        check_content(first)
        for i, name in enumerate(names[1:]):  # no cache: each time all of the way
            other = room.build(name, "--no-cache")
            check(other.read_bytes() == first.read_bytes(), f"{name}: another image")


@test("build/run")
def run():
    with Room() as room:
        layout = Layout(room / "oci")
        layout.add(layout.image([base_layer(), top_layer()], CONFIG))
        image = room.build(f"oci:{layout.root}", "-m", "48M", "--cpus", "2")

        def expect(words, status, out):
            done = knarr(*words)
            check((done.status, done.stdout) == (status, out), f"{words}: {done.status} {done.stdout} {tail(done.stderr)}")

        expect([image], 0, b"uid=1001(bob) gid=1002(bob) groups=50(extra),51(more)\n/work\n1 /home/bob\ntop\n")
        expect(["-u", "bob:extra", "-w", "/tmp", "-e", "A=2", image, "id -u; id -g; id -G; pwd; echo $A $0; ls -ld /vol; exit 7", "zero"],
               7, b"1001\n50\n50\n/tmp\n2 zero\ndrwxr-xr-x    2 root     root            27 Jan  1  1970 /vol\n")
        expect(["-u", "0", "--entrypoint", "ls", image, "/opaque"], 0, b"new\n")
        done = knarr("--entrypoint", "/nothing", image)
        check(done.status == 127 and b"/nothing" in done.stderr, f"{done.status} {tail(done.stderr)}")
        done = knarr("-u", "eve", image)
        check(done.status == 125 and b"eve" in done.stderr, f"{done.status} {tail(done.stderr)}")
        words = knarr("--dry-run", image).stdout.decode().split()
        check(words[words.index("-smp") + 1] == "2" and words[words.index("-m") + 1] == "48M", f"{words}")
        words = knarr("--dry-run", "-m", "64M", "--cpus", "1", image).stdout.decode().split()
        check(words[words.index("-smp") + 1] == "1" and words[words.index("-m") + 1] == "64M", f"{words}")


@test("build/options")
def options():
    with Room() as room:
        root = room / "root"
        (root / "etc").mkdir(parents=True)
        (root / "etc/passwd").write_bytes(PASSWD)
        (root / ".knarr").mkdir()
        (root / ".knarr/other").write_text("not ours")
        words = ["--entrypoint", "/bin/a 'b c' \"d\\\"\"", "--cmd", '["x", ""]', "-e", "A=1", "-e", "B=2", "--env", "A=3", "-w", "/w",
                 "-u", "bob", "--expose", "80", "--expose", "53/udp", "--volume", "/v/w", "--label", "k=v=w", "--stop-signal", "INT",
                 "-m", "1G", "--cpus", "3"]
        tree = Disk(room.build(root, *words)).root()
        check(config_of(tree) == {"architecture": "amd64", "os": "linux", "knarr": {"version": 1, "memory": 1 << 30, "cpus": 3}, "config": {
            "Entrypoint": ["/bin/a", "b c", 'd"'], "Cmd": ["x", ""], "Env": ["A=3", "B=2"], "WorkingDir": "/w", "User": "bob",
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/v/w": {}}, "Labels": {"k": "v=w"}, "StopSignal": "INT"}},
              f"{config_of(tree)}")
        check(b"v/w" in tree and b".knarr/other" not in tree, "volumes, and only our own configuration")
        tar = subprocess.run(["tar", "-C", root, "-c", "."], capture_output=True, check=True).stdout
        piped = room.build("-", *words, stdin=tar, name="piped")
        check(sorted(Disk(piped).root()) == sorted(tree), "a tar on standard input has other files")
        dated = room.build(root, env={"SOURCE_DATE_EPOCH": "1000000000"})
        check(config_of(Disk(dated).root())["created"] == "2001-09-09T01:46:40Z", "created")
        for words, why in [(["--entrypoint", "'a"], b"quote"), (["--cmd", '["a"'], b"--cmd"), (["--cmd", "[1]"], b"strings"),
                           (["-w", "x"], b"absolute"), (["--expose", "0"], b"--expose"), (["--expose", "80/x"], b"--expose"),
                           (["--volume", "v"], b"--volume"), (["--volume", "/../v"], b"root"), (["-m", "1"], b"-m 1"), (["--cpus", "0"], b"--cpus"),
                           (["--format", "iso"], b"--format"), (["--kernel", "/etc/passwd"], b"kernel"), (["-u", "eve"], b"eve")]:
            refused(room, root, why, *words, name="other")
        done = execute([KNARR, "build", root])
        check(done.status == 125 and b"-o" in done.stderr, "no output")


@test("build/program")
def program():
    with Room() as room:
        ls = shutil.which("ls")
        image = room.build(ls)
        tree = Disk(image).root()
        for path in libraries(ls):
            check(path.lstrip("/").encode() in tree, f"{path} is not in it")
        done = knarr(image, "/")
        check(done.status == 0 and b"ls\n" in done.stdout, f"{done.status} {tail(done.stdout)} {tail(done.stderr)}")


@test("build/formats")
def formats():
    with Room() as room:
        root = room / "root"
        (root / "bin").mkdir(parents=True)
        shutil.copy(busybox(), root / "bin/busybox")
        words = ["--entrypoint", "/bin/busybox echo", "--cmd", "good"]
        raw = room.build(root, *words, name="raw")
        for kind in ["qcow2", "vhd"]:
            images = [room.build(root, *words, "--format", kind, name=f"{kind}{i}") for i in range(2)]
            check(images[0].read_bytes() == images[1].read_bytes(), f"{kind}: not the same bytes")
            done = execute(["qemu-img", "compare", "-f", "raw", "-F", {"vhd": "vpc"}.get(kind, kind), raw, images[0]])
            check(done.status == 0, f"{kind}: {tail(done.stdout)} {tail(done.stderr)}")
        for _ in range(2):  # the second time in place of the first
            parts = room.build(root, *words, "--format", "kernel+initrd", name="parts")
        check(sorted(os.listdir(parts)) == ["cmdline", "initrd", "knarr.elf"], f"{os.listdir(parts)}")
        done = execute(["qemu-system-x86_64", "-M", "microvm,acpi=off,pit=on,pic=off,rtc=on,isa-serial=on", "-cpu", "max", "-m", "64M",
                        "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-kernel", parts / "knarr.elf", "-initrd",
                        parts / "initrd", "-append", (parts / "cmdline").read_text().strip(), "-chardev", "file,id=c,path=/dev/stdout", "-global",
                        "virtio-mmio.force-legacy=off", "-device", "virtio-serial-device,max_ports=2", "-device",
                        "virtserialport,nr=1,chardev=c"], timeout=30)
        check(done.status == 0 and done.stdout.replace(b"\r", b"") == b"good\n", f"{done.status} {done.stdout} {tail(done.stderr)}")
        (parts / "other").write_text("somebody's")
        refused(room, root, b"there already", *words, "--format", "kernel+initrd", name="parts")


# ---- firmware --------------------------------------------------------------------------------------------------------

def boots(name, memory, *firmware):
    @test(f"build/{name}", first=True)
    def function():
        if name == "uefi" and not os.path.exists(OVMF):
            raise Skipped("ovmf is not installed")
        with Room() as room:
            layout = Layout(room / "oci")
            layout.add(layout.image([base_layer(), top_layer()], CONFIG))
            image = room.build(f"oci:{layout.root}")
            before = image.read_bytes()
            done = execute(["qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-m", memory, "-nodefaults", "-no-user-config", "-no-reboot",
                            "-display", "none", "-chardev", "file,id=s,path=/dev/stdout", "-serial", "chardev:s", *firmware, "-drive",
                            f"if=none,id=d,format=raw,readonly=on,file={image}", "-device", "virtio-blk-pci,drive=d"], timeout=60)
            text = done.stdout.replace(b"\r", b"")
            check(b"uid=1001(bob) gid=1002(bob) groups=50(extra),51(more)\n/work\n1 /home/bob\ntop\n" in text,
                  f"{done.status} {tail(text)} {tail(done.stderr)}")
            check(image.read_bytes() == before, "the disk changed")


OVMF = "/usr/share/OVMF/OVMF_CODE.fd"
boots("bios", "64M")
boots("uefi", "256M", "-drive", f"if=pflash,format=raw,readonly=on,file={OVMF}")


# ---- the cache -------------------------------------------------------------------------------------------------------

@test("build/cache")
def cache():
    with Room() as room:
        layout = Layout(room / "oci")
        base = base_layer()
        layout.add(layout.image([base, top_layer()], CONFIG), "old").add(layout.image([base, top_layer(b"new\n")], CONFIG), "new")
        old, entries = f"oci:{layout.root}:old", room / "cache/knarr/layers"
        first = room.build(old).read_bytes()
        check(sorted(os.listdir(entries)) == sorted(digest(tar).replace(":", "-") + ".tar" for tar in [base, top_layer()]), "entries")
        tree = Disk(room.build(f"oci:{layout.root}:new")).root()
        check(tree[b"etc/top"].content() == b"new\n" and len(os.listdir(entries)) == 3, "the new top")

        # What is in the cache need not be in the layout any more; what is damaged there is noticed.
        for blob in (layout.root / "blobs/sha256").iterdir():
            if blob.read_bytes()[:2] == b"\x1f\x8b":
                blob.rename(f"{blob}.away")
        check(room.build(old).read_bytes() == first, "from the cache: another image")
        entry = entries / (digest(base).replace(":", "-") + ".tar")
        data = bytearray(entry.read_bytes())
        data[len(data) // 2] ^= 1
        entry.write_bytes(data)
        done = room.attempt(old)
        check(done.status == 125 and b"in the cache is damaged" in done.stderr, f"{done.status} {tail(done.stderr)}")
        for blob in (layout.root / "blobs/sha256").glob("*.away"):
            blob.rename(str(blob)[:-5])
        check(room.build(old).read_bytes() == first and entry.read_bytes() == base, "after the damage")

        room.build(f"oci:{layout.root}:new", env={"KNARR_CACHE_SIZE": "1M"})
        check(room.attempt(old, "--no-cache").status == 0, "no cache")
        entry.unlink()
        room.build(old, env={"KNARR_CACHE_SIZE": "1M"})
        check(sum(each.stat().st_size for each in entries.iterdir()) <= MIB, "the cache is too large")
        (entries / "x").mkdir()
        room.build(old, env={"KNARR_CACHE_SIZE": "0"})


# ---- what fails ------------------------------------------------------------------------------------------------------

def refused(room, source, why, *words, name="image", **kwargs):
    existed = (room / "out" / name).exists()
    done = room.attempt(source, *words, name=name, **kwargs)
    check(done.status == 125 and done.stderr.count(b"\n") == 1 and done.stderr.startswith(b"knarr: ") and why in done.stderr,
          f"{source} {words}: {done.status} {tail(done.stderr)}, not {why}")
    check((room / "out" / name).exists() == existed, f"{source} {words}: an image is there")


@test("build/hostile")
def hostile():
    with Room() as room:
        good = layer(member("a", b"x" * 100000))
        number = 0

        def layout(change=None, layers=(good,), config=None, how="gzip"):
            nonlocal number
            number += 1
            made = Layout(room / f"oci{number}")
            image = made.image(list(layers), config if config is not None else {}, how)
            path = lambda descriptor: made.root / "blobs/sha256" / descriptor["digest"][7:]
            manifest = json.loads(path(image).read_bytes())
            if change:
                image = change(made, image, manifest, path) or made.blob(json.dumps(manifest).encode(), image["mediaType"])
            made.add(image)
            return f"oci:{made.root}"

        def flip(made, image, manifest, path):
            blob = path(manifest["layers"][0])
            data = bytearray(blob.read_bytes())
            data[len(data) // 2] ^= 0x40
            blob.write_bytes(data)
            return image

        def cut(made, image, manifest, path):
            blob = path(manifest["layers"][0])
            blob.write_bytes(blob.read_bytes()[:-20])
            return image

        def spoil_config(made, image, manifest, path):
            blob = path(manifest["config"])
            blob.write_bytes(blob.read_bytes().replace(b"amd64", b"amd46"))
            return image

        def member_of(name, value):
            def change(made, image, manifest, path):
                manifest[name] = value
            return change

        def in_layer(**values):
            def change(made, image, manifest, path):
                manifest["layers"][0].update(values)
            return change

        def other_config(**values):
            def change(made, image, manifest, path):
                config = {**json.loads(path(manifest["config"]).read_bytes()), **values}
                manifest["config"] = made.blob(json.dumps(config).encode(), manifest["config"]["mediaType"])
            return change

        def circle(made, image, manifest, path):
            for _ in range(6):
                image = made.index(image)
            return image

        def nested(made, image, manifest, path):
            return made.blob(b"[" * 100000, image["mediaType"])

        cases = [(flip, b""), (cut, b"bytes instead of"), (spoil_config, b"is damaged"), (circle, b"indexes in indexes"), (nested, b""),
                 (in_layer(size=1 << 60), b"bytes instead of"), (in_layer(size=-1), b"size"), (in_layer(digest="sha256:" + "0" * 64), b"not there"),
                 (in_layer(digest="sha256:../../../etc/passwd"), b"digest"), (in_layer(digest="md5:" + "0" * 32), b"digest"),
                 (in_layer(mediaType="text/plain"), b"text/plain"), (member_of("layers", {}), b"no layers"), (member_of("layers", [7]), b"a layer"),
                 (member_of("layers", []), b"diff_ids"), (member_of("config", None), b"configuration"), (other_config(architecture="s390x"), b"s390x"),
                 (other_config(os="windows"), b"windows"), (other_config(rootfs={"diff_ids": [digest(b"")]}), b"not what the image says"),
                 (other_config(rootfs={"diff_ids": ["../x"]}), b"diff_id"), (other_config(config={"Env": [1]}), b"Env"),
                 (other_config(config={"Cmd": {"a": 1}}), b"Cmd"), (other_config(config={"User": "nobody-here"}), b"nobody-here"),
                 (other_config(config={"Volumes": {"/../../x": {}}}), b"root")]
        for change, why in cases:
            refused(room, layout(change), why)
            room.empty(str(change))
        for bad, why in [(layer(member("../out", b"x")), b"out of the root"), (layer(member("a/../../x", b"x")), b"out of the root"),
                         (layer(member("b", b"", b"1", "/etc/passwd")), b"hard link"), (layer(member(".wh...", b"")), b"whiteout"),
                         (good[:-2000][:1300], b""), (b"no tar at all" * 1000, b""),
                         (layer(member("dev", b"", b"3", devmajor=99999, devminor=1)), b"device")]:
            refused(room, layout(layers=[bad]), why)
            room.empty(why.decode())

        # Links that lead out of a root are links; what goes through them stays inside. No file of the host is touched.
        outside = room / "tmp"
        image = room.build(layout(layers=[layer(soft("out", str(outside)), soft("up", "../../../.."), soft(".knarr", "/etc")),
                                          layer(member("out/x", b"inside"), member("up/y", b"inside"))]))
        tree = Disk(image).root()
        check(tree[os.fsencode(str(outside)).lstrip(b"/") + b"/x"].content() == b"inside" and tree[b"y"].content() == b"inside", "links")
        check(not os.listdir(outside) and config_of(tree)["os"] == "linux", "the host")
        image.unlink()

        saved = room / "saved.tar"
        docker_archive(saved, [good], {})
        whole = saved.read_bytes()
        for data, why in [(whole[:50000], b""), (b"", b""), (b"{}" * 4000, b""), (whole.replace(b'"Layers"', b'"Lairs!"'), b"no layers"),
                          (whole.replace(b"x" * 50, b"y" * 50), b"not what"),
                          (whole.replace(b"amd64", b"amd46"), b"damaged"), (layer(member("manifest.json", b"[]")), b"no image"),
                          (layer(member("manifest.json", b'[{"Config":"../x","Layers":[]}]')), b"out of the image"),
                          (layer(soft("manifest.json", "manifest.json")), b"manifest.json"),
                          (layer(soft("manifest.json", "/etc/passwd")), b"manifest.json")]:
            saved.write_bytes(data)
            refused(room, f"docker-archive:{saved}", why, "--no-cache")
            room.empty(str(why))
        made = Layout(room / "index")
        for text, why in [("", b"index.json"), ("[]", b""), ('{"manifests": 7}', b"no image"), ('{"manifests": [null]}', b""),
                          ('{"manifests": [], "manifests": []}', b"duplicate"), ("{\"a\": \"\\u0000\"}", b"index.json"), ("9" * 5000, b"index.json")]:
            (made.root / "index.json").write_text(text)
            refused(room, f"oci:{made.root}", why)
        for source, why in [(f"oci:{room / 'out'}", b"index.json"), ("oci:/nowhere", b"/nowhere"), ("docker-archive:/nowhere:v1", b"/nowhere"),
                            (str(saved), b"docker-archive"), ("/nowhere", b"/nowhere"), ("dockerfile:/nowhere", b"/nowhere")]:
            refused(room, source, why)


@test("build/ends-early")
def ends_early():
    """Ctrl-C at several moments, a full disk, nobody's directory: nothing half done is left, and an older image stays."""
    with Room() as room:
        root = room / "root"
        root.mkdir()
        (root / "big").write_bytes(os.urandom(8 * MIB))
        layout = Layout(room / "oci")
        layout.add(layout.image([layer(*(member(str(i), os.urandom(MIB)) for i in range(8)))], {}))
        for source in [str(root), f"oci:{layout.root}"]:
            for limit in [4096, MIB, 3 * MIB, 9 * MIB]:
                full = lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
                refused(room, source, b"", preexec_fn=full)
                room.empty(f"{source} with {limit} bytes")
        for kind in ["raw", "qcow2", "kernel+initrd"]:
            refused(room, str(root), b"", "--format", kind, preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_FSIZE, (6 * MIB, resource.RLIM_INFINITY)))
            room.empty(kind)
        (room / "out/image").write_bytes(b"older")
        for number, delay in [(signal.SIGINT, 0.01), (signal.SIGTERM, 0.03), (signal.SIGINT, 0.06), (signal.SIGKILL, 0.1), (signal.SIGHUP, 0.15)]:
            words = [KNARR, "build", "--no-cache", "-o", room / "out/image", f"oci:{layout.root}"]
            process = subprocess.Popen(words, env=room.env, stderr=subprocess.PIPE)
            time.sleep(delay)
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
            check(process.returncode in (0, -number) and not said, f"{number}: {process.returncode} {said}")
            names = os.listdir(room / "out")
            check(names == ["image"] and not os.listdir(room / "tmp"), f"{number}: {names}, {os.listdir(room / 'tmp')}")
            if process.returncode:
                check((room / "out/image").read_bytes() == b"older", f"{number}: the older image has gone")
            (room / "out/image").write_bytes(b"older")
        process = subprocess.Popen([KNARR, "build", "-o", room / "out/image", "-"], env=room.env, stdin=subprocess.PIPE)
        process.stdin.write(bytes(MIB))
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait(30)
        check(process.returncode == -signal.SIGINT and os.listdir(room / "out") == ["image"], f"waiting for a tar: {process.returncode}")


@test("build/tools")
def tools():
    """docker:// through skopeo, from a registry that the test starts, and dockerfile: through buildah."""
    if not all(map(shutil.which, ["skopeo", "buildah", "docker-registry"])):
        raise Skipped("skopeo, buildah or docker-registry are not installed")
    with Room() as room:
        layout = Layout(room / "oci")
        layout.add(layout.image([base_layer(), top_layer()], CONFIG), "v1")
        local = room.build(f"oci:{layout.root}", name="local").read_bytes()
        port = 5000 + os.getpid() % 20000
        (room / "registry.yml").write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {room / 'registry'}}}}}\n"
                                           f"http: {{addr: 127.0.0.1:{port}}}\n")
        registry = subprocess.Popen(["docker-registry", "serve", room / "registry.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            name = f"docker://127.0.0.1:{port}/me/app:v1"
            for _ in range(50):
                done = execute(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout.root}:v1", name])
                if done.status == 0:
                    break
                time.sleep(0.1)
            check(done.status == 0, f"skopeo: {tail(done.stderr)}")
            check(room.build(name, "--insecure", name="fetched").read_bytes() == local, "another image from the registry")
            refused(room, name.replace("app", "none"), b"skopeo failed", "--insecure")
        finally:
            registry.kill()
            registry.wait()
        for each in (room / "out").iterdir():
            each.unlink()
        room.empty("skopeo")
        (room / "df").mkdir()
        shutil.copy(busybox(), room / "df/busybox")
        (room / "df/Dockerfile").write_text('FROM scratch\nCOPY busybox /bin/busybox\nENTRYPOINT ["/bin/busybox","echo"]\nCMD ["built"]\n')
        env = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot", "CONTAINERS_STORAGE_CONF": str(room / "storage.conf")}
        (room / "storage.conf").write_text(f'[storage]\ndriver = "vfs"\nrunroot = "{room / "run"}"\ngraphroot = "{room / "store"}"\n')
        done = room.attempt(f"dockerfile:{room / 'df'}", env=env)
        check(done.status == 0, f"buildah: {tail(done.stderr)}")
        config = config_of(Disk(room / "out/image").root())["config"]
        check((config["Entrypoint"], config["Cmd"]) == (["/bin/busybox", "echo"], ["built"]), f"{config}")
