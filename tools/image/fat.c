/*
 * FAT by mtools; see the header. The volume's number is fixed, and so is the time of all files: mtools takes it from SOURCE_DATE_EPOCH.
 */
#include "tools/image/fat.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/image/command.h"
#include "tools/image/gpt.h"

enum { CLUSTER = 4096, MIB = 1 << 20, TABLES = 64 << 10 };

uint64_t fat_sectors(const struct fat_file *files, size_t count, uint64_t slack) {
    uint64_t bytes = TABLES + slack;

    for (size_t i = 0; i < count; i++)
        bytes += (files[i].size / CLUSTER + 1) * CLUSTER;
    return (bytes + MIB - 1) / MIB * (MIB / SECTOR);
}

static void add_words(struct command *command, const char *program, const char *image) {
    *command = (struct command){.package = "mtools"};
    strings_add(&command->words, "%s", program);
    strings_add(&command->words, "-i");
    strings_add(&command->words, "%s", image);
}

void fat_make(int fd, uint64_t start, uint64_t sectors, const struct fat_file *files, size_t count) {
    char *path = inherited_path(fd), *image = xasprintf("%s@@%ju", path, (uintmax_t)start);
    struct command command;

    if (!getenv("SOURCE_DATE_EPOCH"))
        setenv("SOURCE_DATE_EPOCH", "315532800", 1); /* the first day of FAT */
    setenv("TZ", "UTC", 1);
    setenv("MTOOLSRC", "/dev/null", 1);
    add_words(&command, "mformat", image);
    static const char *const format[] = {"-v", "KNARR-BOOT", "-N", "4b4e4152", "-h", "16", "-s", "63", "-c", "8", "-T"};
    for (size_t i = 0; i < sizeof(format) / sizeof(format[0]); i++)
        strings_add(&command.words, "%s", format[i]);
    strings_add(&command.words, "%ju", (uintmax_t)sectors);
    strings_add(&command.words, "::");
    command_run(&command);
    add_words(&command, "mmd", image);
    for (size_t i = 0; i < count; i++) {
        if (!files[i].data)
            strings_add(&command.words, "::%s", files[i].path);
    }
    command_run(&command);
    for (size_t i = 0; i < count; i++) {
        if (!files[i].data)
            continue;
        int copy = memory_file(files[i].data, files[i].size);
        add_words(&command, "mcopy", image);
        strings_add(&command.words, "/proc/self/fd/%d", copy);
        strings_add(&command.words, "::%s", files[i].path);
        command_run(&command);
        close(copy);
    }
    close(atoi(strrchr(path, '/') + 1));
    free(path);
    free(image);
}
