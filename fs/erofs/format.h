// EROFS as it lies on the disk: shared by the reader (fs/erofs/) and the host's writer (tools/erofs/). All numbers are little endian, as
// the machines are that this runs on. Only what an uncompressed image on one device needs; the rest is refused by its feature bit.
//
// An image: 1024 bytes for boot code, the superblock, and then blocks in any order. Inodes lie in slots of 32 bytes from the block
// `meta_block` on; their number (nid) is the slot's. Behind an inode come its extended attributes, and then, at once, the tail of
// the data (EROFS_INLINE), which does not cross the end of a block, or, at a multiple of their size, the chunk indexes. Inodes and attributes
// may cross it. Directories are files of blocks: in each first the entries, sorted by name, then the names; the last name of a
// block ends at a NUL or at the block's (the file's) end. From block to block the names go on in order.
#ifndef FS_EROFS_FORMAT_H
#define FS_EROFS_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define EROFS_MAGIC 0xe0f5e1e2u
#define EROFS_SUPER_OFFSET 1024u
#define EROFS_BLOCK_BITS_MIN 9
#define EROFS_BLOCK_BITS_MAX 12 // what this reader takes; the format knows larger ones
#define EROFS_SLOT_BITS 5       // inodes are counted in units of 32 bytes
#define EROFS_NAME_MAX 255

// erofs_super.compatible: a reader that does not know these may go on.
#define EROFS_COMPAT_CHECKSUM 0x1u     // `checksum` is there
#define EROFS_COMPAT_MTIME 0x2u        // the times are those of modification (else of attribute changes)
#define EROFS_COMPAT_XATTR_FILTER 0x4u // erofs_xattr_header.name_filter is there

// erofs_super.incompatible: a reader that does not know these must stop.
#define EROFS_INCOMPAT_ZERO_PADDING 0x1u    // LZ4 at the end of its block
#define EROFS_INCOMPAT_COMPRESSION 0x2u     // compression configurations, big physical clusters
#define EROFS_INCOMPAT_CHUNKS 0x4u          // EROFS_CHUNKS is used
#define EROFS_INCOMPAT_DEVICES 0x8u         // a table of more devices; a second compression algorithm
#define EROFS_INCOMPAT_TAIL_PACKING 0x10u   // of compressed data
#define EROFS_INCOMPAT_FRAGMENTS 0x20u      // a packed inode; deduplication
#define EROFS_INCOMPAT_XATTR_PREFIXES 0x40u // long prefixes of attribute names
#define EROFS_INCOMPAT_48BIT 0x80u          // block numbers of 48 bits
#define EROFS_INCOMPAT_METABOX 0x100u       // metadata inside an inode

struct erofs_super { // at EROFS_SUPER_OFFSET
    uint32_t magic;
    // EROFS_COMPAT_CHECKSUM: CRC-32C (start ~0, not inverted at the end) with this field zero, from the superblock's start to the end
    // of its block; of one whole block size when blocks have 1024 bytes or less.
    uint32_t checksum;
    uint32_t compatible;
    uint8_t block_bits;
    uint8_t extra_slots; // the superblock is longer by this many times 16 bytes
    uint16_t root_nid;
    uint64_t inodes;     // how many
    uint64_t build_time; // of all compact inodes
    uint32_t build_time_nsec;
    uint32_t blocks; // of the whole image
    uint32_t meta_block;
    uint32_t xattr_block; // of the shared extended attributes
    uint8_t uuid[16];
    char volume_name[16];
    uint32_t incompatible;
    uint16_t compression;
    uint16_t extra_devices;
    uint16_t device_slot;
    uint8_t dir_block_bits; // directory blocks are larger by this shift; always 0
    uint8_t xattr_prefix_count;
    uint32_t xattr_prefix_start;
    uint64_t packed_nid;
    uint8_t xattr_filter_reserved;
    uint8_t reserved[23];
};
_Static_assert(sizeof(struct erofs_super) == 128, "format");
_Static_assert(offsetof(struct erofs_super, blocks) == 36 && offsetof(struct erofs_super, incompatible) == 80 &&
                   offsetof(struct erofs_super, packed_nid) == 96,
               "format");

// `format` of an inode: bit 0 says extended, bits 1 to 3 how the data lies.
#define EROFS_FORMAT_EXTENDED 1u
#define EROFS_FORMAT_LAYOUT(format) (((format) >> 1) & 7u)
#define EROFS_FORMAT(layout, extended) ((uint16_t)((layout) << 1 | (extended)))
#define EROFS_FORMAT_KNOWN 0xfu
enum erofs_layout {
    EROFS_PLAIN = 0, // whole blocks from u.block on
    EROFS_COMPRESSED = 1,
    EROFS_INLINE = 2, // whole blocks from u.block on; the last, partial one behind the inode and its attributes
    EROFS_COMPRESSED_COMPACT = 3,
    EROFS_CHUNKS = 4, // u.chunks: behind the inode and its attributes a block number for each chunk
};
#define EROFS_NO_BLOCK 0xffffffffu // a chunk that is a hole; the block of an inode without whole blocks

