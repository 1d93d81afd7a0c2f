/*
 * Volumes, disks and tmpfs for the guest; see the header.
 */
#include "tools/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/options.h"

bool is_volume(const char *word) { return word && *word != '-' && strstr(word, ":/"); }

/* --- Words --- */

/* A place in the guest, without what means nothing. */
static char *guest_directory(const char *option, const char *word, const char *directory) {
    char *clean = *directory == '/' ? path_normalize(directory) : NULL;

    if (!clean)
        die(STATUS_FAILED, "%s %s: %s is not an absolute path without \"..\"", option, word, directory);
    if (*clean == '\0')
        die(STATUS_FAILED, "%s %s: the root itself cannot be mounted over (see --root)", option, word);
    char *absolute = xasprintf("/%s", clean);
    free(clean);
    return absolute;
}

static struct mount *add(struct mounts *mounts, enum mount_kind kind, const char *option, const char *word,
                         char *directory) {
    unsigned number = 0;

    for (size_t i = 0; i < mounts->count; i++) {
        const struct mount *other = &mounts->item[i];
        number += other->kind == kind;
        if (directory && other->directory && strcmp(directory, other->directory) == 0)
            die(STATUS_FAILED, "%s %s: something else is mounted on %s already", option, word, directory);
    }
    mounts->item = xrealloc(mounts->item, (mounts->count + 1) * sizeof(struct mount));
    struct mount *mount = &mounts->item[mounts->count++];
    *mount = (struct mount){.kind = kind, .number = number, .directory = directory};
    return mount;
}

/* SOURCE:/DIRECTORY:OPTIONS in its three parts, allocated; those that are not there are NULL. */
static void split(const char *word, char **source, char **directory, char **options) {
    const char *colon = NULL;

    for (const char *next = word; (next = strstr(next, ":/")); next++)
        colon = next;
    *source = colon ? xasprintf("%.*s", (int)(colon - word), word) : xstrdup(word);
    *directory = *options = NULL;
    if (!colon)
        return;
    *directory = xstrdup(colon + 1);
    char *end = strchr(*directory, ':');
    if (end) {
        *options = xstrdup(end + 1);
        *end = '\0';
    }
}

/* --- Volumes --- */

