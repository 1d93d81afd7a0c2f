/*
 * OCI layouts; see the header. An index leads to manifests or further indexes, a manifest to a configuration and layers
 * (the image specification's image-index.md, manifest.md, image-layout.md). Docker's media types mean the same.
 */
#include "tools/image/oci.h"

#include <stdlib.h>
#include <string.h>

enum { INDEXES_MOST = 4, LAYERS_MOST = 1000 };

#define REF_NAME "org.opencontainers.image.ref.name"

static bool is_one_of(const char *type, const char *const list[]) {
    for (; type && *list; list++) {
        if (strcmp(type, *list) == 0)
            return true;
    }
    return false;
}

static const char *const index_types[] = {"application/vnd.oci.image.index.v1+json",
                                          "application/vnd.docker.distribution.manifest.list.v2+json", NULL};
static const char *const manifest_types[] = {"application/vnd.oci.image.manifest.v1+json",
                                             "application/vnd.docker.distribution.manifest.v2+json", NULL};
static const char *const config_types[] = {"application/vnd.oci.image.config.v1+json",
                                           "application/vnd.docker.container.image.v1+json", NULL};
static const char *const layer_types[] = {"application/vnd.oci.image.layer.v1.tar",
                                          "application/vnd.oci.image.layer.v1.tar+gzip",
                                          "application/vnd.oci.image.layer.v1.tar+zstd",
                                          "application/vnd.oci.image.layer.nondistributable.v1.tar",
                                          "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                                          "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
                                          "application/vnd.docker.image.rootfs.diff.tar",
                                          "application/vnd.docker.image.rootfs.diff.tar.gzip",
                                          "application/vnd.docker.image.rootfs.diff.tar.zstd",
                                          "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                                          NULL};

/* What a descriptor says. Dies when it says nothing that can be used. */
static struct digest descriptor(struct store *store, const json_t *value, uint64_t *size) {
    struct digest digest;
    const char *text = json_text(value, "digest");
    json_int_t length = json_integer_value(json_object_get(value, "size"));

    if (!text || !digest_parse(text, &digest))
        die(STATUS_FAILED, "%s: %s: not a sha256 or sha512 digest", store_name(store),
            text ? text : "a descriptor without one");
    if (length < 0 || !json_is_integer(json_object_get(value, "size")))
        die(STATUS_FAILED, "%s: %s: a descriptor without a size", store_name(store), text);
    *size = (uint64_t)length;
    return digest;
}

static json_t *read_json_blob(struct store *store, const json_t *value) {
    uint64_t size;
    size_t length;
    struct digest digest = descriptor(store, value, &size);
    char *text = store_read_blob(store, &digest, &length);

    if (length != size)
        die(STATUS_FAILED, "%s: %s has %zu bytes instead of %ju", store_name(store), digest.text, length,
            (uintmax_t)size);
    char *what = xasprintf("%s: %s", store_name(store), digest.text);
    json_t *json = json_parse(text, length, what);
    free(what);
    free(text);
    return json;
}

static bool is_ours(const json_t *manifest) {
    const json_t *platform = json_object_get(manifest, "platform");
    const char *os = json_text(platform, "os"), *architecture = json_text(platform, "architecture");

    return (!os || strcmp(os, "linux") == 0) && (!architecture || strcmp(architecture, "amd64") == 0);
}

static bool has_tag(const json_t *manifest, const char *tag) {
    const json_t *annotations = json_object_get(manifest, "annotations");
    const char *name = json_text(annotations, REF_NAME), *full = json_text(annotations, "io.containerd.image.name");

    return (name && strcmp(name, tag) == 0) || (full && strcmp(full, tag) == 0);
}

static bool is_image(const json_t *manifest) {
    const char *type = json_text(manifest, "mediaType");

    return !type || is_one_of(type, manifest_types) || is_one_of(type, index_types);
}

/* The member of an index that is meant. */
static const json_t *choose(struct store *store, const json_t *index, const char *tag) {
    const json_t *manifests = json_object_get(index, "manifests"), *chosen = NULL;
    size_t named = 0, others = 0;

    for (size_t i = 0; i < json_array_size(manifests); i++) {
        const json_t *each = json_array_get(manifests, i);
        if (!is_image(each) || (tag && !has_tag(each, tag)))
            continue;
        named++;
        if (!is_ours(each))
            continue;
        if (!chosen)
            chosen = each;
        else if (!json_equal(json_object_get(chosen, "digest"), json_object_get(each, "digest")) &&
                 !json_object_get(each, "platform"))
            others++;
    }
    if (tag && named == 0)
        die(STATUS_FAILED, "%s: no image %s in it", store_name(store), tag);
    if (!chosen)
        die(STATUS_FAILED, "%s: no image for linux/amd64 in it", store_name(store));
    if (others > 0)
        die(STATUS_FAILED, "%s: several images; which one says :TAG behind the name", store_name(store));
    return chosen;
}

void image_take_diff_ids(struct image *image) {
    const json_t *ids = json_object_get(json_object_get(image->config, "rootfs"), "diff_ids");
    const char *name = store_name(image->store);
    const char *os = json_text(image->config, "os"), *architecture = json_text(image->config, "architecture");

    if (!json_is_object(image->config))
        die(STATUS_FAILED, "%s: the configuration is not an object", name);
    if ((os && strcmp(os, "linux") != 0) || (architecture && strcmp(architecture, "amd64") != 0))
        die(STATUS_FAILED, "%s: an image for %s/%s, not for linux/amd64", name, os ? os : "?",
            architecture ? architecture : "?");
    if (json_array_size(ids) != image->layer_count)
        die(STATUS_FAILED, "%s: %zu layers, but %zu diff_ids", name, image->layer_count, json_array_size(ids));
    for (size_t i = 0; i < image->layer_count; i++) {
        const char *text = json_string_value(json_array_get(ids, i));
        if (!text || !digest_parse(text, &image->layers[i].diff_id))
            die(STATUS_FAILED, "%s: diff_id %s: not a sha256 or sha512 digest", name, text ? text : "(none)");
    }
}

static struct image read_manifest(struct store *store, const json_t *manifest) {
    const json_t *config = json_object_get(manifest, "config"), *layers = json_object_get(manifest, "layers");
    struct image image = {.store = store, .layer_count = json_array_size(layers)};

    if (!config || !json_is_array(layers))
        die(STATUS_FAILED, "%s: the manifest has no config or no layers", store_name(store));
    if (!is_one_of(json_text(config, "mediaType"), config_types))
        die(STATUS_FAILED, "%s: not an image of a root filesystem: %s", store_name(store),
            json_text(config, "mediaType") ? json_text(config, "mediaType") : "a configuration of no type");
    if (image.layer_count > LAYERS_MOST)
        die(STATUS_FAILED, "%s: %zu layers are too many", store_name(store), image.layer_count);
    image.config = read_json_blob(store, config);
    image.layers = xmalloc(image.layer_count * sizeof(struct layer));
    for (size_t i = 0; i < image.layer_count; i++) {
        const json_t *each = json_array_get(layers, i);
        struct layer *layer = &image.layers[i];
        if (!is_one_of(json_text(each, "mediaType"), layer_types))
            die(STATUS_FAILED, "%s: a layer of the type %s", store_name(store),
                json_text(each, "mediaType") ? json_text(each, "mediaType") : "(none)");
        *layer = (struct layer){0};
        layer->blob = descriptor(store, each, &layer->size);
        layer->name = blob_name(&layer->blob);
    }
    image_take_diff_ids(&image);
    return image;
}

struct image oci_read(struct store *store, const char *tag) {
    size_t size;
    char *text = store_read(store, "index.json", &size);

    if (!text)
        die(STATUS_FAILED, "%s: not an OCI layout: there is no index.json", store_name(store));
    char *what = xasprintf("%s: index.json", store_name(store));
    json_t *json = json_parse(text, size, what);
    free(what);
    free(text);
    for (int depth = 0; json_object_get(json, "manifests"); depth++) {
        if (depth == INDEXES_MOST)
            die(STATUS_FAILED, "%s: indexes in indexes in indexes", store_name(store));
        json_t *next = read_json_blob(store, choose(store, json, tag));
        json_decref(json);
        json = next;
        tag = NULL;
    }
    struct image image = read_manifest(store, json);
    json_decref(json);
    return image;
}

void image_close(struct image *image) {
    for (size_t i = 0; i < image->layer_count; i++)
        free(image->layers[i].name);
    free(image->layers);
    json_decref(image->config);
    store_close(image->store);
}