// u.chunks.format
#define EROFS_CHUNK_BITS 0x1fu // a chunk has this power of two of blocks
#define EROFS_CHUNK_INDEXES                                                                                            \
    0x20u // struct erofs_chunk each, at a multiple of 8; else a 32-bit block number, at a multiple of 4
#define EROFS_CHUNK_KNOWN 0x3fu

union erofs_inode_data {
    uint32_t block; // regular files, directories, symbolic links
    uint32_t rdev;  // devices: bits 0-7 and 20-31 the minor, 8-19 the major number, as Linux' new_encode_dev
    struct {
        uint16_t format, reserved;
    } chunks;
};
_Static_assert(sizeof(union erofs_inode_data) == 4, "format");

struct erofs_inode_compact {
    uint16_t format;
    uint16_t
        xattr_count; // 0: no attributes; else these take sizeof(struct erofs_xattr_header) + 4 * (xattr_count - 1) bytes
    uint16_t mode;   // as st_mode
    uint16_t nlink;
    uint32_t size;
    uint32_t mtime; // seconds after erofs_super.build_time; 0 from older writers
    union erofs_inode_data u;
    uint32_t ino; // what a 32-bit program sees
    uint16_t uid, gid;
    uint32_t reserved;
};
_Static_assert(sizeof(struct erofs_inode_compact) == 32, "format");

struct erofs_inode_extended {
    uint16_t format;
    uint16_t xattr_count;
    uint16_t mode;
    uint16_t reserved;
    uint64_t size;
    union erofs_inode_data u;
    uint32_t ino;
    uint32_t uid, gid;
    uint64_t mtime;
    uint32_t mtime_nsec;
    uint32_t nlink;
    uint8_t reserved2[16];
};
_Static_assert(sizeof(struct erofs_inode_extended) == 64, "format");
_Static_assert(offsetof(struct erofs_inode_extended, mtime) == 32, "format");

struct erofs_chunk {
    uint16_t block_high; // with EROFS_INCOMPAT_48BIT; else 0
    uint16_t device;     // 0: this one
    uint32_t block;
};
_Static_assert(sizeof(struct erofs_chunk) == 8, "format");

struct erofs_dirent {
    uint64_t nid;
    uint16_t name_offset; // in the directory block; that of the first entry tells how many there are
    uint8_t type;         // EROFS_FT_*
    uint8_t reserved;
} __attribute__((packed)); // 12 bytes, at multiples of 4
_Static_assert(sizeof(struct erofs_dirent) == 12, "format");

enum erofs_file_type {
    EROFS_FT_UNKNOWN,
    EROFS_FT_REGULAR,
    EROFS_FT_DIRECTORY,
    EROFS_FT_CHARACTER,
    EROFS_FT_BLOCK,
    EROFS_FT_FIFO,
    EROFS_FT_SOCKET,
    EROFS_FT_SYMLINK,
};

// Behind the inode, when it has attributes: the header, `shared_count` numbers of shared attributes (32 bits each, in units of 4 bytes
// from the start of xattr_block), then the inode's own entries.
struct erofs_xattr_header {
    uint32_t name_filter; // a bit 1 means that no attribute has a name with this hash; 0 where the feature is not used
    uint8_t shared_count;
    uint8_t reserved[7];
};
_Static_assert(sizeof(struct erofs_xattr_header) == 12, "format");

struct erofs_xattr_entry { // then the name without its prefix, then the value; the next one at a multiple of 4
    uint8_t name_len;
    uint8_t name_index; // EROFS_XATTR_*; bit 7: a long prefix
    uint16_t value_size;
};
_Static_assert(sizeof(struct erofs_xattr_entry) == 4, "format");

enum erofs_xattr_index {
    EROFS_XATTR_USER = 1,
    EROFS_XATTR_ACL_ACCESS = 2,  // "system.posix_acl_access", the rest is empty
    EROFS_XATTR_ACL_DEFAULT = 3, // "system.posix_acl_default"
    EROFS_XATTR_TRUSTED = 4,
    EROFS_XATTR_LUSTRE = 5,
    EROFS_XATTR_SECURITY = 6,
};
#define EROFS_XATTR_LONG_PREFIX 0x80u

#endif
