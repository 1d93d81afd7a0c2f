/*
 * `knarr pack`: writes an EROFS image. It gets its name when it is complete, so nothing half done is ever left or seen.
 */
#include "tools/pack.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/archive.h"
#include "tools/erofs/writer.h"
#include "tools/output.h"

static const char usage[] =
    "Usage: knarr pack [-o IMAGE] [--layer TAR]... [DIR|TAR]\n"
    "\n"
    "Packs a root filesystem into an EROFS image that knarr run --root boots from and Linux mounts. The same input "
    "gives\n"
    "the same bytes.\n"
    "\n"
    "  -o, --output IMAGE   the image (default: the name of DIR or TAR with .erofs)\n"
    "      --layer TAR      put a layer of an OCI image on top, with its whiteouts; may be repeated, the lowest first\n"
    "      --help           print this\n"
    "\n"
    "TAR may be compressed in any way that libarchive knows, and /dev/stdin. SOURCE_DATE_EPOCH sets the image's "
    "time.\n";

struct options {
    const char *output, *root;
    struct strings layers;
};

static void parse(struct options *options, int argc, char **argv) {
    enum { OPT_LAYER = 256, OPT_HELP };
    static const struct option known[] = {
        {"output", required_argument, NULL, 'o'},
        {"layer", required_argument, NULL, OPT_LAYER},
        {"help", no_argument, NULL, OPT_HELP},
        {NULL, 0, NULL, 0},
    };
    int option;

    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, ":o:", known, NULL)) != -1) {
        switch (option) {
        case 'o': options->output = optarg; break;
        case OPT_LAYER: strings_add(&options->layers, "%s", optarg); break;
        case OPT_HELP: fputs(usage, stdout); exit(fflush(stdout) == 0 ? 0 : STATUS_FAILED);
        case ':': die(STATUS_FAILED, "%s needs a value (knarr pack --help)", argv[optind - 1]);
        default: die(STATUS_FAILED, "%s: no such option (knarr pack --help)", argv[optind - 1]);
        }
    }
    if (argc - optind > 1)
        die(STATUS_FAILED, "%s: only one DIR or TAR; others are layers (knarr pack --help)", argv[optind + 1]);
    options->root = argv[optind];
    if (!options->root && options->layers.count == 0)
        die(STATUS_FAILED, "pack what? (knarr pack --help)");
    if (!options->root && !options->output)
        die(STATUS_FAILED, "which image? Layers alone need -o (knarr pack --help)");
}

/* rootfs.tar.gz becomes rootfs.erofs, in the working directory. */
static char *default_output(const char *root) {
    char *path = realpath(root, NULL);

    if (!path)
        die(STATUS_FAILED, "%s: %s", root, strerror(errno));
    char *name = strrchr(path, '/') + 1;
    char *tar = strstr(name, ".tar");
    size_t length = strlen(name);
    if (tar && tar > name)
        *tar = '\0';
    else if (length > 4 && strcmp(name + length - 4, ".tgz") == 0)
        name[length - 4] = '\0';
    if (*name == '\0')
        die(STATUS_FAILED, "which image? This directory has no name: give -o");
    char *output = xasprintf("%s.erofs", name);
    free(path);
    return output;
}

int pack_main(int argc, char **argv) {
    struct options options = {0};
    struct erofs_tree *tree = erofs_tree_new();
    struct stat status;

    parse(&options, argc, argv);
    if (options.root) {
        if (stat(options.root, &status) != 0)
            die(STATUS_FAILED, "%s: %s", options.root, strerror(errno));
        if (S_ISDIR(status.st_mode))
            erofs_add_directory(tree, options.root);
        else
            erofs_add_tar(tree, archive_open_input(options.root), options.root, false);
    }
    for (size_t i = 0; i < options.layers.count; i++)
        erofs_add_tar(tree, archive_open_input(options.layers.item[i]), options.layers.item[i], true);
    const char *output = options.output ? options.output : default_output(options.root);
    int fd = output_create(output);
    erofs_layout(tree);
    erofs_write(tree, fd, 0, output);
    output_finish(fd, output);
    return 0;
}
