/*
 * The directories of machines; see the header.
 */
#include "tools/machine/state.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/machine/names.h"

enum { NAME_MOST = 128, RANDOM_NAMES = 20 };

static const char *const files[] = {"machine.json", "machine.json.new", "log",        "log.1",
                                    "lock",         "monitor.sock",     "monitor.log"};

void time_text(char text[TIME_TEXT]) {
    struct timespec now;
    struct tm parts;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t length = strftime(text, TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + length, TIME_TEXT - length, ".%09ldZ", now.tv_nsec);
}

/* ---- Where ---- */

static void make_directories(char *path) {
    for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            die(STATUS_FAILED, "%s: %s", path, strerror(errno));
        if (!slash)
            return;
        *slash = '/';
    }
}

const char *state_directory(void) {
    static char *path;

    if (path)
        return path;
    const char *given = getenv("KNARR_STATE"), *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (given && *given)
        path = realpath(given, NULL) ?: xstrdup(given);
    else if (geteuid() == 0)
        path = xstrdup("/var/lib/knarr");
    else if (state && *state == '/')
        path = xasprintf("%s/knarr", state);
    else if (home && *home == '/')
        path = xasprintf("%s/.local/state/knarr", home);
    if (!path || *path != '/')
        die(STATUS_FAILED, "where are machines kept? Set HOME or KNARR_STATE (an absolute path)");
    for (const char *const *below = (const char *const[]){"machines", "names", NULL}; *below; below++) {
        char *directory = xasprintf("%s/%s", path, *below);
        make_directories(directory);
        free(directory);
    }
    return path;
}

static char *machine_path(const char *id) { return xasprintf("%s/machines/%s", state_directory(), id); }
static char *name_path(const char *name) { return xasprintf("%s/names/%s", state_directory(), name); }

/* ---- Reading ---- */

