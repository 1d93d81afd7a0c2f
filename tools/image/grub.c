/*
 * GRUB; see the header. grub-mkimage makes the two images; what remains is the part of grub-bios-setup for a BIOS boot partition:
 * the MBR's code learns where the core begins, the core's first sector where the rest of it lies (one piece, right behind).
 */
#include "tools/image/grub.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/image/command.h"
#include "tools/image/gpt.h"

#define DIRECTORY "/usr/lib/grub"

/* include/grub/i386/pc/boot.h */
enum {
    KERNEL_SECTOR = 0x5c,    /* of the core's first sector, 8 bytes */
    BOOT_DRIVE = 0x64,       /* 0xff: what the BIOS says */
    DRIVE_CHECK = 0x66,      /* a jump over a workaround for BIOSes that say nonsense; two nops let it happen */
    BLOCKLIST = SECTOR - 12, /* u64 start, u16 sectors, u16 segment */
    IMAGE_MOST = 16 << 20,
};

/* A serial port is where headless machines show what went wrong. */
const char grub_config[] = "if serial --unit=0 --speed=115200; then terminal_output console serial; fi\n"
                           "set timeout=0\n"
                           "menuentry Knarr {\n"
                           "    multiboot2 /knarr/knarr.elf\n"
                           "    module2 /knarr/config.cpio\n"
                           "}\n";

static uint8_t *read_all(int fd, size_t *size, const char *name) {
    struct stat status;

    if (fd < 0 || fstat(fd, &status) != 0)
        die(STATUS_FAILED, "%s: %s (Debian: apt-get install grub-pc-bin grub-efi-amd64-bin)", name, strerror(errno));
    if (status.st_size > IMAGE_MOST)
        die(STATUS_FAILED, "%s: %jd bytes are too many", name, (intmax_t)status.st_size);
    *size = ((size_t)status.st_size + SECTOR - 1) / SECTOR * SECTOR;
    uint8_t *bytes = xmalloc(*size);
    memset(bytes, 0, *size);
    if (pread(fd, bytes, (size_t)status.st_size, 0) != status.st_size)
        die(STATUS_FAILED, "%s: it cannot be read", name);
    *size = (size_t)status.st_size;
    close(fd);
    return bytes;
}

static uint8_t *make_image(const char *format, const char *prefix, const char *const modules[], size_t *size) {
    struct command command = {.package = "grub-common"};
    int fd = memfd_create(format, 0);

    if (fd < 0)
        die(STATUS_FAILED, "a temporary file: %s", strerror(errno));
    strings_add(&command.words, "grub-mkimage");
    strings_add(&command.words, "--directory=" DIRECTORY "/%s", format);
    strings_add(&command.words, "--format=%s", format);
    strings_add(&command.words, "--prefix=%s", prefix);
    strings_add(&command.words, "--output=/proc/self/fd/%d", fd);
    for (; *modules; modules++)
        strings_add(&command.words, "%s", *modules);
    command_run(&command);
    return read_all(fd, size, format);
}

static void link_core(struct grub *grub, uint64_t core_at) {
    uint64_t rest = core_at + 1;
    uint16_t sectors;

    memcpy(grub->boot + KERNEL_SECTOR, &core_at, sizeof(core_at));
    grub->boot[BOOT_DRIVE] = 0xff;
    grub->boot[DRIVE_CHECK] = grub->boot[DRIVE_CHECK + 1] = 0x90;
    memcpy(&sectors, grub->core + BLOCKLIST + 8, sizeof(sectors));
    if (sectors != (grub->core_size + SECTOR - 1) / SECTOR - 1)
        die(STATUS_FAILED, "grub-mkimage made an image of a form that is not known (%u sectors)", sectors);
    memcpy(grub->core + BLOCKLIST, &rest, sizeof(rest));
}

struct grub grub_make(uint64_t core_at) {
    static const char *const bios[] = {"biosdisk", "part_gpt", "fat",  "normal", "multiboot2",
                                       "serial",   "terminal", "boot", NULL};
    static const char *const efi[] = {"part_gpt", "fat", "normal", "multiboot2", "serial", "terminal", "boot", NULL};
    struct grub grub;
    size_t size;
    uint8_t *boot =
        read_all(open(DIRECTORY "/i386-pc/boot.img", O_RDONLY | O_CLOEXEC), &size, DIRECTORY "/i386-pc/boot.img");

    if (size != SECTOR)
        die(STATUS_FAILED, DIRECTORY "/i386-pc/boot.img: %zu bytes instead of a sector", size);
    memcpy(grub.boot, boot, sizeof(grub.boot));
    free(boot);
    grub.core = make_image("i386-pc", "(,gpt2)/boot/grub", bios, &grub.core_size);
    grub.efi = make_image("x86_64-efi", "/boot/grub", efi, &grub.efi_size);
    link_core(&grub, core_at);
    return grub;
}

void grub_free(struct grub *grub) {
    free(grub->core);
    free(grub->efi);
}
