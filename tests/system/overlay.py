"""The overlay above an image: the programs that test files on tmpfs run with an image below their directory, and overlay_ops.c does the
same to a tree that comes from the image as to a plain directory of this machine."""
import hashlib
import io
import pathlib
import shutil
import struct
import subprocess
import tarfile

from harness import BUILD, GUEST, KNARR, Failure, busybox, check, compare, compiled, directives, execute, knarr, linux, once, scratch, tail, test


def pack(root, image):
    made = execute([KNARR, "pack", "-o", image, root])
    if made.status:
        raise Failure("knarr pack: " + tail(made.stderr))
    return image


def empty_image():
    """An image with an empty directory /work; made once."""
    image = BUILD / "overlay-empty.erofs"
    with once(image), scratch() as directory:
        root = pathlib.Path(directory, "root")
        for name in ["work", "tmp", "etc", "dev", "proc"]:
            (root / name).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        (root / "etc" / "hostname").write_text("from-the-image\n")
        shutil.copy(busybox(), root / "busybox")
        pack(root, image)
    return image


PROGRAMS = ["file_calls", "file_dirs", "file_events", "file_fd", "file_links", "file_locks", "file_names", "file_open", "file_resolve", "file_rw",
            "file_stat", "file_times", "inotify", "mem_file", "permissions", "splice"]

for name in PROGRAMS:

    @test(f"overlay/{name}")
    def above_an_image(name=name):
        program = compiled(name)
        cpus = directives(GUEST / f"{name}.c").get("cpus", "1").split()[-1]
        compare(linux([program]),
                knarr("-m", "128M", "--cpus", cpus, "--root", empty_image(), "-w", "/work", program))


def tree(root):
    """What overlay_ops.c wants to find."""
    root.mkdir()
    for name in ["dir", "dir/sub", "dir/sub/deep", "empty", "many", "moving", "moving/in", "full"]:
        (root / name).mkdir()
    pages = b"".join(bytes([65 + i]) * 4096 for i in range(10)) + b"the end\n"
    for name in ["pages", "mapped", "holes", "cut", "sparse-end", "many/.hidden"]:
        (root / name).write_bytes(pages)
    for name in ["small", "other", "dir/file", "dir/sub/file", "dir/sub/deep/file", "moving/in/file", "full/file", "victim", "attributes"]:
        (root / name).write_text(f"this is {name}\n")
    for i in range(300):
        (root / "many" / f"file{i:03}").write_text(f"{i}\n")
    for link in ["link2", "dir/link3"]:
        (root / link).hardlink_to(root / "small")
    (root / "symlink").symlink_to("dir/file")
    (root / "dangling").symlink_to("nowhere")
    shutil.copy(compiled("hello"), root / "program")
    (root / "setuid").write_text("#!")
    (root / "setuid").chmod(0o4755)
    subprocess.run(["mkfifo", root / "fifo"], check=True)


def operations(*options):
    program = compiled("overlay_ops")
    with scratch() as directory:
        plain, root = pathlib.Path(directory, "plain"), pathlib.Path(directory, "root")
        tree(plain)
        root.mkdir()
        tree(root / "tree")
        image = pack(root, pathlib.Path(directory, "image"))
        on_linux = execute([program, plain])
        on_knarr = knarr("-m", "128M", *options, "--root", image, program, "/tree")
        compare(on_linux, on_knarr)


@test("overlay/operations")
def operations_one_cpu():
    operations()


@test("overlay/operations-q35")
def operations_q35():
    operations("--machine", "q35", "--cpus", "2")


@test("overlay/root")
def the_root_itself():
    """What the boot makes of an image that has next to nothing."""
    script = "ls -d /dev /proc /sys /tmp; ls -ld /tmp | cut -c1-10; cat /etc/hostname; grep -c localhost /etc/hosts; ls /etc/resolv.conf; " \
             "grep ' / ' /proc/mounts; stat -f -c %T /; echo x > /dev/null && echo y > /new && cat /new; test -c /dev/null && echo device"
    got = knarr("--root", empty_image(), "-h", "name", "/busybox", "sh", "-c", script)
    wanted = b"/dev\n/proc\n/sys\n/tmp\ndrwxrwxrwt\nfrom-the-image\n2\n/etc/resolv.conf\noverlay / overlay rw"
    check(got.status == 0 and got.stdout.startswith(wanted) and got.stdout.endswith(b"y\ndevice\n"), f"{got.stdout!r} {got.stderr!r}")


@test("overlay/initrd")
def image_in_the_initrd():
    """A small directory becomes an image behind the initrd's archives: used in place, and a device like others."""
    with scratch() as directory:
        root = pathlib.Path(directory, "root")
        root.mkdir()
        shutil.copy(busybox(), root / "busybox")
        (root / "file").write_text("in the image\n")
        script = "grep ' / ' /proc/mounts | cut -d' ' -f3; cat /file; echo more >> /file; cat /file; mkdir /again; " \
                 "mount -t erofs /dev/initrd /again && cat /again/file && umount /again && rm /file && ls /file"
        got = knarr("-m", "32M", "--root", root, "/busybox", "sh", "-c", script)
        check(got.stdout == b"overlay\nin the image\nin the image\nmore\nin the image\n" and b"No such file" in got.stderr,
              f"{got.status} {got.stdout!r} {got.stderr!r}")


