"""`knarr pack`: its images are what went into them, in the eyes of Debian's erofs-utils and of a reader of our own."""
import io
import mmap
import os
import pathlib
import random
import resource
import socket
import stat
import subprocess
import tarfile
import tempfile

from erofs import Image
from harness import BUILD, KNARR, check, execute, tail, test


def room():
    """A directory on a disk: memory has no extended attributes, and the files are large."""
    BUILD.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="image-", dir=BUILD)


def pack(*argv, **kwargs):
    return execute([KNARR, "pack", *argv], **kwargs)


def packed(image, *argv):
    """Packs, lets fsck.erofs look at it, and reads it back."""
    done = pack("-o", image, *argv)
    check(done.status == 0 and not done.stderr, f"pack: {done.status} {tail(done.stderr)}")
    fsck = execute(["fsck.erofs", image])
    check(fsck.status == 0, f"fsck.erofs: {tail(fsck.stdout)} {tail(fsck.stderr)}")
    return load(image)


def load(image):
    with open(image, "rb") as file:
        return Image(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


# ---- trees of the host -----------------------------------------------------------------------------------------------

def attempt(function, *args, **kwargs):
    """What not every file system or sandbox lets one do."""
    try:
        function(*args, **kwargs)
    except OSError:
        pass


def nasty(root, for_tar=False, many=10000):
    """A directory with all that is hard (or all that GNU tar keeps). Made in an order of its own each time, with the same result."""
    def write(name, data):
        (root / os.fsdecode(name)).write_bytes(data)

    chance = random.Random(4)
    steps = []
    for size in [0, 1, 100, 3000, 3072, 3073, 4032, 4095, 4096, 4097, 8191, 8192, 12345, 3 << 20]:
        data = chance.randbytes(size)
        steps.append(lambda size=size, data=data: write(f"size-{size}", data))
    for name in [b"n" * 255, b"\xff\xfe not utf-8", b"-dash", b"!", b"..x", b".hidden", "blåbær".encode(), b"new\nline", b" "]:
        steps.append(lambda name=name: write(name, name))
    (root / "many").mkdir()
    steps += [lambda i=i: write(f"many/{'x' * (i % 120)}{i}", b"%d" % i) for i in range(many)]
    deep = root
    for i in range(40):
        deep /= "d" * 90
    deep.mkdir(parents=True)
    write(str((deep / "bottom").relative_to(root)), b"deep")
    (root / "empty").mkdir()
    steps += [lambda: os.symlink("t" * 4095, root / "link-4095"), lambda: os.symlink("size-100", root / "link"),
              lambda: os.symlink("/nowhere", root / "dangling"), lambda: os.mkfifo(root / "fifo")]
    chance = random.Random()
    chance.shuffle(steps)
    for step in steps:
        step()
    os.link(root / "size-100", root / "empty" / "second-name")
    os.link(root / "size-100", root / "third-name")
    os.link(root / "link", root / "link-again")
    if not for_tar:
        os.link(root / "fifo", root / "fifo-again")
        with socket.socket(socket.AF_UNIX) as listener:
            here = os.open(root, os.O_PATH)
            listener.bind(f"/proc/self/fd/{here}/socket")
            os.close(here)
    attempt(os.mknod, root / "character", stat.S_IFCHR | 0o620, os.makedev(4, 300))
    attempt(os.mknod, root / "block", stat.S_IFBLK | 0o660, os.makedev(259, 1048575))
    with open(root / "sparse", "wb") as file:
        file.truncate(5 << 30)
        for offset in [0, 1 << 20, (4 << 30) + 12345, (5 << 30) - 7]:
            file.seek(offset)
            file.write(b"island")
    with open(root / "all-hole", "wb") as file:
        file.truncate(1 << 20)
    attempt(os.chown, root / "size-4096", 70000, 80000)
    attempt(os.chown, root / "size-4095", 1000, 65535)
    os.chmod(root / "size-4097", 0o6755)
    os.chmod(root / "empty", 0o1777)
    os.chmod(root / "size-1", 0)
    for i, name in enumerate(["size-0", "size-4095", "empty", "size-8192", "many/0"]):
        attempt(os.setxattr, root / name, "user.shared", b"the same")
        attempt(os.setxattr, root / name, "user.own", b"%d" % i)
        attempt(os.setxattr, root / name, "trusted.x", b"\0\xff" * 20)
    attempt(os.setxattr, root / "size-4096", "user.large", b"v" * 3000)
    attempt(os.setxattr, root / "size-4097", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    os.chmod(root, 0o755)
    for path, directories, files in os.walk(root, topdown=False):
        for name in files + directories:
            os.utime(os.path.join(path, name), ns=(0, 1600000000123456789), follow_symlinks=False)
    for name, when in [("size-0", -10**9), ("size-1", -10**9 * 86400 * 365), ("size-100", 2**32 * 10**9 + 5), ("empty", 1)]:
        os.utime(root / name, ns=(0, when))
    os.utime(root, ns=(0, 1700000000000000000))


def host_files(root):
    """path -> lstat, for all names below root, in bytes."""
    root = os.fsencode(root)
    found = {b"": os.lstat(root)}
    for path, directories, files in os.walk(root):
        for name in directories + files:
            whole = os.path.join(path, name)
            found[os.path.relpath(whole, root)] = os.lstat(whole)
    return found


def host_xattrs(path):
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
            if name != "security.selinux"}


def same_data(inode, path, size):
    with open(path, "rb") as file:
        if size < 1 << 28:
            return inode.content() == file.read()
        places = [0, 4096, 1 << 20, (4 << 30) + 8192, (4 << 30) + 12345 // 4096 * 4096, size // 4096 * 4096 - 4096]
        return all(inode.read(place, 4096) == os.pread(file.fileno(), 4096, place) for place in places)


def compare_host(tree, root):
    """Every attribute and byte of an image against the directory that it was made from."""
    files = host_files(root)
    check(files.keys() == tree.keys(), f"names differ: {sorted(files.keys() ^ tree.keys())[:4]}")
    first, groups = {}, {}
    for name, status in files.items():
        inode, path = tree[name], os.path.join(os.fsencode(root), name) if name else os.fsencode(root)
        nlink = status.st_nlink
        if stat.S_ISDIR(status.st_mode): # some file systems count otherwise
            nlink = 2 + sum(1 for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
        got = inode.mode, inode.uid, inode.gid, inode.mtime, inode.nlink
        want = status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, nlink
        check(got == want, f"{name}: mode, uid, gid, mtime, nlink {got}, not {want}")
        check(inode.xattrs == host_xattrs(path), f"{name}: attributes {inode.xattrs}, not {host_xattrs(path)}")
        check(first.setdefault(status.st_ino, inode) is inode, f"{name}: not the same file as its other names")
        check(groups.setdefault(inode.nid, status.st_ino) == status.st_ino, f"{name}: the same file as another one")
        if stat.S_ISREG(status.st_mode):
            check(inode.size == status.st_size and same_data(inode, path, status.st_size), f"{name}: content differs")
        elif stat.S_ISLNK(status.st_mode):
            check(inode.content() == os.readlink(path), f"{name}: points to {inode.content()}")
        elif inode.rdev:
            check(inode.rdev == (os.major(status.st_rdev), os.minor(status.st_rdev)), f"{name}: device {inode.rdev}")


@test("image/directory")
def directory():
    """All kinds of files, read back by our reader and by fsck.erofs."""
    with room() as work:
        root, image, copy = (pathlib.Path(work, name) for name in ["root", "image", "copy"])
        root.mkdir()
        nasty(root)
        compare_host(packed(image, root).tree(), root)
        # fsck.erofs 1.5 forgets holes when it extracts.
        for name in ["sparse", "all-hole"]:
            (root / name).unlink()
        packed(image, root)
        done = execute(["fsck.erofs", f"--extract={copy}", "--preserve", image])
        check(done.status == 0, f"extract: {tail(done.stderr)}")
        want, got = host_files(root), host_files(copy)
        check(want.keys() == got.keys(), "names differ")
        for name, status in want.items():
            other = got[name]
            modes = [mode & ~0o6000 for mode in (status.st_mode, other.st_mode)] # its chown comes last
            check(modes[0] == modes[1] and (status.st_uid, status.st_gid) == (other.st_uid, other.st_gid), f"{name}: owner, mode")
            if stat.S_ISREG(status.st_mode):
                paths = [os.path.join(os.fsencode(top), name) for top in (root, copy)]
                check(*[open(paths[0], "rb").read() == open(paths[1], "rb").read(), f"{name}: extracted, its content differs"])
            if not stat.S_ISDIR(status.st_mode) and not stat.S_ISLNK(status.st_mode):
                check(status.st_mtime_ns == other.st_mtime_ns, f"{name}: extracted with time {other.st_mtime_ns}")


@test("image/reproducible")
def reproducible():
    """The same bytes from the same directory, made in another order, and from a tar of it in any compression."""
    with room() as work:
        work = pathlib.Path(work)
        images = []
        for turn in ["one", "two"]:
            (work / turn).mkdir()
            nasty(work / turn, for_tar=True, many=500)
            packed(work / f"{turn}.erofs", work / turn)
            images.append((work / f"{turn}.erofs").read_bytes())
        check(images[0] == images[1], "two directories with the same content differ")
        tar = ["tar", "--format=posix", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-S", "-C", work / "one"]
        for name, option in [("plain.tar", []), ("z.tar.gz", ["-z"]), ("x.tar.xz", ["-J"])]:
            done = execute([*tar, *option, "-cf", work / name, "."])
            check(done.status == 0, f"tar: {tail(done.stderr)}")
            packed(work / "tar.erofs", work / name)
            check((work / "tar.erofs").read_bytes() == images[0], f"{name}: not the image of the directory")
        with open(work / "z.tar.gz", "rb") as file:
            with subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE) as pipe:
                done = subprocess.run([KNARR, "pack", "-o", work / "pipe.erofs", "/dev/stdin"], stdin=pipe.stdout)
        check(done.returncode == 0 and (work / "pipe.erofs").read_bytes() == images[0], "a tar from a pipe gives another image")


# ---- archives and layers ---------------------------------------------------------------------------------------------

def member(name, data=None, kind=None, link="", **more):
    info = tarfile.TarInfo(name)
    info.type = kind or (tarfile.REGTYPE if data is not None else tarfile.DIRTYPE)
    info.mode, info.linkname = 0o755 if info.type == tarfile.DIRTYPE else 0o644, link
    info.size = len(data or b"")
    for attribute, value in more.items():
        setattr(info, attribute, value)
    return info, data or b""


def hard(name, link):
    return member(name, kind=tarfile.LNKTYPE, link=link)


def soft(name, link):
    return member(name, kind=tarfile.SYMTYPE, link=link)


def archive(path, members):
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return path


def shape(tree):
    """A tree in a few words: directories end in a slash, links have their target, files their content."""
    found = {}
    for path, inode in tree.items():
        kind = stat.S_IFMT(inode.mode)
        text = {stat.S_IFDIR: "/", stat.S_IFLNK: "-> "}.get(kind, "")
        found[path.decode()] = text + (inode.content().decode() if kind in (stat.S_IFREG, stat.S_IFLNK) else "")
    found.pop("")
    return found


LAYERS = {
    "whiteout": ([[member("a", b"1"), member("d"), member("d/b", b"2"), member("d/c", b"3")], [member(".wh.a", b""), member("d/.wh.b", b"")]],
                 {"d": "/", "d/c": "3"}),
    "whiteout-of-directory": ([[member("d/e/f", b"1"), member("g", b"2")], [member(".wh.d", b"")]], {"g": "2"}),
    "whiteout-and-new": ([[member("d/old", b"1")], [member(".wh.d", b""), member("d"), member("d/new", b"2")]], {"d": "/", "d/new": "2"}),
    "new-and-whiteout": ([[member("d/old", b"1")], [member("d"), member("d/new", b"2"), member(".wh.d", b"")]], {"d": "/", "d/new": "2"}),
    "opaque": ([[member("d/old", b"1"), member("d/s/old", b"2"), member("e", b"3")], [member("d"), member("d/.wh..wh..opq", b""), member("d/new", b"4")]],
               {"d": "/", "d/new": "4", "e": "3"}),
    "opaque-last": ([[member("d/old", b"1"), member("d/s/old", b"2")], [member("d"), member("d/s/new", b"3"), member("d/.wh..wh..opq", b"")]],
                    {"d": "/", "d/s": "/", "d/s/new": "3"}),
    "opaque-root": ([[member("a", b"1"), member("d/b", b"2")], [member(".wh..wh..opq", b""), member("c", b"3")]], {"c": "3"}),
    "file-for-directory": ([[member("x/y/z", b"1")], [member("x", b"file")]], {"x": "file"}),
    "directory-for-file": ([[member("x", b"file")], [member("x"), member("x/y", b"1")]], {"x": "/", "x/y": "1"}),
    "directory-for-file-unsaid": ([[member("x", b"file")], [member("x/y", b"1")]], {"x": "/", "x/y": "1"}),
    "link-for-directory": ([[member("x/y", b"1")], [soft("x", "z")]], {"x": "-> z"}),
    "through-a-link": ([[member("usr/bin"), soft("bin", "usr/bin"), soft("abs", "/usr/bin")], [member("bin/a", b"1"), member("abs/b", b"2")]],
                       {"usr": "/", "usr/bin": "/", "usr/bin/a": "1", "usr/bin/b": "2", "bin": "-> usr/bin", "abs": "-> /usr/bin"}),
    "through-dots": ([[member("a/b"), soft("l", "a/../../../a/b")], [member("l/c", b"1")]], {"a": "/", "a/b": "/", "a/b/c": "1", "l": "-> a/../../../a/b"}),
    "changed": ([[member("a", b"1"), hard("b", "a")], [member("a", b"2")]], {"a": "2", "b": "1"}),
    "other-whiteouts": ([[member("a", b"1")], [member(".wh..wh.plnk"), member(".wh..wh.aufs", b""), member(".wh.none", b"")]], {"a": "1"}),
    "duplicate": ([[member("a", b"1"), member("a", b"2"), member("./a", b"3"), member("//a", b"4")]], {"a": "4"}),
}


def layers_test(name):
    @test(f"image/layers-{name}")
    def function():
        layers, want = LAYERS[name]
        with room() as work:
            words = []
            for i, members in enumerate(layers):
                words += ["--layer", archive(f"{work}/{i}.tar", members)]
            got = shape(packed(f"{work}/image", *words).tree())
            check(got == want, f"{got}, not {want}")


for name in LAYERS:
    layers_test(name)


@test("image/layers-hard-links")
def layers_hard_links():
    """A link in a layer to a file of a lower one is the same file, also when the first name goes."""
    with room() as work:
        first = archive(f"{work}/1.tar", [member("a", b"data"), member("d", mtime=5, mode=0o700, uid=7)])
        second = archive(f"{work}/2.tar", [hard("d/b", "./a"), hard("c", "/a"), hard("a", "a")])
        third = archive(f"{work}/3.tar", [member(".wh.a", b""), member("d", mtime=9, mode=0o711, pax_headers={"SCHILY.xattr.user.k": "v"})])
        tree = packed(f"{work}/image", "--layer", first, "--layer", second, "--layer", third).tree()
        check(shape(tree) == {"d": "/", "d/b": "data", "c": "data"}, str(shape(tree)))
        check(tree[b"c"] is tree[b"d/b"] and tree[b"c"].nlink == 2, "not one file with two names")
        got = tree[b"d"]
        check((got.mode, got.uid, got.mtime, got.xattrs) == (0o40711, 0, 9 * 10**9, {"user.k": b"v"}), "the directory has not the upper attributes")


@test("image/plain-tar-has-no-whiteouts")
def plain_tar():
    with room() as work:
        tar = archive(f"{work}/x.tar", [member("a", b"1"), member(".wh.a", b"2")])
        check(shape(packed(f"{work}/image", tar).tree()) == {"a": "1", ".wh.a": "2"}, "a name of a plain tar was taken for a whiteout")


@test("image/attributes-from-tar")
def tar_attributes():
    """What a directory can hold only with luck: owners, devices, times, attributes with any bytes."""
    with room() as work:
        tar = archive(f"{work}/x.tar", [
            member("c", kind=tarfile.CHRTYPE, devmajor=4095, devminor=1048575, mode=0o620, uid=4294967294, gid=65536),
            member("b", kind=tarfile.BLKTYPE, devmajor=8, devminor=1), member("p", kind=tarfile.FIFOTYPE),
            member("early", b"x", mtime=-86400 * 365.25 * 100), member("late", b"x", mtime=2**33 + 0.5), member("setuid", b"x", mode=0o6755),
            member("caps", b"x", pax_headers={"SCHILY.xattr.security.capability": "\x01\x00", "SCHILY.xattr.user.empty": ""}),
            member("n" * 255 + "/" + "m" * 255, b"x")])
        tree = packed(f"{work}/image", tar).tree()
        got = tree[b"c"]
        check((got.rdev, got.mode, got.uid, got.gid) == ((4095, 1048575), 0o20620, 4294967294, 65536), f"{got.rdev} {got.mode:o} {got.uid} {got.gid}")
        check(tree[b"b"].rdev == (8, 1) and tree[b"p"].mode == 0o10644 and tree[b"setuid"].mode == 0o106755, "devices or modes")
        check(tree[b"early"].mtime == -3155760000 * 10**9 and tree[b"late"].mtime == (2**33) * 10**9 + 5 * 10**8, f"{tree[b'late'].mtime}")
        check(tree[b"caps"].xattrs == {"security.capability": b"\x01\x00", "user.empty": b""}, str(tree[b"caps"].xattrs))
        check(b"n" * 255 + b"/" + b"m" * 255 in tree, "a long name is not there")


# ---- what cannot be packed -------------------------------------------------------------------------------------------

def refused(work, *words, image="image", **kwargs):
    done = pack("-o", f"{work}/{image}", *words, **kwargs)
    lines = done.stderr.decode("utf-8", "replace").rstrip("\n").split("\n")
    check(done.status == 125 and len(lines) == 1 and lines[0].startswith("knarr: "), f"{done.status} {done.stderr!r}")
    left = [name for name in os.listdir(work) if name.startswith("image")]
    check(not left, f"{left} was left behind")
    return lines[0]


HOSTILE = {
    "dots": [member("../x", b"1")],
    "dots-inside": [member("a/../../x", b"1")],
    "link-outside": [hard("x", "../../etc/passwd")],
    "link-absolute": [hard("x", "/etc/passwd")],
    "link-to-directory": [member("d"), hard("x", "d")],
    "link-through-loop": [soft("a", "b"), soft("b", "a"), member("a/x", b"1")],
    "file-as-directory": [member("a", b"1"), member("a/b", b"2")],
    "file-as-root": [member("./", b"1", kind=tarfile.REGTYPE)],
    "name-too-long": [member("n" * 256, b"1")],
    "whiteout-of-nothing": [member(".wh.", b"")],
    "whiteout-of-self": [member("d/.wh..", b"")],
    "whiteout-of-parent": [member("d/.wh...", b"")],
    "device-number": [member("c", kind=tarfile.CHRTYPE, devmajor=4096)],
    "attribute-too-large": [member("a", b"1", pax_headers={"SCHILY.xattr.user.x": "v" * 65536})],
}


@test("image/hostile-archives")
def hostile():
    with room() as work:
        for name, members in HOSTILE.items():
            try:
                refused(work, "--layer", archive(f"{work}/x.tar", members))
            except Exception as problem:
                raise type(problem)(f"{name}: {problem}") from None
        huge = member("huge", b"")[0]
        huge.size = 1 << 60
        for size in [1 << 60, 1 << 40]:
            huge.size = size
            pathlib.Path(work, "x.tar").write_bytes(huge.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
            refused(work, f"{work}/x.tar")
        whole = pathlib.Path(archive(f"{work}/x.tar", [member("a", random.Random(1).randbytes(100000))])).read_bytes()
        for end in [100, 600, 50000]:
            pathlib.Path(work, "x.tar").write_bytes(whole[:end])
            refused(work, f"{work}/x.tar")
        for data in [b"", b"not an archive", bytes(600), os.urandom(4096)]:
            pathlib.Path(work, "x.tar").write_bytes(data)
            if data != bytes(600):
                refused(work, f"{work}/x.tar")


@test("image/errors")
def errors():
    """No line but one, nothing left behind, an older image as it was."""
    with room() as work:
        check("No such file" in refused(work, "/no/such/place"), "no reason")
        check("only one" in refused(work, "a", "b"), "no reason")
        refused(work)
        refused(work, "--layer")
        root = pathlib.Path(work, "root")
        root.mkdir()
        (root / "file").write_bytes(bytes(1 << 20))
        check("too large" in refused(work, root, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18))), "no reason")
        check("No such file" in refused(work, root, image="none/image"), "no reason")
        old = pathlib.Path(work, "old")
        old.write_text("old")
        tar = archive(f"{work}/x.tar", [member("../x", b"1")])
        check(pack("-o", old, tar).status == 125 and old.read_text() == "old", "an older image was lost")
        check(pack("-o", old, root).status == 0 and load(old).tree().keys() == {b"", b"file"}, "an older image stayed")
        check(pack("-o", "/dev/null", root).status == 125 and stat.S_ISCHR(os.stat("/dev/null").st_mode), "/dev/null was replaced")
        done = pack(root, cwd=work)
        check(done.status == 0 and os.path.exists(f"{work}/root.erofs"), f"no root.erofs: {tail(done.stderr)}")
        umask = os.umask(0)
        os.umask(umask)
        check(os.stat(f"{work}/root.erofs").st_mode & 0o777 == 0o666 & ~umask, "its mode")
