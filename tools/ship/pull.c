/*
 * `knarr pull`: fetches an image from a registry. Nothing that the registry says is believed: the manifest's, the configuration's, the layer's
 * and the disk's digests and sizes must all be right before the image gets its name.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/arguments.h"
#include "tools/image/progress.h"
#include "tools/output.h"
#include "tools/ship/artifact.h"
#include "tools/ship/registry.h"
#include "tools/ship/ship.h"
#include "tools/ship/zstd.h"

static const char usage[] =
    "Usage: knarr pull [OPTIONS] HOST[:PORT]/NAME[:TAG][@sha256:DIGEST]\n"
    "\n"
    "Fetches an image that knarr ship has put into a registry, checks that it is whole, and writes it.\n"
    "\n"
    "  -o, --output IMAGE   the image (default: the name that it was shipped under)\n"
    "      --plain-http     speak without TLS, as with a registry on this machine anyway\n"
    "      --insecure       do not verify the registry's certificate\n"
    "  -q, --quiet          do not show how far it has come\n"
    "      --help           print this\n"
    "\n"
    "Credentials are those that docker login and podman login have stored.\n";

struct options {
    const char *output, *reference;
    bool plain, insecure, quiet;
};

static void parse(struct options *options, int argc, char **argv) {
    enum { OPT_PLAIN = 256, OPT_INSECURE };
    static const struct option known[] = {
        {"output", required_argument, NULL, 'o'},      {"plain-http", no_argument, NULL, OPT_PLAIN},
        {"insecure", no_argument, NULL, OPT_INSECURE}, {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, OPT_HELP},         {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = next_option(argc, argv, ":o:q", known, usage)) != -1) {
        switch (option) {
        case 'o': options->output = optarg; break;
        case 'q': options->quiet = true; break;
        case OPT_PLAIN: options->plain = true; break;
        case OPT_INSECURE: options->insecure = true; break;
        }
    }
    if (argc - optind != 1)
        die(STATUS_FAILED,
            argc == optind ? "pull what? (knarr pull --help)" : "only one image at a time (knarr pull --help)");
    options->reference = argv[optind];
}

/* A blob on its way into a file. */
struct download {
    struct sum *sum;
    uint64_t size, expected;
    int fd;
    int error; /* of writing */
};

static bool on_bytes(void *arg, const void *data, size_t size) {
    struct download *download = arg;

    if (size > download->expected - download->size)
        return false;
    download->size += size;
    sum_add(download->sum, data, size);
    if (download->fd >= 0 && !write_all(download->fd, data, size)) {
        download->error = errno;
        return false;
    }
    progress_add(size);
    return true;
}

/* fd -1: only checked. */
static void fetch(struct registry *registry, const struct digest *digest, uint64_t size, int fd) {
    struct download download = {.sum = sum_new(digest_algorithm(digest)), .expected = size, .fd = fd};

    progress_step("fetching");
    progress_goal(size);
    bool whole = registry_get_blob(registry, digest->text, on_bytes, &download);
    progress_end();
    if (download.error)
        die(STATUS_FAILED, "a temporary file: %s", strerror(download.error));
    struct digest got = sum_end(download.sum);
    if (!whole)
        die(STATUS_FAILED, "%s: the registry sends more than it said", digest->text);
    if (download.size != size)
        die(STATUS_FAILED, "%s: the registry sends less than it said", digest->text);
    if (strcmp(got.text, digest->text) != 0)
        die(STATUS_FAILED, "%s: the registry sends something else (%s)", digest->text, got.text);
}

int pull_main(int argc, char **argv) {
    struct options options = {0};
    struct reference reference;
    struct artifact artifact;
    struct digest digest, disk;

    parse(&options, argc, argv);
    progress_start(options.quiet);
    const char *wrong = reference_parse(options.reference, &reference);
    if (wrong)
        die(STATUS_FAILED, "%s: %s", options.reference, wrong);
    struct registry registry = registry_open(&reference, options.plain, options.insecure, false);
    struct http_response manifest = registry_get_manifest(&registry);

    const char *body = manifest.body ? manifest.body : "";
    if (reference.digest)
        digest_parse(reference.digest, &digest);
    digest = digest_of(reference.digest ? digest_algorithm(&digest) : NULL, body, manifest.size);
    if (reference.digest && strcmp(digest.text, reference.digest) != 0)
        die(STATUS_FAILED, "%s: the registry sends another manifest (%s)", options.reference, digest.text);
    wrong = artifact_parse(&artifact, body, manifest.size);
    if (wrong)
        die(STATUS_FAILED, "%s: %s", options.reference, wrong);

    const char *output = options.output ? options.output : artifact.title;
    int layer = temporary_file();
    int fd = output_create(output);
    fetch(&registry, &artifact.config, artifact.config_size, -1);
    fetch(&registry, &artifact.layer, artifact.layer_size, layer);
    progress_step("unpacking");
    progress_goal(artifact.disk_size);
    zstd_unpack(layer, artifact.layer_size, fd, artifact.disk_size, output, progress_add);
    progress_end();
    if (!digest_of_file(digest_algorithm(&artifact.disk), fd, 0, artifact.disk_size, &disk))
        die(STATUS_FAILED, "%s: %s", output, strerror(errno));
    if (strcmp(disk.text, artifact.disk.text) != 0)
        die(STATUS_FAILED, "%s: its disk is not the one that was shipped (%s)", options.reference, disk.text);
    output_finish(fd, output);
    printf("%s\n%s\n", output, digest.text);
    http_free(&manifest);
    return fflush(stdout) == 0 ? 0 : STATUS_FAILED;
}
