/*
 * `knarr ship`: puts an image into a registry. The disk goes compressed, under the digest of its compressed bytes: what the registry has already is not
 * sent again. The manifest comes last, so that nobody ever finds a part of an image.
 */
#include "tools/ship/ship.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/arguments.h"
#include "tools/image/disk.h"
#include "tools/image/progress.h"
#include "tools/ship/artifact.h"
#include "tools/ship/registry.h"
#include "tools/ship/zstd.h"

static const char usage[] = "Usage: knarr ship [OPTIONS] IMAGE HOST[:PORT]/NAME[:TAG]\n"
                            "\n"
                            "Puts an image that knarr build has written into a registry, as an OCI artifact that any "
                            "registry holds. Prints the digest of its\n"
                            "manifest. knarr pull fetches it.\n"
                            "\n"
                            "      --plain-http   speak without TLS, as with a registry on this machine anyway\n"
                            "      --insecure     do not verify the registry's certificate\n"
                            "  -q, --quiet        do not show how far it has come\n"
                            "      --help         print this\n"
                            "\n"
                            "Credentials are those that docker login and podman login have stored.\n";

struct options {
    const char *image, *reference;
    bool plain, insecure, quiet;
};

static void parse(struct options *options, int argc, char **argv) {
    enum { OPT_PLAIN = 256, OPT_INSECURE };
    static const struct option known[] = {
        {"plain-http", no_argument, NULL, OPT_PLAIN},
        {"insecure", no_argument, NULL, OPT_INSECURE},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, OPT_HELP},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = next_option(argc, argv, ":q", known, usage)) != -1) {
        switch (option) {
        case 'q': options->quiet = true; break;
        case OPT_PLAIN: options->plain = true; break;
        case OPT_INSECURE: options->insecure = true; break;
        }
    }
    if (argc - optind != 2)
        die(STATUS_FAILED, "ship takes an image and where to put it (knarr ship --help)");
    options->image = argv[optind];
    options->reference = argv[optind + 1];
}

static void put_blob(struct registry *registry, const char *digest, const void *data, int fd, uint64_t size) {
    if (registry_has_blob(registry, digest))
        return;
    progress_step("sending");
    progress_goal(size);
    registry_put_blob(registry, digest, data, fd, size, progress_add);
    progress_end();
}

int ship_main(int argc, char **argv) {
    struct options options = {0};
    struct reference reference;
    struct stat status;

    parse(&options, argc, argv);
    progress_start(options.quiet);
    const char *wrong = reference_parse(options.reference, &reference);
    if (!wrong && reference.digest)
        wrong = "a digest is what comes out of it";
    if (wrong)
        die(STATUS_FAILED, "%s: %s", options.reference, wrong);
    int fd = open(options.image, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0)
        die(STATUS_FAILED, "%s: %s", options.image, strerror(errno));
    struct erofs_image root;
    char *config;
    if (!disk_open(fd, options.image, &root, &config))
        die(STATUS_FAILED, "%s: no image of knarr build", options.image);
    size_t config_size = strlen(config);

    const char *slash = strrchr(options.image, '/');
    struct artifact artifact = {
        .config = digest_of(NULL, config, config_size),
        .config_size = config_size,
        .disk_size = (uint64_t)status.st_size,
        .title = slash ? slash + 1 : options.image,
    };
    int packed = temporary_file();
    progress_step("compressing");
    progress_goal(artifact.disk_size);
    artifact.layer_size = zstd_pack(fd, artifact.disk_size, packed, options.image, progress_add);
    progress_end();
    if (!digest_of_file(NULL, fd, 0, artifact.disk_size, &artifact.disk))
        die(STATUS_FAILED, "%s: %s", options.image, strerror(errno));
    if (!digest_of_file(NULL, packed, 0, artifact.layer_size, &artifact.layer))
        die(STATUS_FAILED, "a compressed copy of %s: %s", options.image, strerror(errno));

    struct registry registry = registry_open(&reference, options.plain, options.insecure, true);
    char *manifest = artifact_manifest(&artifact);
    put_blob(&registry, artifact.config.text, config, -1, artifact.config_size);
    put_blob(&registry, artifact.layer.text, NULL, packed, artifact.layer_size);
    registry_put_manifest(&registry, ARTIFACT_MANIFEST, manifest, strlen(manifest));
    printf("%s\n", digest_of(NULL, manifest, strlen(manifest)).text);
    return fflush(stdout) == 0 ? 0 : STATUS_FAILED;
}
