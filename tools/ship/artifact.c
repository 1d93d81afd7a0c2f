/*
 * The manifest of a Knarr image; see the header. docs/ship.md describes it.
 */
#include "tools/ship/artifact.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tools/common.h"

#define TITLE "org.opencontainers.image.title"
#define DISK_SIZE "knarr.disk.size"
#define DISK_DIGEST "knarr.disk.digest"

char *artifact_manifest(const struct artifact *a) {
    char *size = xasprintf("%" PRIu64, a->disk_size);
    json_t *root =
        json_pack("{s:i, s:s, s:s, s:{s:s, s:s, s:I}, s:[{s:s, s:s, s:I, s:{s:s, s:s, s:s}}]}", "schemaVersion", 2,
                  "mediaType", ARTIFACT_MANIFEST, "artifactType", ARTIFACT_TYPE, "config", "mediaType", ARTIFACT_CONFIG,
                  "digest", a->config.text, "size", (json_int_t)a->config_size, "layers", "mediaType", ARTIFACT_DISK,
                  "digest", a->layer.text, "size", (json_int_t)a->layer_size, "annotations", TITLE, a->title, DISK_SIZE,
                  size, DISK_DIGEST, a->disk.text);
    char *text = root ? json_dumps(root, JSON_SORT_KEYS | JSON_COMPACT) : NULL;

    if (!text)
        die(STATUS_FAILED, "%s: its name is not UTF-8", a->title);
    json_decref(root);
    free(size);
    return text;
}

static bool parse_descriptor(const json_t *descriptor, const char *type, struct digest *digest, uint64_t *size) {
    const char *is = json_string_value(json_object_get(descriptor, "mediaType"));
    const char *text = json_string_value(json_object_get(descriptor, "digest"));
    const json_t *length = json_object_get(descriptor, "size");

    if (!is || strcmp(is, type) != 0 || !text || !digest_parse(text, digest) || !json_is_integer(length) ||
        json_integer_value(length) < 0)
        return false;
    *size = (uint64_t)json_integer_value(length);
    return true;
}

static const char *parse_disk(struct artifact *a, const json_t *annotations) {
    const char *size = json_string_value(json_object_get(annotations, DISK_SIZE));
    const char *digest = json_string_value(json_object_get(annotations, DISK_DIGEST));
    const char *title = json_string_value(json_object_get(annotations, TITLE));
    char *end;

    if (!size || strspn(size, "0123456789") != strlen(size) || strlen(size) < 1 || strlen(size) > 18)
        return "its disk has no size";
    a->disk_size = strtoull(size, &end, 10);
    if (!digest || !digest_parse(digest, &a->disk))
        return "its disk has no digest";
    if (!title || !*title || strchr(title, '/') || strcmp(title, ".") == 0 || strcmp(title, "..") == 0 ||
        strlen(title) > 255)
        title = "knarr.img";
    a->title = xstrdup(title);
    return NULL;
}

const char *artifact_parse(struct artifact *a, const char *manifest, size_t size) {
    json_t *root = json_loadb(manifest, size, JSON_REJECT_DUPLICATES, NULL);
    const json_t *layers = json_object_get(root, "layers"), *layer = json_array_get(layers, 0);
    const char *wrong = NULL;

    *a = (struct artifact){0};
    if (!root)
        wrong = "its manifest is not JSON";
    else if (!parse_descriptor(json_object_get(root, "config"), ARTIFACT_CONFIG, &a->config, &a->config_size))
        wrong = "not an image of Knarr's (knarr build makes one of a container's image)";
    else if (json_array_size(layers) != 1 || !parse_descriptor(layer, ARTIFACT_DISK, &a->layer, &a->layer_size))
        wrong = "its disk is of a kind that this knarr does not know";
    else
        wrong = parse_disk(a, json_object_get(layer, "annotations"));
    json_decref(root);
    return wrong;
}
