// What ext2, ext3 and ext4 look like on the disk, and the journal (jbd2) beside them. Everything but the journal is little-endian, as
// this machine is; the journal is big-endian. Sources: the Linux kernel's documentation "ext4 Data Structures and Algorithms".
#ifndef FS_EXT4_FORMAT_H
#define FS_EXT4_FORMAT_H

#include "kernel/types.h"

#define EXT4_MAGIC 0xef53
#define EXT4_SUPER_OFFSET 1024
#define EXT4_ROOT_INO 2
#define EXT4_JOURNAL_INO 8

struct ext4_disk_super {
    uint32_t inodes_count, blocks_count_lo, r_blocks_count_lo, free_blocks_count_lo;
    uint32_t free_inodes_count, first_data_block, log_block_size, log_cluster_size;
    uint32_t blocks_per_group, clusters_per_group, inodes_per_group, mtime;
    uint32_t wtime;
    uint16_t mnt_count, max_mnt_count, magic, state, errors, minor_rev_level;
    uint32_t lastcheck, checkinterval, creator_os, rev_level;
    uint16_t def_resuid, def_resgid;
    uint32_t first_ino;
    uint16_t inode_size, block_group_nr;
    uint32_t feature_compat, feature_incompat, feature_ro_compat;
    uint8_t uuid[16];
    char volume_name[16], last_mounted[64];
    uint32_t algorithm_usage_bitmap;
    uint8_t prealloc_blocks, prealloc_dir_blocks;
    uint16_t reserved_gdt_blocks;
    uint8_t journal_uuid[16];
    uint32_t journal_inum, journal_dev, last_orphan, hash_seed[4];
    uint8_t def_hash_version, jnl_backup_type;
    uint16_t desc_size;
    uint32_t default_mount_opts, first_meta_bg, mkfs_time, jnl_blocks[17];
    uint32_t blocks_count_hi, r_blocks_count_hi, free_blocks_count_hi;
    uint16_t min_extra_isize, want_extra_isize;
    uint32_t flags;
    uint16_t raid_stride, mmp_interval;
    uint64_t mmp_block;
    uint32_t raid_stripe_width;
    uint8_t log_groups_per_flex, checksum_type;
    uint16_t reserved_pad;
    uint64_t kbytes_written;
    uint32_t snapshot_inum, snapshot_id;
    uint64_t snapshot_r_blocks_count;
    uint32_t snapshot_list, error_count, first_error_time, first_error_ino;
    uint64_t first_error_block;
    uint8_t first_error_func[32];
    uint32_t first_error_line, last_error_time, last_error_ino, last_error_line;
    uint64_t last_error_block;
    uint8_t last_error_func[32], mount_opts[64];
    uint32_t usr_quota_inum, grp_quota_inum, overhead_clusters, backup_bgs[2];
    uint8_t encrypt_algos[4], encrypt_pw_salt[16];
    uint32_t lpf_ino, prj_quota_inum, checksum_seed;
    uint8_t hi_times[6], encodings[4];
    uint16_t pad0;
    uint32_t orphan_file_inum, reserved[94], checksum;
} PACKED;
_Static_assert(sizeof(struct ext4_disk_super) == 1024, "the superblock");
_Static_assert(offsetof(struct ext4_disk_super, uuid) == 0x68, "uuid");
_Static_assert(offsetof(struct ext4_disk_super, desc_size) == 0xfe, "descriptor size");
_Static_assert(offsetof(struct ext4_disk_super, blocks_count_hi) == 0x150, "high block count");
_Static_assert(offsetof(struct ext4_disk_super, error_count) == 0x194, "errors");
_Static_assert(offsetof(struct ext4_disk_super, checksum_seed) == 0x270, "checksum seed");
_Static_assert(offsetof(struct ext4_disk_super, orphan_file_inum) == 0x280, "orphan file");

#define EXT4_STATE_VALID 1
#define EXT4_STATE_ERROR 2
#define EXT4_FLAG_SIGNED_HASH 1
#define EXT4_FLAG_UNSIGNED_HASH 2

