"""A reader of EROFS images of its own, to judge what `knarr pack` writes: everything that it does not know fails."""
import struct

from harness import check

BLOCK = 4096
PREFIXES = {1: "user.", 2: "system.posix_acl_access", 3: "system.posix_acl_default", 4: "trusted.", 6: "security."}
TYPES = {1: 0o100000, 2: 0o040000, 3: 0o020000, 4: 0o060000, 5: 0o010000, 6: 0o140000, 7: 0o120000}


class Inode:
    """mode, uid, gid, nlink, size, mtime (ns), rdev (major, minor), xattrs; read(offset, size) gives bytes."""

    def __init__(self, image, nid):
        at = image.meta + nid * 32
        self.image, self.nid = image, nid
        self.format, icount, self.mode = struct.unpack_from("<HHH", image.data, at)
        check(self.format & ~0xF == 0, f"inode {nid}: format {self.format:#x}")
        self.layout = self.format >> 1 & 7
        check(self.layout in (0, 2, 4), f"inode {nid}: layout {self.layout}")
        if self.format & 1:
            self.size, u, self.ino, self.uid, self.gid, seconds, nanoseconds, self.nlink = struct.unpack_from(
                "<QIIIIqII", image.data, at + 8)
            self.mtime = seconds * 10**9 + nanoseconds
            at += 64
        else:
            self.nlink, self.size, _, u, self.ino, self.uid, self.gid = struct.unpack_from("<HIIIIHH", image.data, at + 6)
            self.mtime = image.time
            at += 32
        self.u = u
        self.rdev = (u >> 8 & 0xFFF, u & 0xFF | u >> 12 & 0xFFF00) if self.mode & 0o170000 in (0o020000, 0o060000) else None
        self.xattrs = {}
        if icount:
            self.read_xattrs(at, 12 + 4 * (icount - 1))
            at += 12 + 4 * (icount - 1)
        self.behind = at
        if self.layout == 2:
            check(at // BLOCK == (at + self.size % BLOCK - 1) // BLOCK, f"inode {nid}: its tail crosses the end of a block")

    def read_xattrs(self, at, size):
        end, shared = at + size, self.image.data[at + 4]
        for i in range(shared):
            number = struct.unpack_from("<I", self.image.data, at + 12 + 4 * i)[0]
            self.read_xattr(self.image.xattrs + 4 * number)
        at += 12 + 4 * shared
        while at < end:
            at = self.read_xattr(at)
        check(at == end, f"inode {self.nid}: attributes end at {at}, not {end}")

    def read_xattr(self, at):
        name_size, index, value_size = struct.unpack_from("<BBH", self.image.data, at)
        at += 4
        name = PREFIXES[index] + bytes(self.image.data[at:at + name_size]).decode("utf-8", "surrogateescape")
        check(name not in self.xattrs, f"inode {self.nid}: {name} twice")
        self.xattrs[name] = bytes(self.image.data[at + name_size:at + name_size + value_size])
        return at + (name_size + value_size + 3) // 4 * 4

    def place(self, number):
        """The byte where a block of the file lies, None for a hole."""
        if self.layout == 4:
            check(self.u & ~0x1F == 0, f"inode {self.nid}: chunk format {self.u:#x}")
            bits = self.u & 0x1F
            block = struct.unpack_from("<I", self.image.data, self.behind + 4 * (number >> bits))[0]
            return None if block == 0xFFFFFFFF else (block + (number & (1 << bits) - 1)) * BLOCK
        if self.layout == 2 and number == self.size // BLOCK:
            return self.behind
        return (self.u + number) * BLOCK

    def blocks(self):
        for number in range((self.size + BLOCK - 1) // BLOCK):
            length = min(BLOCK, self.size - number * BLOCK)
            place = self.place(number)
            if place is None:
                yield bytes(length)
            else:
                check(place + length <= len(self.image.data), f"inode {self.nid}: data behind the image's end")
                yield bytes(self.image.data[place:place + length])

    def content(self):
        return b"".join(self.blocks())

    def read(self, offset, size):
        """Within one block."""
        place = self.place(offset // BLOCK)
        return bytes(size) if place is None else bytes(self.image.data[place + offset % BLOCK:place + offset % BLOCK + size])

    def entries(self):
        """name -> (nid, type), with the order checked."""
        found, last = {}, b""
        for block in self.blocks():
            count = struct.unpack_from("<H", block, 8)[0] // 12
            heads = [struct.unpack_from("<QHBB", block, 12 * i) for i in range(count)]
            for i, (nid, start, kind, _) in enumerate(heads):
                name = block[start:heads[i + 1][1] if i + 1 < count else len(block)].split(b"\0")[0]
                check(name > last, f"directory {self.nid}: {name} behind {last}")
                last, found[name] = name, (nid, kind)
        return found


class Image:
    def __init__(self, data):
        self.data = memoryview(data)
        (magic, _, compatible, bits, extra, root, self.inodes, seconds, nanoseconds, blocks, meta, xattrs) = struct.unpack_from(
            "<IIIBBHQqIIII", self.data, 1024)
        check(magic == 0xE0F5E1E2 and bits == 12 and extra == 0, "not an EROFS image with blocks of 4 KiB")
        check(compatible & 3 == 3, f"features {compatible:#x}: no checksum or change times")
        check(blocks * BLOCK == len(self.data), f"{blocks} blocks in {len(self.data)} bytes")
        self.meta, self.xattrs, self.time = meta * BLOCK, xattrs * BLOCK, seconds * 10**9 + nanoseconds
        self.root = Inode(self, root)

    def tree(self):
        """path -> Inode for all names; the same object for the names of one inode."""
        found, inodes = {b"": self.root}, {self.root.nid: self.root}
        todo = [(b"", self.root, self.root.nid)]
        while todo:
            path, directory, parent = todo.pop()
            entries = directory.entries()
            check(entries.pop(b".")[0] == directory.nid, f"{path}: \".\" is another directory")
            check(entries.pop(b"..")[0] == parent, f"{path}: \"..\" is another directory")
            for name, (nid, kind) in entries.items():
                inode = inodes.setdefault(nid, None) or Inode(self, nid)
                inodes[nid] = inode
                check(inode.mode & 0o170000 == TYPES[kind], f"{path}/{name}: type {kind}, mode {inode.mode:o}")
                below = path + b"/" + name if path else name
                found[below] = inode
                if kind == 2:
                    todo.append((below, inode, directory.nid))
        check(len(inodes) == self.inodes, f"{len(inodes)} inodes, the superblock says {self.inodes}")
        return found
