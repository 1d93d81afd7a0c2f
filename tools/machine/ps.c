/*
 * `knarr ps`: which machines there are.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/arguments.h"
#include "tools/machine/commands.h"
#include "tools/machine/state.h"

static const char usage[] = "Usage: knarr ps [OPTIONS]\n"
                            "\n"
                            "Lists the machines that run.\n"
                            "\n"
                            "  -a, --all        and those that have ended\n"
                            "  -q, --quiet      only their IDs\n"
                            "      --no-trunc   whole IDs and commands\n"
                            "      --format json   one object of JSON a line\n"
                            "      --help       print this\n";

struct options {
    bool all, quiet, whole, json;
};

enum { ID, IMAGE, COMMAND, CREATED, STATUS, PORTS, NAMES, COLUMNS };
static const char *const titles[COLUMNS] = {"MACHINE ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"};

/* Seconds since such a time; 0 when it is none. */
static int64_t age(const char *text) {
    struct tm parts = {0};

    if (!strptime(text, "%Y-%m-%dT%H:%M:%S", &parts))
        return 0;
    int64_t seconds = time(NULL) - timegm(&parts);
    return seconds > 0 ? seconds : 0;
}

/* As docker says it: "3 minutes". */
static char *span(int64_t seconds) {
    static const struct {
        int64_t length;
        const char *name;
    } units[] = {{86400 * 365, "year"}, {86400 * 30, "month"}, {86400 * 7, "week"}, {86400, "day"},
                 {3600, "hour"},        {60, "minute"},        {1, "second"}};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        int64_t number = seconds / units[i].length;
        if (number > 0)
            return xasprintf("%" PRId64 " %s%s", number, units[i].name, number == 1 ? "" : "s");
    }
    return xstrdup("Less than a second");
}

static char *status_of(const struct machine *machine) {
    const char *status = machine_status(machine);
    char *text;

    if (strcmp(status, "created") == 0)
        return xstrdup("Created");
    bool runs = strcmp(status, "running") == 0;
    bool lost = !runs && strcmp(machine_text(machine, "status"), "exited") != 0;
    char *since = span(age(machine_text(machine, runs || lost ? "started" : "finished")));
    if (runs)
        text = xasprintf("Up %s", since);
    else if (lost)
        text = xstrdup("Exited (lost)");
    else
        text =
            xasprintf("Exited (%d) %s ago", (int)json_integer_value(json_object_get(machine->json, "exitCode")), since);
    free(since);
    return text;
}

static char *join(const json_t *array, const char *separator) {
    char *text = xstrdup("");
    const json_t *word;
    size_t i;

    json_array_foreach(array, i, word) {
        char *longer =
            xasprintf("%s%s%s", text, i ? separator : "", json_string_value(word) ? json_string_value(word) : "?");
        free(text);
        text = longer;
    }
    return text;
}

/* What would disturb the terminal, or the columns, is shown as ?. */
static void make_printable(char *text) {
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
    }
}

static void fill_row(char **row, const struct machine *machine, const struct options *options) {
    char *command = join(json_object_get(machine->json, "command"), " "),
         *since = span(age(machine_text(machine, "created")));
    const char *slash = strrchr(machine_text(machine, "image"), '/');

    row[ID] = xasprintf("%.*s", options->whole ? MACHINE_ID : MACHINE_ID_SHORT, machine->id);
    row[IMAGE] = xstrdup(slash && !options->whole ? slash + 1 : machine_text(machine, "image"));
    bool cut = strlen(command) > 20 && !options->whole;
    row[COMMAND] = xasprintf("\"%.*s%s\"", cut ? 19 : (int)strlen(command), command, cut ? "…" : "");
    row[CREATED] = xasprintf("%s ago", since);
    row[STATUS] = status_of(machine);
    row[PORTS] = strcmp(machine_status(machine), "running") == 0 ? join(json_object_get(machine->json, "ports"), ", ")
                                                                 : xstrdup("");
    row[NAMES] = xstrdup(machine_name(machine));
    for (int column = 0; column < COLUMNS; column++)
        make_printable(row[column]);
    free(command);
    free(since);
}

/* Characters, not bytes, of UTF-8. */
static int width(const char *text) {
    int count = 0;

    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static void print_table(char *(*rows)[COLUMNS], size_t count) {
    int widths[COLUMNS];

    for (int column = 0; column < COLUMNS; column++) {
        widths[column] = width(titles[column]);
        for (size_t i = 0; i < count; i++)
            widths[column] = width(rows[i][column]) > widths[column] ? width(rows[i][column]) : widths[column];
    }
    for (size_t i = 0; i <= count; i++) {
        for (int column = 0; column < COLUMNS; column++) {
            const char *cell = i == 0 ? titles[column] : rows[i - 1][column];
            printf("%s%*s", cell, column == COLUMNS - 1 ? 0 : widths[column] - width(cell) + 3, "");
        }
        putchar('\n');
    }
}

int ps_main(int argc, char **argv) {
    enum { OPT_WHOLE = 256, OPT_FORMAT };
    static const struct option known[] = {{"all", no_argument, NULL, 'a'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"no-trunc", no_argument, NULL, OPT_WHOLE},
                                          {"format", required_argument, NULL, OPT_FORMAT},
                                          {"help", no_argument, NULL, OPT_HELP},
                                          {NULL, 0, NULL, 0}};
    struct options options = {0};
    int option;

    while ((option = next_option(argc, argv, ":aq", known, usage)) != -1) {
        switch (option) {
        case 'a': options.all = true; break;
        case 'q': options.quiet = true; break;
        case OPT_WHOLE: options.whole = true; break;
        case OPT_FORMAT:
            if (strcmp(optarg, "json") != 0)
                die(STATUS_FAILED, "--format %s: json is all there is", optarg);
            options.json = true;
            break;
        }
    }
    if (optind < argc)
        die(STATUS_FAILED, "%s: ps takes no names (knarr ps --help)", argv[optind]);

    struct machine **list = machine_list();
    size_t count = 0, all = 0;
    while (list[all])
        all++;
    char *(*rows)[COLUMNS] = xmalloc((all + 1) * sizeof(*rows));
    for (struct machine **machine = list; *machine; machine++) {
        if (!options.all && strcmp(machine_status(*machine), "running") != 0)
            continue;
        if (options.json) {
            json_put((*machine)->json, "status", json_string(machine_status(*machine)));
            char *text = json_dumps((*machine)->json, JSON_COMPACT);
            puts(text ? text : "{}");
            free(text);
        } else if (options.quiet) {
            printf("%.*s\n", options.whole ? MACHINE_ID : MACHINE_ID_SHORT, (*machine)->id);
        } else {
            fill_row(rows[count++], *machine, &options);
        }
    }
    if (!options.json && !options.quiet)
        print_table(rows, count);
    return fflush(stdout) == 0 ? 0 : STATUS_FAILED;
}
