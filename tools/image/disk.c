/*
 * The disk image; see the header. The order: the tree with its configuration in it is laid out, which says how large the root is; the boot
 * partition is sized; the root is written; and only then, when users can be looked up in the root, what the boot partition has.
 */
#include "tools/image/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/image/boot.h"
#include "tools/image/config.h"
#include "tools/image/digest.h"
#include "tools/image/fat.h"
#include "tools/image/gpt.h"
#include "tools/image/grub.h"
#include "tools/image/progress.h"

enum { MIB = 1 << 20, ALIGNED = MIB / SECTOR, CORE_AT = 64, BOOT_AT = ALIGNED, KERNEL_MOST = 64 << 20 };

#define CONFIG_PATH CONFIG_DIRECTORY "/" CONFIG_FILE

/* The configuration, and the directories of its volumes. The working directory is made by the kernel, for the program's user. */
static void add_config(struct erofs_tree *tree, const json_t *config, const char *text) {
    struct image_config read = config_read(config, "the image");

    erofs_remove(tree, CONFIG_DIRECTORY);
    erofs_add_file(tree, CONFIG_PATH, 0444, text, strlen(text));
    for (size_t i = 0; i < read.volumes.count; i++) {
        char *path = path_normalize(read.volumes.item[i]);
        if (!path)
            die(STATUS_FAILED, "%s: the directory leads out of the root", read.volumes.item[i]);
        erofs_add_missing_directory(tree, path);
        free(path);
    }
}

static void *read_kernel(const char *path, size_t *size) {
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &status) != 0)
        die(STATUS_FAILED, "the kernel %s: %s", path, strerror(errno));
    if (status.st_size <= 0 || status.st_size > KERNEL_MOST)
        die(STATUS_FAILED, "the kernel %s: %jd bytes cannot be a kernel", path, (intmax_t)status.st_size);
    *size = (size_t)status.st_size;
    char *bytes = xmalloc(*size);
    if (read(fd, bytes, *size) != status.st_size)
        die(STATUS_FAILED, "the kernel %s: it cannot be read", path);
    close(fd);
    return bytes;
}

/* The GUIDs are made of all that the disk holds. */
static void make_seed(int fd, uint64_t from, uint64_t size, const void *kernel, size_t kernel_size, const char *boot,
                      size_t boot_size, uint8_t seed[32], const char *name) {
    struct digest root;
    struct sum *sum = sum_new(NULL);
    unsigned byte;

    if (!digest_of_file("sha256", fd, from, size, &root))
        die(STATUS_FAILED, "%s: %s", name, strerror(errno));
    sum_add(sum, root.text, strlen(root.text));
    sum_add(sum, kernel, kernel_size);
    sum_add(sum, boot, boot_size);
    struct digest all = sum_end(sum);
    for (unsigned i = 0; i < 32 && sscanf(digest_hex(&all) + 2 * i, "%2x", &byte) == 1; i++)
        seed[i] = (uint8_t)byte;
}

