/*
 * What `docker save` writes: manifest.json names the configuration and the layers by their files. It has no digests of these but the
 * configuration's, whose file is named after it, and the diff_ids in it.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/image/oci.h"

/* "repo:tag", "host/repo:tag": equal, or what is left out is the repository. */
static bool has_tag(const json_t *image, const char *tag) {
    const json_t *tags = json_object_get(image, "RepoTags");

    for (size_t i = 0; i < json_array_size(tags); i++) {
        const char *each = json_string_value(json_array_get(tags, i));
        const char *colon = each ? strrchr(each, ':') : NULL;
        if (each && (strcmp(each, tag) == 0 || (colon && strcmp(colon + 1, tag) == 0)))
            return true;
    }
    return false;
}

static const json_t *choose(struct store *store, const json_t *manifest, const char *tag) {
    const json_t *chosen = NULL;

    for (size_t i = 0; i < json_array_size(manifest); i++) {
        const json_t *each = json_array_get(manifest, i);
        if (tag && !has_tag(each, tag))
            continue;
        if (chosen)
            die(STATUS_FAILED, "%s: several images; which one says :TAG behind the name", store_name(store));
        chosen = each;
    }
    if (!chosen)
        die(STATUS_FAILED, "%s: no image %s in it", store_name(store), tag ? tag : "");
    return chosen;
}

/* The configuration's file is HEX.json or blobs/sha256/HEX; HEX is its digest. */
static void check_config(struct store *store, const char *name, const char *text, size_t size) {
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    char *claimed = xasprintf("sha256:%.*s", (int)strcspn(base, "."), base);
    struct digest expected, real = digest_of("sha256", text, size);

    if (digest_parse(claimed, &expected) && strcmp(expected.text, real.text) != 0)
        die(STATUS_FAILED, "%s: the configuration %s is damaged: its digest is %s", store_name(store), name, real.text);
    free(claimed);
}

static json_t *read_json(struct store *store, const char *name, bool is_config) {
    size_t size;
    char *text = store_read(store, name, &size), *what = xasprintf("%s: %s", store_name(store), name);

    if (!text)
        die(STATUS_FAILED, "%s is not there%s", what, is_config ? "" : ": not an archive of docker save");
    if (is_config)
        check_config(store, name, text, size);
    json_t *json = json_parse(text, size, what);
    free(what);
    free(text);
    return json;
}

struct image docker_archive_read(struct store *store, const char *tag) {
    struct image image = {.store = store};
    json_t *manifest = read_json(store, "manifest.json", false);
    const json_t *chosen = choose(store, manifest, tag), *layers = json_object_get(chosen, "Layers");
    const char *config = json_text(chosen, "Config");
    struct strings names = {0};

    if (!config || !json_is_array(layers) || !json_strings(layers, &names))
        die(STATUS_FAILED, "%s: manifest.json names no configuration or no layers", store_name(store));
    image.config = read_json(store, config, true);
    image.layer_count = names.count;
    image.layers = xmalloc(names.count * sizeof(struct layer));
    for (size_t i = 0; i < names.count; i++)
        image.layers[i] = (struct layer){.name = names.item[i]};
    free(names.item);
    image_take_diff_ids(&image);
    json_decref(manifest);
    return image;
}
