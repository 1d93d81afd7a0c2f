/*
 * Writes EROFS images (docs/images.md; the format: fs/erofs/format.h). A tree is gathered from a directory, a tar archive or
 * layers of an OCI image; then laid out; then written, the files' bytes streamed from where they lie. The same input gives the
 * same bytes. What cannot be read, understood or written ends the program with one line and STATUS_FAILED.
 */
#pragma once

#include "tools/common.h"

enum { EROFS_BLOCK = 4096 };

struct erofs_tree;

struct erofs_tree *erofs_tree_new(void); /* an empty root */
void erofs_tree_free(struct erofs_tree *tree);

/*
 * The directory's content with owners, modes, times, extended attributes and hard links, as the caller may see them; symbolic links
 * are never followed. The root gets the directory's own attributes and may be entered by everybody.
 */
void erofs_add_directory(struct erofs_tree *tree, const char *directory);

/*
 * A tar archive in any compression, as fd_open_input() (tools/archive.h) gave it; file is its name in messages. fd stays the
 * tree's. A layer's whiteouts (.wh.NAME, .wh..wh..opq) remove what earlier archives had.
 */
void erofs_add_tar(struct erofs_tree *tree, int fd, const char *file, bool layer);

/*
 * A file of these bytes (copied), of root; an earlier one of that name goes, and directories are made where there are none. path is
 * normalized (path_normalize). Dies when a file is in the way.
 */
void erofs_add_file(struct erofs_tree *tree, const char *path, uint32_t mode, const void *data, size_t size);

/* A directory of root, mode 0755, where there is nothing of that path yet. A file in the way is left there. */
void erofs_add_missing_directory(struct erofs_tree *tree, const char *path);

/* Removes what has that path, with all below it. */
void erofs_remove(struct erofs_tree *tree, const char *path);

/* Decides where everything lies. Returns the image's size, a multiple of EROFS_BLOCK. Nothing can be added afterwards. */
uint64_t erofs_layout(struct erofs_tree *tree);

/*
 * Writes the image at an offset (a multiple of EROFS_BLOCK) of a file that may be read, too, and has only zeros or nothing from there
 * on. name is the file's in messages.
 */
void erofs_write(struct erofs_tree *tree, int fd, uint64_t at, const char *name);
