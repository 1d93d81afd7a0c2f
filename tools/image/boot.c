/*
 * The configuration in the boot partition; see the header.
 */
#include "tools/image/boot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/cpio.h"
#include "tools/image/config.h"
#include "tools/options.h"

enum { PASSWD_MOST = 16 << 20 };

struct user boot_user(const struct erofs_image *root, const char *text, const char *name) {
    char *passwd = root ? erofs_read_file(root, "/etc/passwd", PASSWD_MOST) : NULL;
    char *group = root ? erofs_read_file(root, "/etc/group", PASSWD_MOST) : NULL;
    struct user user;
    char *problem = user_resolve(&user, text, passwd, group);

    if (problem)
        die(STATUS_FAILED, "%s: %s", name, problem);
    free(passwd);
    free(group);
    return user;
}

static void put(FILE *file, const char *name, const char *value) { fprintf(file, "%s=%s%c", name, value, 0); }

static char *records(const json_t *config, const struct erofs_image *root, const char *source, size_t *size) {
    struct image_config read = config_read(config, "the image");
    struct user user = boot_user(root, read.user, "the image");
    struct strings environment = {0};
    char *text = NULL, *record = user_record(&user), *where = xasprintf("erofs %s", source);
    FILE *file = open_memstream(&text, size);

    if (!file)
        die(STATUS_FAILED, "out of memory");
    for (size_t i = 0; i < read.cmd.count; i++)
        strings_add(&read.entrypoint, "%s", read.cmd.item[i]);
    if (read.entrypoint.count == 0)
        strings_add(&read.entrypoint, "/sbin/init");
    environment_set(&environment, "PATH=" DEFAULT_PATH);
    environment_set(&environment, "HOSTNAME=knarr");
    char *home = xasprintf("HOME=%s", user.home ? user.home : "/");
    environment_set(&environment, home);
    for (size_t i = 0; i < read.environment.count; i++)
        environment_set(&environment, read.environment.item[i]);
    for (size_t i = 0; i < read.entrypoint.count; i++)
        put(file, "arg", read.entrypoint.item[i]);
    put(file, "exec", read.entrypoint.item[0]);
    for (size_t i = 0; i < environment.count; i++)
        put(file, "env", environment.item[i]);
    put(file, "cwd", read.directory ? read.directory : "/");
    put(file, "hostname", "knarr");
    if (read.user)
        put(file, "user", record);
    put(file, "root", where);
    if (fclose(file) != 0)
        die(STATUS_FAILED, "out of memory");
    free(record);
    free(where);
    free(home);
    return text;
}

char *boot_config(const json_t *config, const struct erofs_image *root, const char *source, size_t *size) {
    struct cpio_member member = {.path = ".knarr/config", .ino = 1, .mode = S_IFREG | 0600, .nlink = 1};
    char *archive = NULL, *text = records(config, root, source, &member.size);
    struct cpio cpio = {.file = open_memstream(&archive, size)};

    if (!cpio.file)
        die(STATUS_FAILED, "out of memory");
    cpio_add(&cpio, &member, text);
    if (!cpio_end(&cpio) || fclose(cpio.file) != 0)
        die(STATUS_FAILED, "out of memory");
    free(text);
    return archive;
}
