/*
 * How a Knarr image lies in a registry: an OCI manifest whose configuration is the image's own and whose only layer is the disk, compressed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tools/image/digest.h"

#define ARTIFACT_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define ARTIFACT_TYPE "application/vnd.knarr.image.v1"
#define ARTIFACT_CONFIG "application/vnd.knarr.image.config.v1+json"
#define ARTIFACT_DISK "application/vnd.knarr.image.disk.v1.raw+zstd"

struct artifact {
    struct digest config, layer, disk; /* the layer: compressed; the disk: as it is */
    uint64_t config_size, layer_size, disk_size;
    const char *title; /* a file name without directories */
};

/* The manifest (allocated); the same artifact always gives the same bytes. */
char *artifact_manifest(const struct artifact *artifact);

/* Reads one. NULL, or why it is not of a Knarr image (static). The title is allocated. */
const char *artifact_parse(struct artifact *artifact, const char *manifest, size_t size);