#define COMPAT_HAS_JOURNAL 4
#define COMPAT_EXT_ATTR 8
#define COMPAT_DIR_INDEX 0x20
#define COMPAT_ORPHAN_FILE 0x1000
#define INCOMPAT_FILETYPE 2
#define INCOMPAT_RECOVER 4
#define INCOMPAT_META_BG 0x10
#define INCOMPAT_EXTENTS 0x40
#define INCOMPAT_64BIT 0x80
#define INCOMPAT_FLEX_BG 0x200
#define INCOMPAT_CSUM_SEED 0x2000
#define RO_SPARSE_SUPER 1
#define RO_LARGE_FILE 2
#define RO_HUGE_FILE 8
#define RO_GDT_CSUM 0x10
#define RO_DIR_NLINK 0x20
#define RO_EXTRA_ISIZE 0x40
#define RO_METADATA_CSUM 0x400
#define RO_ORPHAN_PRESENT 0x10000

struct ext4_disk_group {
    uint32_t block_bitmap_lo, inode_bitmap_lo, inode_table_lo;
    uint16_t free_blocks_lo, free_inodes_lo, used_dirs_lo, flags;
    uint32_t exclude_bitmap_lo;
    uint16_t block_bitmap_csum_lo, inode_bitmap_csum_lo, itable_unused_lo, checksum;
    // With a descriptor size of 64:
    uint32_t block_bitmap_hi, inode_bitmap_hi, inode_table_hi;
    uint16_t free_blocks_hi, free_inodes_hi, used_dirs_hi, itable_unused_hi;
    uint32_t exclude_bitmap_hi;
    uint16_t block_bitmap_csum_hi, inode_bitmap_csum_hi;
    uint32_t reserved;
} PACKED;
_Static_assert(sizeof(struct ext4_disk_group) == 64, "a group's descriptor");
_Static_assert(offsetof(struct ext4_disk_group, checksum) == 0x1e, "its checksum");
#define GROUP_INODE_UNINIT 1
#define GROUP_BLOCK_UNINIT 2
#define GROUP_ITABLE_ZEROED 4

struct ext4_disk_inode {
    uint16_t mode, uid_lo;
    uint32_t size_lo, atime, ctime, mtime, dtime;
    uint16_t gid_lo, links;
    uint32_t blocks_lo, flags, version, block[15], generation, file_acl_lo, size_hi, obso_faddr;
    uint16_t blocks_hi, file_acl_hi, uid_hi, gid_hi, checksum_lo, reserved;
    // With an inode size above 128, as far as extra_isize says:
    uint16_t extra_isize, checksum_hi;
    uint32_t ctime_extra, mtime_extra, atime_extra, crtime, crtime_extra, version_hi, projid;
} PACKED;
_Static_assert(sizeof(struct ext4_disk_inode) == 160, "an inode's known part");
_Static_assert(offsetof(struct ext4_disk_inode, checksum_lo) == 0x7c, "an inode's checksum");
_Static_assert(offsetof(struct ext4_disk_inode, extra_isize) == 0x80, "the second part of an inode");
#define EXT4_GOOD_INODE_SIZE 128

#define EXT4_SYNC_FL 8
#define EXT4_IMMUTABLE_FL 0x10
#define EXT4_APPEND_FL 0x20
#define EXT4_NODUMP_FL 0x40
#define EXT4_NOATIME_FL 0x80
#define EXT4_ENCRYPT_FL 0x800
#define EXT4_INDEX_FL 0x1000
#define EXT4_DIRSYNC_FL 0x10000
#define EXT4_TOPDIR_FL 0x20000
#define EXT4_HUGE_FILE_FL 0x40000
#define EXT4_EXTENTS_FL 0x80000
#define EXT4_EA_INODE_FL 0x200000
#define EXT4_INLINE_DATA_FL 0x10000000
#define EXT4_USER_FLAGS                                                                                                \
    (EXT4_SYNC_FL | EXT4_IMMUTABLE_FL | EXT4_APPEND_FL | EXT4_NODUMP_FL | EXT4_NOATIME_FL | EXT4_DIRSYNC_FL |          \
     EXT4_TOPDIR_FL)
#define EXT4_INHERITED_FLAGS (EXT4_SYNC_FL | EXT4_NODUMP_FL | EXT4_NOATIME_FL | EXT4_DIRSYNC_FL)

struct ext4_extent_header {
    uint16_t magic, entries, max, depth;
    uint32_t generation;
} PACKED;
struct ext4_extent {
    uint32_t block;
    uint16_t len; // above 32768: unwritten, 32768 less
    uint16_t start_hi;
    uint32_t start_lo;
} PACKED;
struct ext4_extent_index {
    uint32_t block, leaf_lo;
    uint16_t leaf_hi, unused;
} PACKED;
_Static_assert(sizeof(struct ext4_extent) == 12 && sizeof(struct ext4_extent_index) == 12 &&
                   sizeof(struct ext4_extent_header) == 12,
               "extents");
