/*
 * What else the guest finds in its tree besides the root: volumes (-v, directories and files of the host over 9p), disks (--disk) and
 * memory (--tmpfs). Parsed from the words of the command line, told to the guest as records of its configuration
 * (docs/boot-protocol.md), and to QEMU as devices.
 */
#pragma once

#include <stdio.h>

#include "tools/common.h"

enum mount_kind { MOUNT_VOLUME, MOUNT_DISK, MOUNT_TMPFS };

struct mount {
    enum mount_kind kind;
    unsigned number; /* among those of its kind, from 0 */
    char *source;    /* absolute: the directory to share, the disk's file */
    char *file;      /* the one file of that directory that is meant, or NULL */
    char *directory; /* in the guest, absolute; NULL: a disk that is not mounted */
    char *options;   /* the file system's, as --tmpfs has them, or NULL */
    bool read_only;
    bool mapped; /* owners and modes of a volume are kept in extended attributes */
};

/* All zero is none. */
struct mounts {
    struct mount *item;
    size_t count;
};

/* Whether a word behind -v is a volume: SOURCE:/DESTINATION. */
bool is_volume(const char *word);

/* HOST:GUEST[:ro], FILE[:DIR[:ro]], DIR[:OPTIONS]; die when the word is wrong. A volume's missing HOST is made. */
void mounts_add_volume(struct mounts *mounts, const char *word);
void mounts_add_disk(struct mounts *mounts, const char *word);
void mounts_add_tmpfs(struct mounts *mounts, const char *word);

/* The mount= records, outer directories first. first_disk: how many disks come before --disk's. */
void mounts_config(const struct mounts *mounts, unsigned first_disk, FILE *config);

/* How many devices they are. */
unsigned mounts_devices(const struct mounts *mounts);

/* QEMU's options for them. bus: "device" or "pci"; more: further properties of each device, "" or ",NAME=VALUE". */
void mounts_command(const struct mounts *mounts, const char *bus, const char *more, struct strings *command);

/* QEMU's options for one disk with a raw image. */
void disk_command(const char *id, const char *file, bool read_only, const char *bus, const char *more,
                  struct strings *command);
