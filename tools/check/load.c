/*
 * A program with its libraries, those that it loads by itself among them; see the header.
 */
#include "tools/check/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tools/check/script.h"
#include "tools/elfcheck.h"
#include "tools/libraries.h"

enum { ROUNDS_MOST = 4, SCRIPTS_MOST = 4, OBJECTS_MOST = 1000 };

struct loading {
    struct check_files *files;
    struct report *report;
};

static struct object *find_object(struct report *report, const char *path) {
    for (size_t i = 0; i < report->reach.object_count; i++)
        if (strcmp(report->reach.objects[i]->name, path) == 0)
            return report->reach.objects[i];
    return NULL;
}

static struct object *add_object(struct loading *loading, const char *path) {
    struct object *object = find_object(loading->report, path);
    size_t size;

    if (object || loading->report->reach.object_count >= OBJECTS_MOST)
        return NULL;
    uint8_t *bytes = check_read(loading->files, path, &size);
    if (!bytes)
        return NULL;
    object = xmalloc(sizeof(*object));
    if (object_read(object, path, bytes, size) != NULL) {
        object_free(object);
        free(object);
        return NULL;
    }
    reach_add(&loading->report->reach, object);
    return object;
}

static void found(void *context, const char *host, const char *guest, int fd, const char *same) {
    if (fd >= 0 && !same)
        add_object(context, host);
}

static void add_once(struct strings *list, const char *text) {
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->item[i], text) == 0)
            return;
    strings_add(list, "%s", text);
}

static void missing(void *context, const char *name, const char *loader) {
    add_once(&((struct loading *)context)->report->missing, name);
}

static int open_file(void *context, const char *path) { return check_open(((struct loading *)context)->files, path); }

/* The libraries that the file at the path needs. NULL, or what is wrong. */
static const char *add_libraries(struct loading *loading, const char *path, const char *interpreter) {
    struct library_search search = {.environment = &loading->files->environment,
                                    .directory = "/",
                                    .context = loading,
                                    .open = open_file,
                                    .found = found,
                                    .missing = missing};
    const char *problem = NULL;
    int fd = check_open(loading->files, path);

    if (fd < 0)
        return "it cannot be read";
    libraries_find(&search, path, fd, path, interpreter, &problem);
    close(fd);
    return problem;
}

/* A library by the name that dlopen(3) is given. NULL: not found. */
static char *find_library(struct loading *loading, const char *name) {
    static const char *const directories[] = {
        "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
        "/usr/local/lib"};
    char *path = NULL;

    if (strchr(name, '/'))
        return xstrdup(name);
    for (size_t i = 0; i < loading->report->reach.object_count + sizeof(directories) / sizeof(directories[0]); i++) {
        size_t k = i - loading->report->reach.object_count;
        const char *of = i < loading->report->reach.object_count ? loading->report->reach.objects[i]->name : NULL;
        const char *slash = of ? strrchr(of, '/') : NULL;
        path = of ? xasprintf("%.*s/%s", slash ? (int)(slash - of) : 1, slash ? of : ".", name)
                  : xasprintf("%s/%s", directories[k], name);
        int fd = check_open(loading->files, path);
        if (fd >= 0) {
            close(fd);
            return path;
        }
        free(path);
    }
    return NULL;
}

/* Adds a plug-in with what it needs; false when it is not there. */
static bool add_plugin(struct loading *loading, const char *name, const char *interpreter) {
    size_t before = loading->report->reach.object_count, needed = loading->report->missing.count;
    char *path = find_library(loading, name);
    bool there = path && (find_object(loading->report, path) || add_object(loading, path));

    if (there && interpreter && loading->report->reach.object_count > before)
        add_libraries(loading, path, interpreter);
    while (loading->report->missing.count > needed) /* the plug-in will not load: no harm to the program */
        free(loading->report->missing.item[--loading->report->missing.count]);
    for (size_t i = before; i < loading->report->reach.object_count; i++)
        reach_enter(&loading->report->reach, loading->report->reach.objects[i], false, true);
    free(path);
    return there;
}

