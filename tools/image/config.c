/*
 * Configurations of images; see the header. The form is that of the OCI image specification's config.md; members that are not known
 * here are kept as they are.
 */
#include "tools/image/config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CPUS_MOST 64

/* --- Options over an image --- */

bool split_words(const char *text, struct strings *words) {
    char *word = xmalloc(strlen(text) + 1), *end = word;
    bool in_word = false;
    char quote = '\0';

    for (; *text; text++) {
        if (quote != '\'' && *text == '\\' && text[1] && (!quote || strchr("\"\\$`", text[1]))) {
            *end++ = *++text;
            in_word = true;
        } else if (quote ? *text == quote : *text == '\'' || *text == '"') {
            quote = quote ? '\0' : *text;
            in_word = true;
        } else if (!quote && isspace((unsigned char)*text)) {
            if (in_word)
                strings_add(words, "%.*s", (int)(end - word), word);
            end = word;
            in_word = false;
        } else {
            *end++ = *text;
            in_word = true;
        }
    }
    if (in_word && !quote)
        strings_add(words, "%.*s", (int)(end - word), word);
    free(word);
    return quote == '\0';
}

/* ["a", "b"] or words. */
static json_t *command(const char *option, const char *text) {
    struct strings words = {0};

    if (*text == '[') {
        json_t *given = json_parse(text, strlen(text), option);
        if (!json_strings(given, &words))
            die(STATUS_FAILED, "%s %s: not an array of strings", option, text);
        json_decref(given);
    } else if (!split_words(text, &words)) {
        die(STATUS_FAILED, "%s %s: a quote is open", option, text);
    }
    json_t *array = json_from_strings(&words);
    strings_free(&words);
    return array;
}

/* The member that is an object, made when there is none. */
static json_t *object_of(json_t *parent, const char *name) {
    json_t *object = json_object_get(parent, name);

    if (!json_is_object(object)) {
        json_put(parent, name, json_object());
        object = json_object_get(parent, name);
    }
    return object;
}

static void set_environment(json_t *config, const struct strings *settings) {
    struct strings all = {0};

    if (settings->count == 0)
        return;
    json_strings(json_object_get(config, "Env"), &all);
    for (size_t i = 0; i < settings->count; i++)
        environment_set(&all, settings->item[i]);
    json_put(config, "Env", json_from_strings(&all));
    strings_free(&all);
}

static void expose(json_t *ports, const char *text) {
    char *slash = strchr(text, '/'), *end;
    unsigned long first = strtoul(text, &end, 10), last = *end == '-' ? strtoul(end + 1, &end, 10) : first;

    if (!isdigit((unsigned char)*text) || (*end && end != slash) || first < 1 || last > 65535 || first > last ||
        (slash && strcmp(slash, "/tcp") != 0 && strcmp(slash, "/udp") != 0))
        die(STATUS_FAILED, "--expose %s: not PORT or PORT/udp", text);
    for (; first <= last; first++) {
        char *name = xasprintf("%lu%s", first, slash ? slash : "/tcp");
        json_put(ports, name, json_object());
        free(name);
    }
}

static void set_times(json_t *image) {
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    char text[32];
    struct tm tm;
    char *end;

    if (!epoch || !*epoch || json_text(image, "created"))
        return;
    time_t seconds = strtoll(epoch, &end, 10);
    if (*end || !gmtime_r(&seconds, &tm) || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        die(STATUS_FAILED, "SOURCE_DATE_EPOCH=%s: not a number of seconds", epoch);
    json_put(image, "created", json_string(text));
}

json_t *config_make(json_t *image, const struct config_options *options) {
    image = image ? image : json_object();
    json_t *config = object_of(image, "config"), *ours = json_object();

    json_put(image, "architecture", json_string("amd64"));
    json_put(image, "os", json_string("linux"));
    set_times(image);
    if (options->entrypoint) { /* as docker has it: the image's command was meant for its own entrypoint */
        json_put(config, "Entrypoint", command("--entrypoint", options->entrypoint));
        json_object_del(config, "Cmd");
    }
    if (options->cmd)
        json_put(config, "Cmd", command("--cmd", options->cmd));
    set_environment(config, &options->environment);
    if (options->directory)
        json_put(config, "WorkingDir", json_string(options->directory));
    if (options->user)
        json_put(config, "User", json_string(options->user));
    if (options->stop_signal)
        json_put(config, "StopSignal", json_string(options->stop_signal));
    for (size_t i = 0; i < options->expose.count; i++)
        expose(object_of(config, "ExposedPorts"), options->expose.item[i]);
    for (size_t i = 0; i < options->volumes.count; i++) {
        if (*options->volumes.item[i] != '/')
            die(STATUS_FAILED, "--volume %s: not an absolute path", options->volumes.item[i]);
        json_put(object_of(config, "Volumes"), options->volumes.item[i], json_object());
    }
    for (size_t i = 0; i < options->labels.count; i++) {
        const char *label = options->labels.item[i];
        char *name = xasprintf("%.*s", (int)strcspn(label, "="), label);
        json_put(object_of(config, "Labels"), name, json_string(strchr(label, '=') ? strchr(label, '=') + 1 : ""));
        free(name);
    }
    json_put(ours, "version", json_integer(1));
    if (options->memory)
        json_put(ours, "memory", json_integer((json_int_t)options->memory));
    if (options->cpus)
        json_put(ours, "cpus", json_integer(options->cpus));
    json_put(image, "knarr", ours);
    return image;
}

/* --- What running needs --- */

static void list(const json_t *config, const char *member, struct strings *strings, const char *name) {
    const json_t *value = json_object_get(config, member);

    if (value && !json_is_null(value) && !json_strings(value, strings))
        die(STATUS_FAILED, "%s: %s is not a list of strings", name, member);
}

static char *text(const json_t *config, const char *member) {
    const char *value = json_text(config, member);

    return value && *value ? xstrdup(value) : NULL;
}

static void names(const json_t *config, const char *member, struct strings *strings) {
    json_t *object = json_object_get(config, member);

    for (void *each = json_object_iter(object); each; each = json_object_iter_next(object, each))
        strings_add(strings, "%s", json_object_iter_key(each));
}

struct image_config config_read(const json_t *image, const char *name) {
    const json_t *config = json_object_get(image, "config"), *ours = json_object_get(image, "knarr");
    json_int_t memory = json_integer_value(json_object_get(ours, "memory"));
    json_int_t cpus = json_integer_value(json_object_get(ours, "cpus"));
    struct image_config read = {0};
    struct strings settings = {0};

    list(config, "Env", &settings, name);
    for (size_t i = 0; i < settings.count; i++) {
        const char *equals = strchr(settings.item[i], '=');
        if (equals && equals > settings.item[i])
            environment_set(&read.environment, settings.item[i]);
    }
    strings_free(&settings);
    list(config, "Entrypoint", &read.entrypoint, name);
    list(config, "Cmd", &read.cmd, name);
    names(config, "ExposedPorts", &read.ports);
    names(config, "Volumes", &read.volumes);
    char *directory = text(config, "WorkingDir");
    read.directory = directory && *directory != '/' ? xasprintf("/%s", directory) : directory;
    if (read.directory != directory)
        free(directory);
    read.user = text(config, "User");
    read.stop_signal = text(config, "StopSignal");
    read.memory = memory > 0 ? (uint64_t)memory : 0;
    read.cpus = cpus > 0 && cpus <= CPUS_MOST ? (unsigned)cpus : 0;
    return read;
}
