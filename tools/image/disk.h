/*
 * Knarr's image (docs/build.md): a disk with a GUID partition table, GRUB for BIOS and UEFI, the kernel, and the root filesystem.
 */
#pragma once

#include "tools/erofs/reader.h"
#include "tools/erofs/writer.h"
#include "tools/image/json.h"

#define DISK_ROOT "knarr-root"

/* Writes the image of a tree that was not laid out yet, with its configuration in it, into an empty file. Dies when it cannot. */
void disk_write(int fd, struct erofs_tree *tree, const json_t *config, const char *kernel, const char *name);

/* Writes kernel, initrd and command line as files of an existing directory. */
void disk_write_parts(int directory, struct erofs_tree *tree, const json_t *config, const char *kernel);

/* Adds the footer that makes a fixed VHD of a disk (Microsoft's Virtual Hard Disk Image Format Specification). */
void disk_add_vhd_footer(int fd, const char *name);

/*
 * Opens the root of an image. False: the file is no image of Knarr's; dies when it is a damaged one. *config becomes the text of its
 * configuration (allocated).
 */
bool disk_open(int fd, const char *name, struct erofs_image *root, char **config);
