/*
 * The tree that an EROFS image is made from: names, inodes, extended attributes. Inside tools/erofs/ only.
 */
#pragma once

#include <sys/types.h>

#include "tools/erofs/writer.h"

/* An extended attribute: one structure for all inodes with the same name and value. */
struct xattr {
    uint8_t index; /* enum erofs_xattr_index: the name's prefix */
    uint8_t name_size;
    uint32_t value_size;
    uint32_t users;  /* inodes */
    uint32_t number; /* where it lies when it is shared, in units of four bytes */
    char bytes[];    /* the name's rest, the value */
};

/* A stretch of a sparse file that has data. */
struct extent {
    uint64_t offset, length;
};

/* A directory of the host, to find files again in. */
struct host_dir {
    struct host_dir *parent; /* NULL: the one that was asked for */
    char name[];
};

struct inode {
    uint32_t mode, uid, gid, rdev; /* rdev as the image has it */
    uint32_t nlink;                /* names in the tree */
    uint32_t mtime_nsec;
    int64_t mtime;
    uint64_t size;
    char *link; /* a symbolic link's target; or the bytes of a file that was made here */
    struct xattr **xattrs;
    struct extent *extents; /* of a sparse file */
    unsigned xattr_count, extent_count;
    bool sparse; /* all that is not in extents are holes */

    /* Where the bytes are: a file of the host, or a member of an archive. */
    struct host_dir *host_dir;
    char *host_name;
    struct source *source;
    uint64_t member; /* its number, or where its bytes are in the source's copy */

    /* Directories: the names below, by tsearch(3); a sorted list of them once the image is laid out. */
    void *children;
    struct node **entries;
    size_t entry_count;
    uint32_t subdirs;

    /* The layout. */
    uint64_t position;   /* of the inode, in bytes */
    uint64_t blocks;     /* of data that lie elsewhere */
    uint64_t next_block; /* of these, while they are given out; */
    uint32_t block;      /* the first */
    uint32_t tail;       /* bytes behind the inode */
    uint32_t xattr_size;
    uint32_t *chunks; /* a sparse file's block numbers */
    uint32_t chunk_count;
    uint8_t chunk_bits; /* a chunk has this power of two of blocks */
    bool extended, gathered;
};

struct node {
    struct node *parent; /* the root's is the root */
    struct inode *inode;
    unsigned layer; /* which of the archives brought it */
    char name[];
};

/* An archive that data will come from. */
struct source {
    struct source *next;
    const char *file;
    int fd;
    int copy; /* the bytes of a compressed archive's files, or -1: they are read from it again */
    uint64_t copied;
};

struct erofs_tree {
    struct node *root;
    unsigned layer; /* of what is being added */
    int host;       /* the directory's descriptor, or -1 */
    const char *host_name;
    void *xattrs; /* tsearch(3) */
    struct source *sources;

    struct inode **inodes; /* in the order of their places */
    size_t inode_count;
    int64_t build_time;
    uint32_t build_nsec;
    uint64_t xattr_start, xattr_end; /* the shared extended attributes, in bytes */
    uint64_t meta_blocks;            /* superblock, inodes, attributes */
    uint64_t entry_blocks;           /* these and the directories */
    uint64_t blocks;                 /* the image */
    bool chunked;
};

struct inode *inode_new(uint32_t mode);

/* The device number as the image has it; dies when it does not fit. path is for the message. */
uint32_t inode_rdev(uint64_t major, uint64_t minor, const char *path);

/* The child of that name, or NULL. */
struct node *node_find(const struct node *dir, const char *name);

/*
 * Puts an inode under a name, in place of what was there. Where both are directories they become one, with the new attributes and
 * what was in the old one; the new inode is gone then. Returns the node.
 */
struct node *node_put(struct erofs_tree *tree, struct node *dir, const char *name, struct inode *inode);

/* Removes a node of an earlier layer, or of it what is of earlier layers. contents: only what is below it. */
void node_hide(struct erofs_tree *tree, struct node *node, bool contents);

/*
 * The node of a normalized path (path_normalize), its parents' symbolic links followed inside the tree; the last component is not
 * followed. NULL when it is not there.
 */
struct node *tree_node_find(struct erofs_tree *tree, const char *path);

/*
 * The directory for a normalized path's last component, made when it is missing (not for make = false: NULL then); *name is
 * that component. NULL when something that is not a directory is in the way.
 */
struct node *tree_directory(struct erofs_tree *tree, const char *path, bool make, const char **name);

/* Adds an attribute, replacing one of that name. Attributes that EROFS has no name for are left out. path is for messages. */
void inode_set_xattr(struct erofs_tree *tree, struct inode *inode, const char *path, const char *name,
                     const void *value, size_t size);

/* The bytes that the inode's attributes take behind it: those that are shared count four each. */
uint32_t inode_xattr_size(const struct inode *inode);
/* Writes these bytes. */
void inode_xattr_put(const struct inode *inode, uint8_t *out);
/* Gives the attributes that several inodes have their places from a byte of the image on; writes them there. */
void xattrs_place(struct erofs_tree *tree, uint64_t start);
void xattrs_put(const struct erofs_tree *tree, uint8_t *image);

/* directory.c, tar.c: hand out the bytes of their files, in portions. */
struct sink {
    void (*put)(struct sink *sink, const struct inode *inode, uint64_t offset, const void *data, size_t size);
};
void directory_read(struct erofs_tree *tree, struct sink *sink);
void tar_read(struct erofs_tree *tree, struct source *source, struct sink *sink);

/* entries.c: a directory's bytes. */
uint64_t entries_size(const struct node *dir);
/* Calls put for each block; the last one may be shorter. */
void entries_write(const struct node *dir, void (*put)(void *arg, uint64_t offset, const uint8_t *block, size_t size),
                   void *arg);
