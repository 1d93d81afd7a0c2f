/*
 * The bytes of an EROFS directory: blocks of entries and names, sorted across all of them, "." and ".." in their places.
 */
#include <string.h>
#include <sys/stat.h>

#include "fs/erofs/format.h"
#include "tools/erofs/tree.h"

/* Goes over all names in their order. */
struct cursor {
    const struct node *dir;
    size_t next; /* of inode->entries */
    bool self, parent;
};

struct entry {
    const char *name;
    size_t length;
    const struct inode *inode;
};

static bool cursor_next(struct cursor *cursor, struct entry *entry) {
    const struct inode *dir = cursor->dir->inode;
    const struct node *child = cursor->next < dir->entry_count ? dir->entries[cursor->next] : NULL;

    if (!cursor->self && (!child || strcmp(".", child->name) < 0)) {
        cursor->self = true;
        *entry = (struct entry){".", 1, dir};
    } else if (cursor->self && !cursor->parent && (!child || strcmp("..", child->name) < 0)) {
        cursor->parent = true;
        *entry = (struct entry){"..", 2, cursor->dir->parent->inode};
    } else if (child) {
        cursor->next++;
        *entry = (struct entry){child->name, strlen(child->name), child->inode};
    } else {
        return false;
    }
    return true;
}

/* How many entries fit into the block that begins here, and how many bytes of it they use. */
static size_t block_fill(struct cursor cursor, size_t *used) {
    struct entry entry;
    size_t count = 0;

    *used = 0;
    while (cursor_next(&cursor, &entry)) {
        size_t more = sizeof(struct erofs_dirent) + entry.length;
        if (*used + more > EROFS_BLOCK)
            break;
        *used += more;
        count++;
    }
    return count;
}

uint64_t entries_size(const struct node *dir) {
    struct cursor cursor = {.dir = dir};
    struct entry entry;
    uint64_t size = 0;
    size_t used = 0;

    while (cursor_next(&cursor, &entry)) {
        size_t more = sizeof(struct erofs_dirent) + entry.length;
        if (used + more > EROFS_BLOCK) {
            size += EROFS_BLOCK;
            used = 0;
        }
        used += more;
    }
    return size + used;
}

static uint8_t file_type(uint32_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG: return EROFS_FT_REGULAR;
    case S_IFDIR: return EROFS_FT_DIRECTORY;
    case S_IFCHR: return EROFS_FT_CHARACTER;
    case S_IFBLK: return EROFS_FT_BLOCK;
    case S_IFIFO: return EROFS_FT_FIFO;
    case S_IFSOCK: return EROFS_FT_SOCKET;
    default: return EROFS_FT_SYMLINK;
    }
}

void entries_write(const struct node *dir, void (*put)(void *arg, uint64_t offset, const uint8_t *block, size_t size),
                   void *arg) {
    struct cursor cursor = {.dir = dir};
    uint8_t block[EROFS_BLOCK];
    size_t used, count;

    for (uint64_t offset = 0; (count = block_fill(cursor, &used)) > 0; offset += EROFS_BLOCK) {
        size_t name = count * sizeof(struct erofs_dirent);
        memset(block, 0, sizeof(block));
        for (size_t i = 0; i < count; i++) {
            struct entry entry;
            cursor_next(&cursor, &entry);
            struct erofs_dirent dirent = {.nid = entry.inode->position >> EROFS_SLOT_BITS,
                                          .name_offset = (uint16_t)name,
                                          .type = file_type(entry.inode->mode)};
            memcpy(block + i * sizeof(dirent), &dirent, sizeof(dirent));
            memcpy(block + name, entry.name, entry.length);
            name += entry.length;
        }
        put(arg, offset, block, used);
    }
}
