/*
 * GRUB from Debian's packages, put on a disk without its installer, which would need rights and a real disk.
 */
#pragma once

#include "tools/common.h"

enum { GRUB_BOOT_CODE = 440 };

/* What makes a disk boot. */
struct grub {
    uint8_t boot[GRUB_BOOT_CODE]; /* for the MBR */
    uint8_t *core;                /* for the BIOS boot partition, whole sectors */
    size_t core_size;
    uint8_t *efi; /* BOOTX64.EFI */
    size_t efi_size;
};

/* For a disk whose second partition has /boot/grub/grub.cfg; core lies from the sector core_at on. Dies when GRUB is not there. */
struct grub grub_make(uint64_t core_at);

void grub_free(struct grub *grub);

/* The text of grub.cfg: boots the kernel with those words and one module. */
extern const char grub_config[];
