/*
 * Images to check; see the header. A source is unpacked as knarr build does it, into a root that is gone with the process.
 */
#include "tools/check/image.h"

#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/erofs/writer.h"
#include "tools/image/config.h"
#include "tools/image/disk.h"
#include "tools/image/source.h"

enum { PROGRAMS_MOST = 100000, DEPTH_MOST = 64 };

static bool is_source(const char *word) {
    static const char *const prefixes[] = {"docker-archive:", "oci-archive:", "oci:", "docker://", "dockerfile:"};

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        if (strncmp(word, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static json_t *unpack(const char *word, struct erofs_image *image) {
    const struct source_options options = {.use_cache = true, .quiet = true};
    struct erofs_tree *tree = erofs_tree_new();
    json_t *config = source_add(tree, word, &options);

    erofs_layout(tree);
    int fd = temporary_file();
    erofs_write(tree, fd, 0, "a temporary file for the image");
    erofs_tree_free(tree);
    const char *problem = erofs_open(image, fd);
    if (problem)
        die(STATUS_FAILED, "%s: %s", word, problem);
    return config;
}

static json_t *open_disk(const char *word, struct erofs_image *image) {
    char *text;
    int fd = open(word, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || !disk_open(fd, word, image, &text)) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    json_t *config = json_parse(text, strlen(text), word);
    free(text);
    return config;
}

/* What an entrypoint is given to start, unless it is an option or a word of its own. */
static void add_command(struct check_files *files, const struct strings *words, size_t at, struct strings *programs) {
    if (at >= words->count || words->item[at][0] == '-')
        return;
    char *path = check_find(files, words->item[at]);
    struct erofs_file file;
    if (path && erofs_lookup(files->root, path, &file) && S_ISREG(file.mode) && file.mode & 0111)
        strings_add(programs, "%s", words->item[at]);
    free(path);
}

bool check_image(const char *word, struct check_files *files, struct strings *programs) {
    static struct erofs_image image;
    json_t *json = is_source(word) ? unpack(word, &image) : open_disk(word, &image);

    if (!json && !is_source(word))
        return false;
    files->root = &image;
    struct image_config config = config_read(json, word);
    for (size_t i = 0; i < config.environment.count; i++)
        environment_set(&files->environment, config.environment.item[i]);
    if (config.entrypoint.count) {
        strings_add(programs, "%s", config.entrypoint.item[0]);
        add_command(files, &config.entrypoint, 1, programs);
        add_command(files, &config.cmd, 0, programs);
    } else if (config.cmd.count) {
        strings_add(programs, "%s", config.cmd.item[0]);
        add_command(files, &config.cmd, 1, programs);
    }
    json_decref(json);
    return true;
}

/* --- All programs --- */

struct walk {
    struct check_files *files;
    struct strings *programs;
    const char *directory;
    unsigned depth;
    uint64_t *seen;
    size_t *seen_count;
};

static bool is_program(const struct erofs_image *image, const char *name, const struct erofs_file *file) {
    Elf64_Ehdr header;

    return S_ISREG(file->mode) && file->mode & 0111 && !strstr(name, ".so") &&
           erofs_read(image, file, &header, sizeof(header), 0) == sizeof(header) &&
           memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && (header.e_type == ET_EXEC || header.e_type == ET_DYN);
}

static bool look_at_name(void *context, const char *name, const struct erofs_file *file) {
    const struct walk *walk = context;

    if (S_ISDIR(file->mode) && walk->depth < DEPTH_MOST) {
        char *path = xasprintf("%s/%s", walk->directory, name);
        struct walk below = *walk;
        below.directory = path;
        below.depth++;
        erofs_list(walk->files->root, file, look_at_name, &below);
        free(path);
    } else if (is_program(walk->files->root, name, file)) {
        for (size_t i = 0; i < *walk->seen_count; i++)
            if (walk->seen[i] == file->nid)
                return true;
        walk->seen[(*walk->seen_count)++] = file->nid;
        strings_add(walk->programs, "%s/%s", walk->directory, name);
    }
    return *walk->seen_count < PROGRAMS_MOST;
}

void check_all(struct check_files *files, struct strings *programs) {
    size_t count = 0;
    struct walk walk = {.files = files, .programs = programs, .directory = "", .seen_count = &count};
    struct erofs_file root;

    walk.seen = xmalloc(PROGRAMS_MOST * sizeof(*walk.seen));
    if (erofs_lookup(files->root, "/", &root))
        erofs_list(files->root, &root, look_at_name, &walk);
    free(walk.seen);
}