/* What the numbers say about libraries that are loaded by name. True: there are new objects. */
static bool follow_dlopen(struct loading *loading, const char *interpreter) {
    struct report *report = loading->report;
    size_t before = report->reach.object_count;

    for (size_t i = 0; i < report->numbers.option_count; i++) {
        const struct option_use *option = &report->numbers.options[i];
        if (option->number != NUMBER_DLOPEN)
            continue;
        const char *name = object_string(option->use.function->object, (uint64_t)option->value, 4096);
        if (!name || !*name)
            continue;
        char *copy = xstrdup(name);
        add_once(add_plugin(loading, copy, interpreter) ? &report->loaded : &report->unloaded, copy);
        free(copy);
    }
    return report->reach.object_count > before;
}

static void look(struct loading *loading, const char *interpreter) {
    struct report *report = loading->report;
    struct reach *reach = &report->reach;

    for (size_t i = 0; i < reach->object_count; i++)
        reach_enter(reach, reach->objects[i],
                    i == 0 || (interpreter && strcmp(reach->objects[i]->name, interpreter) == 0), false);
    for (size_t i = 0; i < loading->files->also.count; i++)
        if (!add_plugin(loading, loading->files->also.item[i], interpreter))
            add_once(&report->missing, loading->files->also.item[i]);
    for (unsigned round = 0; round < ROUNDS_MOST; round++) {
        reach_run(reach);
        numbers_free(&report->numbers);
        numbers_find(&report->numbers, reach);
        if (!follow_dlopen(loading, interpreter))
            break;
    }
    struct function *dlopen[2];
    size_t count = interpreter ? reach_resolve(reach, "dlopen", dlopen, 2) : 0;
    for (size_t i = 0; i < count; i++)
        report->loads_by_name |= dlopen[i]->level != LEVEL_NONE;
    for (size_t i = 0; i < report->numbers.option_count; i++) {
        const struct option_use *option = &report->numbers.options[i];
        bool maps = option->number == 9 || option->number == 10;
        bool linker = interpreter && strcmp(option->use.function->object->name, interpreter) == 0;
        report->makes_code |= maps && option->value & PROT_EXEC && !(option->value & PROT_GROWSDOWN) && !linker &&
                              option->use.function->object == reach->objects[0];
    }
}

static void check_elf(struct check_files *files, const char *path, struct report *report) {
    struct loading loading = {files, report};
    struct object *program = add_object(&loading, path);

    if (!program) {
        report->problem = xstrdup("a damaged ELF file");
        return;
    }
    char *interpreter = program->interpreter ? xstrdup(program->interpreter) : NULL;
    const char *problem = interpreter ? add_libraries(&loading, path, interpreter) : NULL;
    if (problem)
        report->problem = xasprintf("%s (%s)", problem, interpreter);
    else
        look(&loading, interpreter);
    free(interpreter);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void check_program(struct check_files *files, const char *path, struct report *report) {
    double start = now();
    char *current = xstrdup(path), *interpreter = NULL;

    for (unsigned depth = 0;; depth++) {
        size_t size;
        uint8_t *bytes = check_read(files, current, &size);
        if (!bytes) {
            report->problem = xasprintf("%s: %s", current, strerror(errno));
            break;
        }
        const char *problem = elf_check((char *)bytes, size < ELF_HEAD ? size : ELF_HEAD, size, &interpreter);
        char *next = problem ? NULL : script_interpreter((char *)bytes, size);
        if (next && !report->script) {
            report->script = xstrdup(next);
            script_words(files, (char *)bytes, size, &report->started);
        }
        free(bytes);
        free(interpreter);
        if (problem)
            report->problem = xstrdup(problem);
        else if (!next)
            check_elf(files, current, report);
        else if (depth < SCRIPTS_MOST) {
            free(current);
            current = check_find(files, next);
            free(next);
            if (current)
                continue;
            current = xstrdup("");
            report->problem = xasprintf("its interpreter %s is not there", report->script);
        } else {
            report->problem = xstrdup("scripts that run scripts, too deep");
            free(next);
        }
        break;
    }
    free(current);
    report->seconds = now() - start;
}

static void free_strings(struct strings *list) {
    for (size_t i = 0; i < list->count; i++)
        free(list->item[i]);
    free(list->item);
}

void check_free(struct report *report) {
    numbers_free(&report->numbers);
    for (size_t i = 0; i < report->reach.object_count; i++) {
        object_free(report->reach.objects[i]);
        free(report->reach.objects[i]);
    }
    reach_free(&report->reach);
    free(report->problem);
    free(report->script);
    free_strings(&report->started);
    free_strings(&report->missing);
    free_strings(&report->loaded);
    free_strings(&report->unloaded);
    *report = (struct report){0};
}
