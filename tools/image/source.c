/*
 * Sources of images; see the header. Whatever the way, it ends with layers in the tree; registries and Dockerfiles become an OCI layout
 * in a temporary directory first, made by those programs that do that for everybody.
 */
#include "tools/image/source.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/archive.h"
#include "tools/image/command.h"
#include "tools/image/oci.h"
#include "tools/image/progress.h"
#include "tools/initrd.h"

/* FILE:TAG: the file may have colons in its name, too; the shortest that is there counts. *tag becomes NULL without one. */
static char *split_tag(const char *text, const char **tag) {
    struct stat status;

    *tag = NULL;
    if (lstat(text, &status) == 0)
        return xstrdup(text);
    for (const char *colon = strchr(text, ':'); colon; colon = strchr(colon + 1, ':')) {
        char *file = xasprintf("%.*s", (int)(colon - text), text);
        if (*file && lstat(file, &status) == 0) {
            *tag = colon + 1;
            return file;
        }
        free(file);
    }
    return xstrdup(text);
}

static json_t *add_image(struct erofs_tree *tree, struct image image, const struct source_options *options) {
    size_t from_cache = 0;
    bool cached;

    for (size_t i = 0; i < image.layer_count; i++) {
        struct layer *layer = &image.layers[i];
        const char *size = layer->blob.text[0] ? layer->blob.text : layer->diff_id.text;
        progress_step("layer %zu of %zu, %.19s", i + 1, image.layer_count, size);
        int fd = layer_open(image.store, layer, options->use_cache, &cached);
        from_cache += cached;
        erofs_add_tar(tree, fd, xasprintf("%s: %s", store_name(image.store), layer->name), true);
    }
    if (from_cache > 0 && !options->quiet && isatty(STDERR_FILENO))
        progress_step("%zu of %zu layers were in the cache", from_cache, image.layer_count);
    json_t *config = json_incref(image.config);
    image_close(&image);
    return config;
}

static json_t *add_layout(struct erofs_tree *tree, const char *directory, const char *tag,
                          const struct source_options *options) {
    return add_image(tree, oci_read(store_of_directory(directory), tag), options);
}

/* --- Other programs --- */

static void run(const struct source_options *options, const char *package, const char *const *words) {
    struct command command = {.package = package, .shown = !options->quiet && isatty(STDERR_FILENO)};

    progress_end();
    for (; *words; words++) {
        if (**words)
            strings_add(&command.words, "%s", *words);
    }
    command_run(&command);
}

static json_t *add_registry(struct erofs_tree *tree, const char *source, const struct source_options *options) {
    const char *layout = xasprintf("%s/layout", temporary_directory());
    char *target = xasprintf("oci:%s:knarr", layout);

    progress_step("fetching %s", source);
    run(options, "skopeo",
        (const char *const[]){"skopeo", "--override-os", "linux", "--override-arch", "amd64", "copy",
                              options->insecure ? "--src-tls-verify=false" : "", source, target, NULL});
    free(target);
    return add_layout(tree, layout, NULL, options);
}

static json_t *add_dockerfile(struct erofs_tree *tree, const char *directory, const struct source_options *options) {
    const char *place = temporary_directory(), *layout = xasprintf("%s/layout", place);
    char *id_file = xasprintf("%s/id", place), *target = xasprintf("oci:%s:knarr", layout), id[256] = "";
    struct stat status;

    if (stat(directory, &status) != 0 || !S_ISDIR(status.st_mode))
        die(STATUS_FAILED, "dockerfile:%s: not a directory", directory);
    progress_step("building %s", directory);
    run(options, "buildah",
        (const char *const[]){"buildah", "build", "--layers", "--platform=linux/amd64", "--iidfile", id_file, directory,
                              NULL});
    int fd = open(id_file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, id, sizeof(id) - 1) <= 0)
        die(STATUS_FAILED, "buildah said nothing of what it built");
    close(fd);
    id[strcspn(id, "\n")] = '\0';
    run(options, "buildah", (const char *const[]){"buildah", "push", "--format", "oci", id, target, NULL});
    free(id_file);
    free(target);
    return add_layout(tree, layout, NULL, options);
}

/* --- Without a configuration --- */

static bool is_elf(const char *file) {
    char magic[SELFMAG] = "";
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool elf = fd >= 0 && read(fd, magic, SELFMAG) == SELFMAG && memcmp(magic, ELFMAG, SELFMAG) == 0;

    if (fd >= 0)
        close(fd);
    return elf;
}

/* The program with its libraries; it is the image's entrypoint. */
static json_t *add_program(struct erofs_tree *tree, const char *file) {
    char *path, *argv[] = {strchr(file, '/') ? xstrdup(file) : xasprintf("./%s", file), NULL};
    struct run_options options = {.argv = argv, .directory = "/"};
    struct strings entrypoint = {0};
    json_t *image = json_object(), *config = json_object();

    erofs_add_tar(tree, initrd_of_program(&options, &path), file, false);
    strings_add(&entrypoint, "%s", path);
    json_put(config, "Entrypoint", json_from_strings(&entrypoint));
    json_put(image, "config", config);
    return image;
}

static bool starts_with(const char **text, const char *start) {
    size_t length = strlen(start);

    if (strncmp(*text, start, length) != 0)
        return false;
    *text += length;
    return true;
}

json_t *source_add(struct erofs_tree *tree, const char *source, const struct source_options *options) {
    const char *rest = source, *tag;
    struct stat status;

    progress_step("reading %s", source);
    if (strcmp(source, "-") == 0) {
        erofs_add_tar(tree, archive_open_input("/dev/stdin"), "standard input", false);
        return NULL;
    }
    if (starts_with(&rest, "docker-archive:")) {
        char *file = split_tag(rest, &tag);
        return add_image(tree, docker_archive_read(store_of_archive(file), tag), options);
    }
    if (starts_with(&rest, "oci-archive:")) {
        char *file = split_tag(rest, &tag);
        return add_image(tree, oci_read(store_of_archive(file), tag), options);
    }
    if (starts_with(&rest, "oci:")) {
        char *directory = split_tag(rest, &tag);
        return add_layout(tree, directory, tag, options);
    }
    if (starts_with(&rest, "docker://"))
        return add_registry(tree, source, options);
    if (starts_with(&rest, "dockerfile:"))
        return add_dockerfile(tree, rest, options);
    if (stat(source, &status) != 0)
        die(STATUS_FAILED, "%s: %s", source, strerror(errno));
    if (S_ISDIR(status.st_mode)) {
        erofs_add_directory(tree, source);
        return NULL;
    }
    if (is_elf(source))
        return add_program(tree, source);
    die(STATUS_FAILED,
        "%s: neither a directory nor an ELF program; archives are docker-archive:FILE, oci-archive:FILE, or - for a "
        "tar",
        source);
}