@test("overlay/capabilities")
def file_capabilities():
    """Capabilities of a program in the image are its, until it is written to."""
    with scratch() as directory:
        tar, program = pathlib.Path(directory, "tar"), pathlib.Path(busybox()).read_bytes()
        with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as out:
            # cap_net_raw, effective
            value = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0).decode("latin-1")
            users = b"u:x:1000:1000::/:/\n"
            member = tarfile.TarInfo("etc/passwd")
            member.size = len(users)
            out.addfile(member, io.BytesIO(users))
            for name, headers in [("busybox", {}), ("busybox-plain", {}), ("busybox-able", {"SCHILY.xattr.security.capability": value})]:
                member = tarfile.TarInfo(name)
                member.size, member.mode, member.pax_headers = len(program), 0o755, headers
                out.addfile(member, io.BytesIO(program))
        image = pack(tar, pathlib.Path(directory, "image"))
        run = "/busybox start-stop-daemon -S -c u -x /busybox-$p -- grep -E 'Cap(Prm|Eff)' /proc/self/status"
        got = knarr("-m", "64M", "--root", image, "/busybox", "sh", "-c", f"for p in plain able; do {run}; done; echo >>/busybox-able; {run}")
        want = "".join(f"CapPrm:\t{value:016x}\nCapEff:\t{value:016x}\n" for value in [0, 1 << 13, 0])
        check(got.stdout.decode() == want, f"{got.status} {got.stdout!r} {tail(got.stderr)}")


@test("overlay/read-only")
def read_only():
    script = "echo x > /new; mkdir /d; rm /busybox; touch /work; echo tmp > /dev/shm/x && cat /dev/shm/x; mount -t tmpfs t /work && echo ok > /work/f && cat /work/f"
    got = knarr("--root", empty_image(), "--read-only", "/busybox", "sh", "-c", script)
    check(got.stdout == b"tmp\nok\n" and got.stderr.count(b"Read-only file system") >= 3, f"{got.stdout!r} {got.stderr!r}")


@test("overlay/tmpfs")
def tmpfs_mounts():
    got = knarr("--root", empty_image(), "--tmpfs", "/work:mode=0700", "--tmpfs", "/a b/c", "--read-only", "/busybox", "sh", "-c",
                "echo 1 > /work/x && echo 2 > '/a b/c/y' && cat /work/x '/a b/c/y'; ls -ld /work | cut -c1-10")
    check(got.stdout == b"1\n2\ndrwx------\n", f"{got.stdout!r} {got.stderr!r}")


@test("overlay/failures")
def failures():
    """A root that is none ends with status 125 and one line."""
    with scratch() as directory:
        image = pathlib.Path(directory, "image")
        image.write_bytes(empty_image().read_bytes()[:1024 + 128] + bytes(8192))
        got = knarr("--root", image, "/busybox", "true")
        check(got.status == 125 and got.stderr.count(b"\n") == 1, f"{got.status} {got.stdout!r} {got.stderr!r}")
    got = knarr("--root", empty_image(), "--tmpfs", "/busybox", "/busybox", "true")
    check(got.status == 125 and b"/busybox" in got.stderr and got.stderr.count(b"\n") == 1, f"{got.status} {got.stderr!r}")


@test("overlay/large-mapping")
def large_mapping():
    """A file of the image that is larger than the memory is mapped and read: its pages come and go."""
    program = compiled("overlay_ops")
    with scratch() as directory:
        root = pathlib.Path(directory, "root")
        root.mkdir()
        (root / "large").write_bytes(b"".join(i.to_bytes(4, "little") * 1024 for i in range(20000)))  # 78 MiB
        image = pack(root, pathlib.Path(directory, "image"))
        compare(execute([program, "--map", root / "large"]), knarr("-m", "40M", "--root", image, program, "--map", "/large"))


@test("overlay/memory")
def full_memory():
    """Copies fill the memory: ENOSPC, and what is below stays readable."""
    with scratch() as directory:
        root = pathlib.Path(directory, "root")
        root.mkdir()
        shutil.copy(busybox(), root / "busybox")
        large = b"0123456789abcdef" * 4096 * 1024  # 64 MiB
        (root / "large").write_bytes(large)
        image = pack(root, pathlib.Path(directory, "image"))
        script = "md5sum /large; dd if=/dev/zero of=/large bs=64k conv=notrunc count=1000 2>&1 | grep -c 'No space'; tail -c 16 /large; " \
                 "rm /large; dd if=/dev/zero of=/new bs=1M count=8 2>/dev/null && wc -c < /new"
        got = knarr("-m", "48M", "--root", image, "/busybox", "sh", "-c", script)
        wanted = f"{hashlib.md5(large).hexdigest()}  /large\n1\n0123456789abcdef8388608\n"
        check(got.stdout.decode() == wanted, f"{got.status} {got.stdout!r} {got.stderr!r}")
