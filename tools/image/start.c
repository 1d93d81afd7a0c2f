/*
 * Running an image; see the header.
 */
#include "tools/image/start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/image/boot.h"
#include "tools/image/config.h"
#include "tools/image/disk.h"
#include "tools/signals.h"

/* As docker: the entrypoint and behind it the words of the command line, or the image's command. */
static void set_arguments(struct run_options *options, struct image_config *image, const char *name) {
    char **words = options->argv + 1;
    struct strings *all = &image->entrypoint;

    if (options->entrypoint) {
        *all = (struct strings){0};
        if (*options->entrypoint)
            strings_add(all, "%s", options->entrypoint);
    }
    if (!*words && !options->entrypoint)
        words = image->cmd.item;
    for (; words && *words; words++)
        strings_add(all, "%s", *words);
    if (all->count == 0)
        die(STATUS_FAILED, "%s says no program: which one?", name);
    options->argv = all->item;
}

bool start_image(struct run_options *options, struct root *root) {
    const char *name = options->argv[0];
    char *text;

    if (options->root)
        return false;
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    *root = (struct root){.kind = ROOT_IMAGE, .fd = fd, .is_disk = true, .source = "PARTLABEL=" DISK_ROOT};
    if (!disk_open(fd, name, &root->image, &text)) {
        close(fd);
        return false;
    }
    root->size = root->image.size;
    root->path = realpath(name, NULL);
    if (!root->path)
        die(STATUS_FAILED, "%s: %s", name, strerror(errno));
    json_t *json = json_parse(text, strlen(text), name);
    struct image_config image = config_read(json, name);
    json_decref(json);
    free(text);

    options->is_image = true;
    options->root = root->path;
    set_arguments(options, &image, name);
    options->memory = options->memory ? options->memory : image.memory;
    options->cpus = options->cpus ? options->cpus : image.cpus;
    options->directory = options->directory ? options->directory : image.directory;
    options->user = options->user ? options->user : image.user;
    if (!options->stop_signal && image.stop_signal)
        options->stop_signal = parse_signal(image.stop_signal);
    struct user user = boot_user(&root->image, options->user, name);
    options_complete(options, &image.environment, user.home ? user.home : "/");
    free(user.home);
    free(user.groups);
    return true;
}

void start_user(struct run_options *options, const struct root *root) {
    if (!options->user)
        return;
    struct user user = boot_user(root->kind == ROOT_IMAGE ? &root->image : NULL, options->user, "-u");

    options->user_ids = user_record(&user);
    free(user.home);
    free(user.groups);
}
