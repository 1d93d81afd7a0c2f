/*
 * `knarr inspect` and `knarr stats`: what a machine is, and what it uses.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/arguments.h"
#include "tools/machine/commands.h"
#include "tools/machine/state.h"
#include "tools/machine/connect.h"
#include "tools/machine/monitor.h"

static const char inspect_usage[] = "Usage: knarr inspect MACHINE...\n"
                                    "\n"
                                    "Prints all that is known of machines, as an array of JSON objects.\n"
                                    "\n"
                                    "      --help   print this\n";
static const char stats_usage[] = "Usage: knarr stats [--no-stream] [MACHINE...]\n"
                                  "\n"
                                  "Prints what machines (all that run) use of the host, each second.\n"
                                  "\n"
                                  "      --no-stream   only once\n"
                                  "      --help        print this\n";

static bool inspect(const char *word, void *arg) {
    struct machine *machine = machine_find(word);

    json_put(machine->json, "status", json_string(machine_status(machine)));
    json_array_append(arg, machine->json);
    machine_close(machine);
    return true;
}

int inspect_main(int argc, char **argv) {
    static const struct option known[] = {{"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0}};
    json_t *array = json_array();

    while (next_option(argc, argv, ":", known, inspect_usage) != -1) {
    }
    int status = for_each_machine(argc, argv, inspect, array);
    char *text = json_dumps(array, JSON_INDENT(4));
    puts(text ? text : "[]");
    free(text);
    return fflush(stdout) == 0 ? status : STATUS_FAILED;
}

struct sample {
    struct machine *machine;
    uint64_t cpu, memory, read, written;
    int64_t at; /* nanoseconds */
    bool known;
};

static int64_t now_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static uint64_t value_of(const char *text, const char *key) {
    const char *at = strstr(text, key);

    return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static bool take_sample(struct sample *sample) {
    static struct frame_decoder decoder;
    struct frame frame;
    int fd = monitor_connect(sample->machine);

    decoder.start = decoder.end = 0;
    sample->known = fd >= 0 && monitor_say(fd, CLIENT_STATS, NULL, 0) && monitor_hear(fd, &decoder, &frame) &&
                    frame.type == CLIENT_STATS;
    if (fd >= 0)
        close(fd);
    if (!sample->known)
        return false;
    char *text = xasprintf("%.*s", (int)frame.length, (const char *)frame.payload);
    sample->at = now_ns();
    sample->cpu = value_of(text, "cpu=");
    sample->memory = value_of(text, "memory=");
    sample->read = value_of(text, "read=");
    sample->written = value_of(text, "written=");
    free(text);
    return true;
}

static void print_samples(const struct sample *before, const struct sample *samples, size_t count) {
    printf("%-12s   %-24s   %7s   %10s / %-10s   %10s / %-10s\n", "MACHINE ID", "NAME", "CPU %", "MEM MB", "LIMIT MB",
           "READ MB", "WRITTEN MB");
    for (size_t i = 0; i < count; i++) {
        const struct sample *s = &samples[i];
        int64_t time = s->at - before[i].at;
        double cpu =
            before[i].known && s->known && time > 0 ? 100.0 * (double)(s->cpu - before[i].cpu) / (double)time : 0;
        if (s->known) {
            printf("%-12.12s   %-24s   %6.1f%%   %10.1f / %-10.1f   %10.1f / %-10.1f\n", s->machine->id,
                   machine_name(s->machine), cpu, (double)s->memory / 1e6,
                   (double)json_integer_value(json_object_get(s->machine->json, "memory")) / 1e6, (double)s->read / 1e6,
                   (double)s->written / 1e6);
        }
    }
    fflush(stdout);
}

int stats_main(int argc, char **argv) {
    enum { OPT_ONCE = 256 };
    static const struct option known[] = {
        {"no-stream", no_argument, NULL, OPT_ONCE}, {"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0}};
    bool once = false;
    int option;

    while ((option = next_option(argc, argv, ":", known, stats_usage)) != -1)
        once |= option == OPT_ONCE;
    struct machine **list = optind < argc ? xmalloc((size_t)(argc - optind + 1) * sizeof(*list)) : machine_list();
    size_t count = 0;
    if (optind < argc) {
        for (int i = optind; i < argc; i++)
            list[count++] = machine_find(argv[i]);
    } else {
        while (list[count])
            count++;
    }
    struct sample *samples = calloc(count + 1, sizeof(*samples)), *before = xmalloc((count + 1) * sizeof(*before));
    if (!samples)
        die(STATUS_FAILED, "out of memory");
    for (size_t i = 0; i < count; i++) {
        samples[i].machine = list[i];
        take_sample(&samples[i]);
    }
    for (bool some = true; some;) {
        memcpy(before, samples, count * sizeof(*samples));
        sleep(1);
        some = false;
        for (size_t i = 0; i < count; i++)
            some |= take_sample(&samples[i]);
        if (!once && isatty(STDOUT_FILENO))
            fputs("\033[H\033[J", stdout);
        print_samples(before, samples, count);
        if (once || ferror(stdout))
            break;
    }
    return 0;
}