static json_t *read_json(int directory) {
    int fd = openat(directory, "machine.json", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return NULL;
    json_t *json = json_loadfd(fd, 0, NULL);
    close(fd);
    if (json && !json_is_object(json)) {
        json_decref(json);
        json = NULL;
    }
    return json;
}

static struct machine *open_machine(const char *id) {
    char *path = machine_path(id);
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    free(path);
    if (directory < 0)
        return NULL;
    struct machine *machine = xmalloc(sizeof(*machine));
    *machine = (struct machine){.directory = directory, .lock = -1, .json = read_json(directory)};
    snprintf(machine->id, sizeof(machine->id), "%s", id);
    if (machine->json)
        return machine;
    machine_close(machine);
    return NULL;
}

bool machine_reload(struct machine *machine) {
    json_t *json = read_json(machine->directory);

    if (!json)
        return false;
    json_decref(machine->json);
    machine->json = json;
    return true;
}

const char *machine_text(const struct machine *machine, const char *member) {
    const char *text = json_text(machine->json, member);

    return text ? text : "";
}

const char *machine_name(const struct machine *machine) { return machine_text(machine, "name"); }

bool machine_is_running(const struct machine *machine) {
    if (machine->lock >= 0)
        return true;
    int fd = openat(machine->directory, "lock", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool taken = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return taken;
}

const char *machine_status(const struct machine *machine) {
    const char *status = machine_text(machine, "status");

    if (strcmp(status, "exited") == 0)
        return "exited";
    if (!machine_is_running(machine))
        return strcmp(status, "running") == 0 ? "exited" : "created";
    return strcmp(status, "running") == 0 ? "running" : "created";
}

static bool is_id(const char *text) {
    return strlen(text) == MACHINE_ID && strspn(text, "0123456789abcdef") == MACHINE_ID;
}

static char **list_ids(void) {
    char *path = machine_path("");
    DIR *directory = opendir(path);
    struct strings ids = {0};

    free(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        if (is_id(entry->d_name))
            strings_add(&ids, "%s", entry->d_name);
    }
    if (directory)
        closedir(directory);
    return ids.item;
}

static void free_ids(char **ids) {
    for (char **id = ids; id && *id; id++)
        free(*id);
    free(ids);
}

static int compare_age(const void *a, const void *b) {
    const struct machine *first = *(struct machine *const *)a, *second = *(struct machine *const *)b;

    return strcmp(machine_text(second, "created"), machine_text(first, "created"));
}

struct machine **machine_list(void) {
    char **ids = list_ids();
    size_t count = 0;

    for (char **id = ids; id && *id; id++)
        count++;
    struct machine **list = xmalloc((count + 1) * sizeof(*list));
    count = 0;
    for (char **id = ids; id && *id; id++) {
        struct machine *machine = open_machine(*id);
        if (machine)
            list[count++] = machine;
    }
    list[count] = NULL;
    qsort(list, count, sizeof(*list), compare_age);
    free_ids(ids);
    return list;
}

static char *id_of_name(const char *name) {
    char target[MACHINE_ID + 2];
    char *path = name_path(name);
    ssize_t length = readlink(path, target, sizeof(target) - 1);

    free(path);
    if (length < 0)
        return NULL;
    target[length] = '\0';
    return is_id(target) ? xstrdup(target) : NULL;
}

struct machine *machine_find(const char *word) {
    size_t length = strlen(word);
    char *id = length > 0 && !strchr(word, '/') ? id_of_name(word) : NULL;
    char **ids = list_ids();

    for (char **each = ids; !id && each && *each; each++) {
        if (length == 0 || strncmp(*each, word, length) != 0)
            continue;
        for (char **other = each + 1; *other; other++) {
            if (strncmp(*other, word, length) == 0)
                die(STATUS_FAILED, "%s: several machines have an ID that begins so", word);
        }
        id = xstrdup(*each);
    }
    free_ids(ids);
    struct machine *machine = id ? open_machine(id) : NULL;
    if (!machine)
        die(STATUS_FAILED, "%s: no such machine (knarr ps -a lists them)", word);
    free(id);
    return machine;
}

/* ---- Writing ---- */

bool machine_save(struct machine *machine) {
    int fd = openat(machine->directory, "machine.json.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char *text = json_print(machine->json);
    bool written = fd >= 0 && write_all(fd, text, strlen(text));

    free(text);
    if (fd >= 0 && close(fd) != 0)
        written = false;
    return written && renameat(machine->directory, "machine.json.new", machine->directory, "machine.json") == 0;
}

static bool is_name(const char *name) {
    size_t length = strlen(name);

    if (length < 2 || length > NAME_MOST || !isalnum((unsigned char)name[0]))
        return false;
    for (const char *at = name; *at; at++) {
        if (!isalnum((unsigned char)*at) && !strchr("_.-", *at))
            return false;
    }
    return true;
}

/* A name whose machine is not there any more (its monitor was killed between the two) is nobody's. */
static bool forget_stale(const char *name) {
    char *id = id_of_name(name), *path = id ? machine_path(id) : NULL;
    struct stat status;
    bool stale = !path || (stat(path, &status) != 0 && errno == ENOENT);

    free(id);
    free(path);
    if (!stale)
        return false;
    path = name_path(name);
    bool gone = unlink(path) == 0;
    free(path);
    return gone;
}

static bool take_name(const char *name, const char *id) {
    char *path = name_path(name);
    bool taken = symlink(id, path) == 0;

    if (!taken && errno != EEXIST)
        die(STATUS_FAILED, "%s: %s", path, strerror(errno));
    if (!taken && forget_stale(name))
        taken = symlink(id, path) == 0;
    free(path);
    return taken;
}

/* NULL: somebody else has the wanted one. */
static char *choose_name(const char *wanted, const char *id) {
    if (wanted)
        return take_name(wanted, id) ? xstrdup(wanted) : NULL;
    for (int i = 0; i < RANDOM_NAMES; i++) {
        char *name = name_invent(i);
        if (take_name(name, id))
            return name;
        free(name);
    }
    char *name = xstrdup(id); /* which is nobody else's */
    take_name(name, id);
    return name;
}

static void make_id(char id[MACHINE_ID + 1]) {
    uint8_t bytes[MACHINE_ID / 2];

    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        die(STATUS_FAILED, "random numbers: %s", strerror(errno));
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(id + 2 * i, 3, "%02x", bytes[i]);
}

struct machine *machine_create(const char *name) {
    struct machine *machine = xmalloc(sizeof(*machine));
    char created[TIME_TEXT];

    if (name && !is_name(name))
        die(STATUS_FAILED, "%s: a name has 2 to %d letters, digits, dots, hyphens and underscores", name, NAME_MOST);
    *machine = (struct machine){.json = json_object()};
    make_id(machine->id);
    char *path = machine_path(machine->id);
    if (mkdir(path, 0700) != 0 || (machine->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        die(STATUS_FAILED, "%s: %s", path, strerror(errno));
    machine->lock = openat(machine->directory, "lock", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (machine->lock < 0 || flock(machine->lock, LOCK_EX | LOCK_NB) != 0)
        die(STATUS_FAILED, "%s/lock: %s", path, strerror(errno));
    char *chosen = choose_name(name, machine->id);
    if (!chosen) {
        char *owner = id_of_name(name);
        machine_remove(machine);
        die(STATUS_FAILED, "%s: the machine %.*s has that name (knarr rm removes it)", name, MACHINE_ID_SHORT,
            owner ? owner : "?");
    }
    time_text(created);
    json_put(machine->json, "id", json_string(machine->id));
    json_put(machine->json, "name", json_string(chosen));
    json_put(machine->json, "created", json_string(created));
    json_put(machine->json, "status", json_string("created"));
    free(chosen);
    free(path);
    return machine;
}

bool machine_remove(struct machine *machine) {
    char *id = id_of_name(machine_name(machine)), *path = machine_path(machine->id);

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        unlinkat(machine->directory, files[i], 0);
    bool gone = rmdir(path) == 0;
    if (gone && id && strcmp(id, machine->id) == 0) {
        free(path);
        path = name_path(machine_name(machine));
        unlink(path);
    }
    free(path);
    free(id);
    return gone;
}

void machine_close(struct machine *machine) {
    if (machine->lock >= 0)
        close(machine->lock);
    close(machine->directory);
    json_decref(machine->json);
    free(machine);
}