#define EXT4_EXTENT_MAGIC 0xf30a
#define EXT4_EXTENT_MAX 32768 // blocks of a written one; an unwritten one has one less
#define EXT4_DEPTH_MAX 5

struct ext4_dirent {
    uint32_t inode;
    uint16_t rec_len;
    uint8_t name_len, file_type;
    char name[];
} PACKED;
#define EXT4_DIRENT_SIZE(name_len) (((name_len) + 8u + 3u) & ~3u)
struct ext4_dir_tail {
    uint32_t zero;
    uint16_t rec_len;
    uint8_t zero2, file_type;
    uint32_t checksum;
} PACKED;
_Static_assert(sizeof(struct ext4_dirent) == 8 && sizeof(struct ext4_dir_tail) == 12, "directory entries");
#define EXT4_DIR_TAIL_TYPE 0xde

struct ext4_dx_entry {
    uint32_t hash, block; // the first one's hash is struct ext4_dx_count
} PACKED;
struct ext4_dx_count {
    uint16_t limit, count;
} PACKED;
struct ext4_dx_root_info { // behind the entries "." and ".."
    uint32_t reserved;
    uint8_t hash_version, info_length, indirect_levels, unused_flags;
} PACKED;
struct ext4_dx_tail {
    uint32_t reserved, checksum;
} PACKED;

struct ext4_xattr_header {
    uint32_t magic, refcount, blocks, hash, checksum, reserved[3];
} PACKED;
struct ext4_xattr_entry {
    uint8_t name_len, name_index;
    uint16_t value_offs;
    uint32_t value_inum, value_size, hash;
    char name[];
} PACKED;
_Static_assert(sizeof(struct ext4_xattr_header) == 32 && sizeof(struct ext4_xattr_entry) == 16, "extended attributes");
#define EXT4_XATTR_MAGIC 0xea020000
#define EXT4_XATTR_REFCOUNT_MAX 1024
#define EXT4_XATTR_ENTRY_SIZE(name_len) (((name_len) + 16u + 3u) & ~3u)

#define EXT4_ORPHAN_FILE_MAGIC 0x0b10ca04

// --- The journal: big-endian ---
#define JOURNAL_MAGIC 0xc03b3998u
enum { JOURNAL_DESCRIPTOR = 1, JOURNAL_COMMIT, JOURNAL_SUPER_V1, JOURNAL_SUPER_V2, JOURNAL_REVOKE };
struct journal_header {
    uint32_t magic, type, sequence;
} PACKED;
struct journal_super {
    struct journal_header header;
    uint32_t block_size, max_len, first, sequence, start, error;
    uint32_t feature_compat, feature_incompat, feature_ro_compat;
    uint8_t uuid[16];
    uint32_t users_count, dynsuper, max_transaction, max_trans_data;
    uint8_t checksum_type, padding2[3];
    uint32_t fast_blocks, head, padding[40], checksum;
    uint8_t users[768];
} PACKED;
_Static_assert(sizeof(struct journal_super) == 1024 && offsetof(struct journal_super, checksum) == 0xfc,
               "the journal's superblock");
#define JOURNAL_COMPAT_CHECKSUM 1
#define JOURNAL_REVOKES 1
#define JOURNAL_64BIT 2
#define JOURNAL_ASYNC_COMMIT 4
#define JOURNAL_CSUM_V2 8
#define JOURNAL_CSUM_V3 16
struct journal_tag {
    uint32_t block;
    uint16_t checksum, flags;
    uint32_t block_hi;
} PACKED;
struct journal_tag3 {
    uint32_t block, flags, block_hi, checksum;
} PACKED;
#define JOURNAL_TAG_ESCAPE 1
#define JOURNAL_TAG_SAME_UUID 2
#define JOURNAL_TAG_DELETED 4
#define JOURNAL_TAG_LAST 8
struct journal_commit {
    struct journal_header header;
    uint8_t checksum_type, checksum_size, padding[2];
    uint32_t checksum[8];
    uint64_t seconds;
    uint32_t nanoseconds;
} PACKED;
struct journal_revoke {
    struct journal_header header;
    uint32_t count; // bytes used, with this header
} PACKED;
_Static_assert(sizeof(struct journal_tag3) == 16 && sizeof(struct journal_revoke) == 16, "the journal's records");

#endif