/* As docker does it: a directory that is not there is made. */
static void make_directories(const char *path) {
    char *copy = xstrdup(path);

    for (char *slash = copy; (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        mkdir(copy, 0777);
        *slash = '/';
    }
    if (mkdir(copy, 0777) != 0 && errno != EEXIST)
        die(STATUS_FAILED, "-v %s: cannot be made: %s", path, strerror(errno));
    free(copy);
}

static void set_volume_options(struct mount *mount, const char *word, char *options) {
    char *rest = options;

    for (char *option; (option = strsep(&rest, ","));) {
        if (strcmp(option, "ro") == 0)
            mount->read_only = true;
        else if (strcmp(option, "mapped") == 0)
            mount->mapped = true;
        else if (*option != '\0' && strcmp(option, "rw") != 0)
            die(STATUS_FAILED, "-v %s: no such option %s (there are ro, rw, mapped)", word, option);
    }
}

void mounts_add_volume(struct mounts *mounts, const char *word) {
    char *source, *directory, *options;
    struct stat status;

    split(word, &source, &directory, &options);
    if (!directory || *source == '\0')
        die(STATUS_FAILED, "-v %s: not of the form HOST:GUEST[:ro] with an absolute GUEST", word);
    if (!strchr(source, '/') && strcmp(source, ".") != 0 && strcmp(source, "..") != 0)
        die(STATUS_FAILED, "-v %s: there are no volumes by name; the directory of that name is ./%s", word, source);
    struct mount *mount = add(mounts, MOUNT_VOLUME, "-v", word, guest_directory("-v", word, directory));
    if (options)
        set_volume_options(mount, word, options);
    if (access(source, F_OK) != 0 && errno == ENOENT)
        make_directories(source);
    mount->source = realpath(source, NULL);
    if (!mount->source || stat(source, &status) != 0)
        die(STATUS_FAILED, "-v %s: %s: %s", word, source, strerror(errno));
    if (S_ISREG(status.st_mode)) { /* a server shares directories */
        char *slash = strrchr(mount->source, '/');
        mount->file = xstrdup(slash + 1);
        slash[slash == mount->source] = '\0';
    } else if (!S_ISDIR(status.st_mode)) {
        die(STATUS_FAILED, "-v %s: only directories and regular files can be shared", word);
    }
    if (access(mount->source, R_OK | X_OK) != 0)
        die(STATUS_FAILED, "-v %s: %s: %s", word, mount->source, strerror(errno));
    free(source);
    free(directory);
    free(options);
}

/* --- Disks --- */

void mounts_add_disk(struct mounts *mounts, const char *word) {
    char *source, *directory, *options;
    struct stat status;

    split(word, &source, &directory, &options);
    size_t length = strlen(source);
    if (!directory && length > 3 && strcmp(source + length - 3, ":ro") == 0 && access(source, F_OK) != 0) {
        source[length - 3] = '\0';
        options = xstrdup("ro");
    }
    if (options && strcmp(options, "ro") != 0 && strcmp(options, "rw") != 0)
        die(STATUS_FAILED, "--disk %s: no such option %s (there are ro, rw)", word, options);
    struct mount *mount =
        add(mounts, MOUNT_DISK, "--disk", word, directory ? guest_directory("--disk", word, directory) : NULL);
    mount->read_only = options && strcmp(options, "ro") == 0;
    mount->source = realpath(source, NULL);
    if (!mount->source || stat(mount->source, &status) != 0)
        die(STATUS_FAILED, "--disk %s: %s: %s", word, source, strerror(errno));
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        die(STATUS_FAILED, "--disk %s: neither a regular file nor a block device", word);
    if (S_ISREG(status.st_mode) && status.st_size == 0)
        die(STATUS_FAILED, "--disk %s: an empty file", word);
    if (access(mount->source, mount->read_only ? R_OK : R_OK | W_OK) != 0)
        die(STATUS_FAILED, "--disk %s: %s", word, strerror(errno));
    for (const struct mount *other = mounts->item; other < mount; other++) {
        if (other->kind == MOUNT_DISK && strcmp(other->source, mount->source) == 0 &&
            !(other->read_only && mount->read_only))
            die(STATUS_FAILED, "--disk %s: the same disk twice, and not read-only", word);
    }
    free(source);
    free(directory);
    free(options);
}

/* --- Memory --- */

/* docker's words in the form that the guest takes: the size in bytes, and what docker adds by itself. */
void mounts_add_tmpfs(struct mounts *mounts, const char *word) {
    static const char *const defaults[][2] = {{"nosuid", "suid"}, {"nodev", "dev"}, {"noexec", "exec"}};
    char *directory = xstrdup(word);
    char *rest = strchr(directory, ':');
    struct strings words = {0};
    char *text = xstrdup("");
    bool overridden[3] = {0}, has_mode = false;

    if (rest)
        *rest++ = '\0';
    struct mount *mount = add(mounts, MOUNT_TMPFS, "--tmpfs", word, guest_directory("--tmpfs", word, directory));
    for (char *option; (option = strsep(&rest, ","));) {
        uint64_t bytes;
        if (strncmp(option, "size=", 5) == 0 && option[strlen(option) - 1] != '%') {
            if (!parse_size(option + 5, &bytes))
                die(STATUS_FAILED, "--tmpfs %s: %s is not a size", word, option + 5);
            strings_add(&words, "size=%ju", (uintmax_t)bytes);
            continue;
        }
        bool known = *option == '\0' || strcmp(option, "rw") == 0;
        for (unsigned i = 0; i < 3; i++) {
            overridden[i] |= strcmp(option, defaults[i][1]) == 0;
            known |= strcmp(option, defaults[i][0]) == 0 || strcmp(option, defaults[i][1]) == 0;
        }
        if (strcmp(option, "ro") == 0)
            mount->read_only = known = true;
        has_mode |= strncmp(option, "mode=", 5) == 0;
        if (!known)
            strings_add(&words, "%s", option);
    }
    for (unsigned i = 0; i < 3; i++) {
        if (!overridden[i])
            strings_add(&words, "%s", defaults[i][0]);
    }
    if (!has_mode)
        strings_add(&words, "mode=1777");
    for (size_t i = 0; i < words.count; i++) {
        char *longer = xasprintf("%s,%s", text, words.item[i]);
        free(text);
        free(words.item[i]);
        text = longer;
    }
    mount->options = text;
    free(words.item);
    free(directory);
}

/* --- The guest's configuration --- */

static void put_word(FILE *config, const char *word) {
    for (; *word != '\0'; word++) {
        if (strchr(" \t\n\\", *word))
            fprintf(config, "\\%03o", *word);
        else
            fputc(*word, config);
    }
}

static void put_record(const struct mount *mount, unsigned first_disk, FILE *config) {
    static const char *const types[] = {"9p", "ext4", "tmpfs"};

    fprintf(config, "mount=%s ", types[mount->kind]);
    switch (mount->kind) {
    case MOUNT_VOLUME: fprintf(config, "vol%u", mount->number); break;
    case MOUNT_DISK: fprintf(config, "/dev/vd%c", 'a' + (int)(first_disk + mount->number)); break;
    case MOUNT_TMPFS: fprintf(config, "tmpfs"); break;
    }
    fputc(' ', config);
    put_word(config, mount->directory);
    fprintf(config, mount->read_only ? " ro" : " rw");
    if (mount->options)
        put_word(config, mount->options);
    if (mount->file) {
        fprintf(config, ",file=");
        put_word(config, mount->file);
    }
    fputc('\0', config);
}

static unsigned depth(const struct mount *mount) {
    unsigned slashes = 0;

    for (const char *c = mount->directory; *c != '\0'; c++)
        slashes += *c == '/';
    return slashes;
}

/* Outer ones first, or they would hide the inner ones; otherwise as they were given. */
void mounts_config(const struct mounts *mounts, unsigned first_disk, FILE *config) {
    size_t left = mounts->count;

    for (unsigned level = 1; left > 0; level++) {
        left = 0;
        for (size_t i = 0; i < mounts->count; i++) {
            const struct mount *mount = &mounts->item[i];
            if (mount->directory && depth(mount) == level)
                put_record(mount, first_disk, config);
            left += mount->directory && depth(mount) > level;
        }
    }
}

/* --- Devices --- */

unsigned mounts_devices(const struct mounts *mounts) {
    unsigned count = 0;

    for (size_t i = 0; i < mounts->count; i++)
        count += mounts->item[i].kind != MOUNT_TMPFS;
    return count;
}

/* A value in QEMU's lists of properties. */
static char *qemu_quote(const char *value) {
    char *quoted = xmalloc(2 * strlen(value) + 1), *out = quoted;

    for (; *value != '\0'; value++) {
        if (*value == ',')
            *out++ = ',';
        *out++ = *value;
    }
    *out = '\0';
    return quoted;
}

void disk_command(const char *id, const char *file, bool read_only, const char *bus, const char *more,
                  struct strings *command) {
    struct stat status;
    const char *driver = stat(file, &status) == 0 && S_ISBLK(status.st_mode) ? "host_device" : "file";
    char *name = qemu_quote(file);

    strings_add(command, "-drive");
    strings_add(command, "if=none,id=%s,format=raw,%s,file.driver=%s,file.filename=%s", id,
                read_only ? "readonly=on" : "discard=unmap", driver, name);
    strings_add(command, "-device");
    strings_add(command, "virtio-blk-%s,drive=%s%s", bus, id, more);
    free(name);
}

/* With root's rights the server sets owners as the guest says; without, files belong to whoever runs it. */
static void volume_command(const struct mount *mount, const char *bus, const char *more, struct strings *command) {
    const char *model = mount->mapped ? "mapped-xattr" : geteuid() == 0 ? "passthrough" : "none";
    char *path = qemu_quote(mount->source);

    strings_add(command, "-fsdev");
    strings_add(command, "local,id=vol%u,path=%s,security_model=%s,multidevs=remap%s", mount->number, path, model,
                mount->read_only ? ",readonly=on" : "");
    strings_add(command, "-device");
    strings_add(command, "virtio-9p-%s,fsdev=vol%u,mount_tag=vol%u%s", bus, mount->number, mount->number, more);
    free(path);
}

void mounts_command(const struct mounts *mounts, const char *bus, const char *more, struct strings *command) {
    for (size_t i = 0; i < mounts->count; i++) {
        const struct mount *mount = &mounts->item[i];
        char id[16];
        snprintf(id, sizeof(id), "disk%u", mount->number);
        if (mount->kind == MOUNT_DISK)
            disk_command(id, mount->source, mount->read_only, bus, more, command);
        else if (mount->kind == MOUNT_VOLUME)
            volume_command(mount, bus, more, command);
    }
}
