/*
 * Where everything lies in an EROFS image: the superblock, the inodes with their attributes and tails, the shared attributes, the
 * directories' blocks, then the files' data from page to page. The children of one directory lie side by side, so that listing it
 * reads few blocks. A tail goes behind its inode when the rest of some recent block has room for both.
 */
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/erofs/format.h"
#include "tools/erofs/tree.h"

enum {
    SLOT = 1 << EROFS_SLOT_BITS,
    TAIL_MOST = 3072,   /* a longer one saves little, and its page cannot be used in place */
    OPEN_BLOCKS = 16,   /* so many blocks with room left are looked at */
    CHUNKS_MOST = 4096, /* of one file: then its chunks are larger */
};

/* --- The order of inodes --- */

static void gather_entry(const void *visited, VISIT order, void *arg) {
    struct node *const *node = visited;
    struct inode *dir = arg;

    if (order == postorder || order == leaf)
        dir->entries[dir->entry_count++] = *node;
}

static void count_entry(const void *visited, VISIT order, void *arg) {
    if (order == postorder || order == leaf)
        ++*(size_t *)arg;
}

static void add_inode(struct erofs_tree *tree, struct inode *inode) {
    if (tree->inode_count % 1024 == 0)
        tree->inodes = xrealloc(tree->inodes, (tree->inode_count + 1024) * sizeof(struct inode *));
    tree->inodes[tree->inode_count++] = inode;
}

/* The children of a directory, then what is below them. */
static void gather(struct erofs_tree *tree, struct node *node) {
    struct inode *dir = node->inode;
    size_t count = 0;

    twalk_r(dir->children, count_entry, &count);
    dir->entries = xmalloc(count * sizeof(struct node *));
    twalk_r(dir->children, gather_entry, dir);
    for (size_t i = 0; i < count; i++) {
        struct inode *inode = dir->entries[i]->inode;
        if (!inode->gathered)
            add_inode(tree, inode);
        inode->gathered = true;
        dir->subdirs += S_ISDIR(inode->mode);
    }
    dir->size = entries_size(node);
    for (size_t i = 0; i < count; i++) {
        if (S_ISDIR(dir->entries[i]->inode->mode))
            gather(tree, dir->entries[i]);
    }
}

/* --- Times --- */

static int compare_times(const void *a, const void *b) {
    const struct inode *x = *(struct inode *const *)a, *y = *(struct inode *const *)b;

    if (x->mtime != y->mtime)
        return x->mtime < y->mtime ? -1 : 1;
    return x->mtime_nsec < y->mtime_nsec ? -1 : x->mtime_nsec > y->mtime_nsec;
}

/* The time that most inodes have is the image's: theirs need not be written. */
static void choose_build_time(struct erofs_tree *tree) {
    const char *given = getenv("SOURCE_DATE_EPOCH");
    struct inode **sorted = xmalloc(tree->inode_count * sizeof(struct inode *));
    size_t run = 0, most = 0;

    memcpy(sorted, tree->inodes, tree->inode_count * sizeof(struct inode *));
    qsort(sorted, tree->inode_count, sizeof(struct inode *), compare_times);
    for (size_t i = 0; i < tree->inode_count; i++) {
        run = i > 0 && compare_times(&sorted[i - 1], &sorted[i]) == 0 ? run + 1 : 1;
        if (run > most) {
            most = run;
            tree->build_time = sorted[i]->mtime;
            tree->build_nsec = sorted[i]->mtime_nsec;
        }
    }
    free(sorted);
    if (given && *given) {
        char *end;
        tree->build_time = strtoll(given, &end, 10);
        tree->build_nsec = 0;
        if (*end != '\0')
            die(STATUS_FAILED, "SOURCE_DATE_EPOCH=%s: not a number of seconds", given);
    }
}

static bool needs_extended(const struct erofs_tree *tree, const struct inode *inode) {
    return inode->mtime != tree->build_time || inode->mtime_nsec != tree->build_nsec || inode->uid > UINT16_MAX ||
           inode->gid > UINT16_MAX || inode->size > UINT32_MAX || inode->nlink > UINT16_MAX ||
           inode->subdirs > UINT16_MAX - 2;
}

/* --- Places in the metadata --- */

struct room {
    uint64_t end;               /* the first byte that nobody has */
    uint64_t open[OPEN_BLOCKS]; /* free places up to the end of their blocks; 0: none */
};

static uint64_t room_left(uint64_t position) { return -position % EROFS_BLOCK; }

/* Keeps a place for later, instead of the smallest one. */
static void room_keep(struct room *room, uint64_t position) {
    unsigned least = 0;

    for (unsigned i = 1; i < OPEN_BLOCKS; i++) {
        if (room_left(room->open[i]) < room_left(room->open[least]))
            least = i;
    }
    if (room_left(position) > room_left(room->open[least]))
        room->open[least] = position;
}

