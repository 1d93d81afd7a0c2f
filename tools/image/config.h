/*
 * An image's configuration: what an OCI image says, and the options of `knarr build` over it, in /.knarr/image.json of the root; then
 * what `knarr run` makes of it.
 */
#pragma once

#include "tools/image/json.h"

#define CONFIG_DIRECTORY ".knarr"
#define CONFIG_FILE "image.json"

/* What the options of `knarr build` say; NULL and 0: nothing. */
struct config_options {
    const char *entrypoint, *cmd; /* a JSON array, or words as a shell splits them */
    const char *directory, *user, *stop_signal;
    struct strings environment, expose, volumes, labels;
    uint64_t memory;
    unsigned cpus;
};

/*
 * The image's configuration with the options in it. image: what an OCI image has, is taken over, or NULL. Dies when an option makes no
 * sense.
 */
json_t *config_make(json_t *image, const struct config_options *options);

/* What running an image needs of it. Empty lists, NULL and 0: the image says nothing. */
struct image_config {
    struct strings environment, entrypoint, cmd, ports, volumes;
    char *directory; /* absolute */
    char *user, *stop_signal;
    uint64_t memory;
    unsigned cpus;
};

/* Takes it out of a configuration, of which nothing is trusted. Dies when it cannot be used; name is for that message. */
struct image_config config_read(const json_t *image, const char *name);

/* Words as a POSIX shell splits them, without expansions; false: a quote is open. */
bool split_words(const char *text, struct strings *words);
