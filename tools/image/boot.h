/*
 * What tells the kernel of an image that boots by itself what to run: .knarr/config (docs/boot-protocol.md) in an archive.
 */
#pragma once

#include "tools/erofs/reader.h"
#include "tools/image/json.h"
#include "tools/image/user.h"

/* The archive, allocated. source: where the root is, as in root=erofs SOURCE. Dies when the configuration makes no sense. */
char *boot_config(const json_t *config, const struct erofs_image *root, const char *source, size_t *size);

/* Whom the image's /etc/passwd and /etc/group (root NULL: there are none) mean; dies when they know no such user. */
struct user boot_user(const struct erofs_image *root, const char *text, const char *name);