/* A place that does not cross the end of a block, unless it is larger than one. The tightest of the open ones is taken. */
static uint64_t room_take(struct room *room, uint64_t size) {
    unsigned best = OPEN_BLOCKS;

    size = (size + SLOT - 1) / SLOT * SLOT;
    for (unsigned i = 0; i < OPEN_BLOCKS; i++) {
        if (room_left(room->open[i]) >= size &&
            (best == OPEN_BLOCKS || room_left(room->open[i]) < room_left(room->open[best])))
            best = i;
    }
    if (best < OPEN_BLOCKS) {
        uint64_t position = room->open[best];
        room->open[best] = position + size;
        return position;
    }
    if (size > room_left(room->end) && room_left(room->end) > 0 && size <= EROFS_BLOCK) {
        room_keep(room, room->end);
        room->end += room_left(room->end);
    }
    uint64_t position = room->end;
    room->end += size;
    return position;
}

/* --- Data --- */

static uint64_t blocks_of(uint64_t size) { return size / EROFS_BLOCK + (size % EROFS_BLOCK != 0); }

static bool chunk_has_data(const struct inode *inode, uint64_t start, uint64_t size, unsigned *extent) {
    while (*extent < inode->extent_count && inode->extents[*extent].offset + inode->extents[*extent].length <= start)
        ++*extent;
    return *extent < inode->extent_count && inode->extents[*extent].offset < start + size;
}

/* A sparse file: chunks, as small as their number allows, of which some are not there. Their blocks are counted from 0 here. */
static void plan_chunks(struct erofs_tree *tree, struct inode *inode) {
    uint64_t size = EROFS_BLOCK;
    unsigned extent = 0;

    while (inode->size / size >= CHUNKS_MOST) {
        size *= 2;
        inode->chunk_bits++;
    }
    inode->chunk_count = (uint32_t)(inode->size / size + (inode->size % size != 0));
    inode->chunks = xmalloc(inode->chunk_count * sizeof(uint32_t));
    for (uint32_t i = 0; i < inode->chunk_count; i++) {
        uint64_t start = i * size, left = inode->size - start;
        inode->chunks[i] = EROFS_NO_BLOCK;
        if (chunk_has_data(inode, start, size, &extent)) {
            inode->chunks[i] = (uint32_t)inode->blocks;
            inode->blocks += blocks_of(left < size ? left : size);
            if (inode->blocks >= EROFS_NO_BLOCK)
                die(STATUS_FAILED, "a file of %ju bytes is too large for an EROFS image", (uintmax_t)inode->size);
        }
    }
    tree->chunked = true;
}

/* What of an inode lies behind it and what in blocks, and its place. */
static void place_inode(struct erofs_tree *tree, struct room *room, struct inode *inode) {
    bool has_data = S_ISREG(inode->mode) || S_ISDIR(inode->mode) || S_ISLNK(inode->mode);

    inode->extended = needs_extended(tree, inode);
    inode->xattr_size = inode_xattr_size(inode);
    if (inode->xattr_size > sizeof(struct erofs_xattr_header) + 4 * (UINT16_MAX - 1))
        die(STATUS_FAILED, "a file has %u bytes of extended attributes: too many for an EROFS image",
            inode->xattr_size);
    uint64_t size = (inode->extended ? sizeof(struct erofs_inode_extended) : sizeof(struct erofs_inode_compact)) +
                    inode->xattr_size;
    if (inode->sparse) {
        plan_chunks(tree, inode);
        size += inode->chunk_count * sizeof(uint32_t);
    } else if (has_data) {
        uint32_t tail = inode->size % EROFS_BLOCK;
        if (tail > 0 && size + tail <= EROFS_BLOCK && tail <= TAIL_MOST) {
            inode->tail = tail;
            size += tail;
        }
        inode->blocks = blocks_of(inode->size - inode->tail);
    }
    inode->position = room_take(room, size);
}

static void place_data(struct erofs_tree *tree, bool directories) {
    for (size_t i = 0; i < tree->inode_count; i++) {
        struct inode *inode = tree->inodes[i];
        if (S_ISDIR(inode->mode) != directories || inode->blocks == 0)
            continue;
        if (tree->blocks + inode->blocks >= EROFS_NO_BLOCK)
            die(STATUS_FAILED, "more than 16 TiB: too large for an EROFS image");
        inode->block = (uint32_t)tree->blocks;
        for (uint32_t chunk = 0; chunk < inode->chunk_count; chunk++) {
            if (inode->chunks[chunk] != EROFS_NO_BLOCK)
                inode->chunks[chunk] += inode->block;
        }
        tree->blocks += inode->blocks;
    }
}

uint64_t erofs_layout(struct erofs_tree *tree) {
    struct room room = {.end = EROFS_SUPER_OFFSET + sizeof(struct erofs_super)};

    add_inode(tree, tree->root->inode); /* first: its number must fit into 16 bits */
    gather(tree, tree->root);
    choose_build_time(tree);
    for (size_t i = 0; i < tree->inode_count; i++)
        place_inode(tree, &room, tree->inodes[i]);
    xattrs_place(tree, room.end);
    tree->meta_blocks = tree->blocks = blocks_of(tree->xattr_end);
    place_data(tree, true);
    tree->entry_blocks = tree->blocks;
    place_data(tree, false);
    return tree->blocks * EROFS_BLOCK;
}