void disk_write(int fd, struct erofs_tree *tree, const json_t *config, const char *kernel_path, const char *name) {
    char *text = json_print(config);
    size_t kernel_size, boot_size;
    void *kernel = read_kernel(kernel_path, &kernel_size);
    struct grub grub = grub_make(CORE_AT);
    struct erofs_image root;
    uint8_t seed[32] = {0};

    add_config(tree, config, text);
    uint64_t root_size = erofs_layout(tree);
    /* The configuration in the boot partition has what the image's has, and words around it. */
    struct fat_file files[] = {
        {"/EFI", NULL, 0},
        {"/EFI/BOOT", NULL, 0},
        {"/boot", NULL, 0},
        {"/boot/grub", NULL, 0},
        {"/knarr", NULL, 0},
        {"/EFI/BOOT/BOOTX64.EFI", grub.efi, grub.efi_size},
        {"/boot/grub/grub.cfg", grub_config, strlen(grub_config)},
        {"/knarr/knarr.elf", kernel, kernel_size},
        {"/knarr/config.cpio", "", 0},
    };
    enum { FILES = sizeof(files) / sizeof(files[0]) };
    uint64_t boot_sectors = fat_sectors(files, FILES, 4 * strlen(text) + (256 << 10));
    uint64_t root_at = BOOT_AT + boot_sectors;
    uint64_t sectors = root_at + (root_size / SECTOR + GPT_BEHIND + ALIGNED - 1) / ALIGNED * ALIGNED;
    const struct partition partitions[] = {
        {.name = "knarr-bios", .start = CORE_AT, .sectors = BOOT_AT - CORE_AT},
        {.name = "knarr-boot", .start = BOOT_AT, .sectors = boot_sectors},
        {.name = DISK_ROOT, .start = root_at, .sectors = root_size / SECTOR},
    };
    struct partition typed[3];
    memcpy(typed, partitions, sizeof(typed));
    memcpy(typed[0].type, gpt_type_bios_boot, 16);
    memcpy(typed[1].type, gpt_type_efi_system, 16);
    memcpy(typed[2].type, gpt_type_linux, 16);

    progress_step("writing %s, %ju MiB", name, (uintmax_t)(sectors * SECTOR / MIB));
    erofs_write(tree, fd, root_at * SECTOR, name);
    if (ftruncate(fd, (off_t)(sectors * SECTOR)) != 0)
        die(STATUS_FAILED, "%s: %s", name, strerror(errno));
    const char *problem = erofs_open_at(&root, fd, root_at * SECTOR, root_size);
    if (problem)
        die(STATUS_FAILED, "%s: %s", name, problem);
    char *boot = boot_config(config, &root, "PARTLABEL=" DISK_ROOT, &boot_size);
    files[FILES - 1].data = boot;
    files[FILES - 1].size = boot_size;
    fat_make(fd, (uint64_t)BOOT_AT * SECTOR, boot_sectors, files, FILES);
    make_seed(fd, root_at * SECTOR, root_size, kernel, kernel_size, boot, boot_size, seed, name);
    if (grub.core_size > (size_t)(BOOT_AT - CORE_AT) * SECTOR)
        die(STATUS_FAILED, "GRUB's core of %zu bytes is too large", grub.core_size);
    errno = ENOSPC;
    if (pwrite(fd, grub.core, grub.core_size, CORE_AT * SECTOR) != (ssize_t)grub.core_size ||
        !gpt_write(fd, sectors, typed, 3, grub.boot, seed))
        die(STATUS_FAILED, "%s: %s", name, strerror(errno));
    grub_free(&grub);
    free(kernel);
    free(text);
    free(boot);
}

/* --- Kernel and initrd --- */

static void write_part(int directory, const char *name, const void *data, size_t size) {
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    if (fd < 0 || !write_all(fd, data, size) || fsync(fd) != 0 || close(fd) != 0)
        die(STATUS_FAILED, "%s: %s", name, strerror(errno));
}

void disk_write_parts(int directory, struct erofs_tree *tree, const json_t *config, const char *kernel_path) {
    static const char line[] = "\n"; /* no word is needed */
    char *text = json_print(config);
    size_t kernel_size, boot_size;
    void *kernel = read_kernel(kernel_path, &kernel_size);
    struct erofs_image root;
    int whole = temporary_file();

    add_config(tree, config, text);
    uint64_t size = erofs_layout(tree);
    progress_step("writing initrd, %ju MiB", (uintmax_t)(size / MIB));
    erofs_write(tree, whole, 0, "a temporary file for the root");
    const char *problem = erofs_open_at(&root, whole, 0, size);
    if (problem)
        die(STATUS_FAILED, "the root: %s", problem);
    char *boot = boot_config(config, &root, "initrd", &boot_size);
    write_part(directory, "knarr.elf", kernel, kernel_size);
    write_part(directory, "cmdline", line, strlen(line));
    int fd = openat(directory, "initrd", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    off_t from = 0;
    bool written = fd >= 0 && write_all(fd, boot, boot_size) &&
                   lseek(fd, (off_t)((boot_size + EROFS_BLOCK - 1) / EROFS_BLOCK * EROFS_BLOCK), SEEK_SET) >= 0;
    while (written && (uint64_t)from < size)
        written = sendfile(fd, whole, &from, size - (uint64_t)from) > 0;
    if (!written || fsync(fd) != 0 || close(fd) != 0)
        die(STATUS_FAILED, "initrd: %s", strerror(errno));
    close(whole);
    free(boot);
    free(kernel);
    free(text);
}

/* --- Reading --- */

bool disk_open(int fd, const char *name, struct erofs_image *root, char **config) {
    uint64_t start, length;
    struct stat status;

    if (!gpt_is_there(fd) || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) ||
        !gpt_find(fd, (uint64_t)status.st_size, DISK_ROOT, &start, &length))
        return false;
    const char *problem = erofs_open_at(root, fd, start, length);
    if (problem)
        die(STATUS_FAILED, "%s: its partition " DISK_ROOT ": %s", name, problem);
    *config = erofs_read_file(root, "/" CONFIG_PATH, JSON_MOST);
    if (!*config)
        die(STATUS_FAILED, "%s: it has no /" CONFIG_PATH, name);
    return true;
}
