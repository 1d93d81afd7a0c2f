/*
 * The verdict and its words; see the header.
 */
#include "tools/check/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/check/must.h"

enum { CHAIN_MOST = 12, UNKNOWN_SHOWN = 12 };

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool is_program(const struct report *report, const struct use *use) {
    return report->reach.object_count && use->function->object == report->reach.objects[0];
}

/* A part of what the program is for fails: it makes the call itself, or surely. */
static bool weighs(const struct report *report, enum loss loss, const struct use *use) {
    return loss == LOSS_LOST && (use->level == LEVEL_SURE || is_program(report, use));
}

static bool is_fatal(struct report *report, unsigned number) {
    const char *purpose, *effect;
    const struct use *use = &report->numbers.calls[number];

    return use->level == LEVEL_SURE && call_loss(number, &purpose, &effect) == LOSS_LOST &&
           is_unavoidable(&report->reach, use);
}

enum verdict report_verdict(struct report *report) {
    const struct numbers *n = &report->numbers;
    enum verdict verdict = VERDICT_RUNS;
    const char *purpose, *effect;

    if (report->problem || report->missing.count)
        return VERDICT_FAILS;
    for (unsigned i = 0; i < NUMBERS; i++) {
        if (!n->calls[i].level)
            continue;
        if (is_fatal(report, i))
            return VERDICT_FAILS;
        if (weighs(report, call_loss(i, &purpose, &effect), &n->calls[i]))
            verdict = VERDICT_DOUBTS;
    }
    for (size_t i = 0; i < n->option_count; i++)
        if (weighs(report, option_loss(n->options[i].number, n->options[i].value, &purpose), &n->options[i].use))
            verdict = VERDICT_DOUBTS;
    for (size_t i = 0; i < n->unknown_count; i++)
        if (n->unknown[i].level == LEVEL_SURE)
            verdict = VERDICT_DOUBTS;
    if (n->int80.level || n->sysenter.level || n->beyond.level == LEVEL_SURE || report->reach.gave_up)
        verdict = VERDICT_DOUBTS;
    return verdict;
}

/* How it comes to a call: "main > open_device > fsopen". Allocated. */
static char *chain(const struct use *use) {
    const struct function *way[CHAIN_MOST];
    unsigned count = 0, more = 0;
    char *text = NULL;

    for (const struct function *f = use->function; f; f = f->parent)
        if (f->is_thunk)
            continue;
        else if (count < CHAIN_MOST)
            way[count++] = f;
        else
            more++;
    text = xstrdup(more ? "... > " : "");
    while (count-- > 0) {
        char *name = function_name(way[count]);
        bool last_of_object = count == 0 || way[count - 1]->object != way[count]->object;
        char *longer = xasprintf("%s%s%s%s%s%s", text, name, last_of_object ? " (" : "",
                                 last_of_object ? base_name(way[count]->object->name) : "", last_of_object ? ")" : "",
                                 count ? " > " : "");
        free(name);
        free(text);
        text = longer;
    }
    return text;
}

static void print_chain(const struct use *use) {
    char *text = chain(use);
    printf("        %s at %#llx: %s\n", use->level == LEVEL_SURE ? "called" : "maybe called",
           (unsigned long long)use->site, text);
    free(text);
}

static void print_list(const char *title, const struct strings *list) {
    if (!list->count)
        return;
    printf("  %s:", title);
    for (size_t i = 0; i < list->count; i++)
        printf("%s %s", i ? "," : "", list->item[i]);
    printf("\n");
}

static void print_calls(struct report *report, enum loss wanted, const char *title, bool verbose) {
    bool first = true;

    for (unsigned i = 0; i < NUMBERS; i++) {
        const struct use *use = &report->numbers.calls[i];
        const char *purpose, *effect;
        if (!use->level || call_loss(i, &purpose, &effect) != wanted)
            continue;
        if (first)
            printf("  %s\n", title);
        first = false;
        char *number = xasprintf("number %u", i);
        printf("    %-24s %s: %s%s\n", call_name(i) ? call_name(i) : number, purpose, effect,
               use->level == LEVEL_MAY ? " (maybe)" : "");
        free(number);
        if (verbose)
            print_chain(use);
    }
}

static bool same_words(const struct option_use *a, const struct option_use *b) {
    const char *words_a, *words_b;

    return a->number == b->number && a->use.level == b->use.level &&
           option_loss(a->number, a->value, &words_a) != LOSS_NONE &&
           option_loss(b->number, b->value, &words_b) != LOSS_NONE && words_a == words_b;
}

/* Arguments with the same words are one line. */
static void print_options(struct report *report, bool verbose) {
    const struct numbers *n = &report->numbers;
    bool first = true;

    for (size_t i = 0; i < n->option_count; i++) {
        const char *words;
        const struct option_use *option = &n->options[i];
        enum loss loss = option_loss(option->number, option->value, &words);
        bool said = loss == LOSS_NONE || (loss == LOSS_SPARED && !verbose);
        for (size_t k = 0; k < i && !said; k++)
            said = same_words(option, &n->options[k]);
        if (said)
            continue;
        if (first)
            printf("  of calls that Knarr has, it refuses these arguments:\n");
        first = false;
        char *what = xasprintf("%s(%#llx", call_name(option->number), (unsigned long long)option->value);
        for (size_t k = i + 1; k < n->option_count; k++)
            if (same_words(option, &n->options[k])) {
                char *longer = xasprintf("%s, %#llx", what, (unsigned long long)n->options[k].value);
                free(what);
                what = longer;
            }
        printf("    %s)%*s %s%s\n", what, strlen(what) < 23 ? 23 - (int)strlen(what) : 0, "", words,
               option->use.level == LEVEL_MAY ? " (maybe)" : "");
        free(what);
        if (verbose)
            print_chain(&option->use);
    }
}

static void print_unseen(struct report *report, bool verbose) {
    const struct numbers *n = &report->numbers;
    unsigned sure = 0;

    for (size_t i = 0; i < n->unknown_count; i++)
        sure += n->unknown[i].level == LEVEL_SURE;
    if (sure)
        printf("  not seen: which call %u of its functions make%s\n", sure, sure == 1 ? "s" : "");
    for (size_t i = 0; i < n->unknown_count && i < UNKNOWN_SHOWN; i++)
        if (verbose)
            print_chain(&n->unknown[i]);
    if (n->beyond.level) {
        printf("  a number that no call has: %#llx%s\n", (unsigned long long)n->beyond_number,
               n->beyond_number & 0x40000000 ? " (the x32 ABI, which Knarr does not have)" : "");
        if (verbose)
            print_chain(&n->beyond);
    }
    if (n->int80.level || n->sysenter.level) {
        printf("  32-bit system calls (%s), which Knarr does not have: they end the program\n",
               n->int80.level ? "int 0x80" : "sysenter");
        if (verbose)
            print_chain(n->int80.level ? &n->int80 : &n->sysenter);
    }
    print_list("looked at, too, because it loads them by itself", &report->loaded);
    if (verbose)
        print_list("loaded by itself where they are", &report->unloaded);
    if (report->loads_by_name)
        printf("  not seen: what it loads with dlopen by names that it makes up (--also FILE looks at such a file, "
               "too)\n");
    if (report->makes_code)
        printf("  not seen: code that it makes or maps by itself while it runs\n");
    if (report->reach.gave_up)
        printf("  the code is too tangled: not all of it was looked at\n");
}

static unsigned count_calls(const struct report *report, enum level level, bool lacking) {
    unsigned count = 0;
    const char *purpose, *effect;

    for (unsigned i = 0; i < NUMBERS; i++)
        count += report->numbers.calls[i].level == level && (!lacking || call_loss(i, &purpose, &effect) != LOSS_NONE);
    return count;
}

static void print_all(const struct report *report) {
    for (enum level level = LEVEL_SURE; level >= LEVEL_MAY; level--) {
        unsigned column = 0;
        printf("  calls that it %s make:", level == LEVEL_SURE ? "can" : "may");
        for (unsigned i = 0; i < NUMBERS; i++)
            if (report->numbers.calls[i].level == level && call_name(i)) {
                printf(column++ % 10 ? " %s" : "\n    %s", call_name(i));
            }
        printf("\n");
    }
}

static const char *lead(const struct report *report, enum verdict verdict) {
    if (verdict == VERDICT_FAILS)
        return "will not run";
    if (verdict == VERDICT_DOUBTS)
        return "can run, with doubts";
    return count_calls(report, LEVEL_SURE, true) + count_calls(report, LEVEL_MAY, true)
               ? "can run, but some optional calls answer ENOSYS"
               : "can run";
}

void report_print(struct report *report, bool verbose) {
    enum verdict verdict = report_verdict(report);

    printf("%s: %s\n", report->program, lead(report, verdict));
    if (report->script) {
        printf("  a script, read by %s; what it starts is not known", report->script);
        for (size_t i = 0; i < report->started.count; i++)
            printf("%s %s", i ? "," : ", perhaps", report->started.item[i]);
        printf("\n");
    }
    if (report->problem) {
        printf("  %s\n", report->problem);
        return;
    }
    print_list("libraries that are not there", &report->missing);
    for (unsigned i = 0; i < NUMBERS; i++)
        if (report->numbers.calls[i].level && is_fatal(report, i))
            printf("  it always calls %s, and Knarr does not have that\n", call_name(i));
    print_calls(report, LOSS_LOST, "calls that Knarr does not have, and what fails without them:", verbose);
    print_calls(report, LOSS_SPARED, "calls that Knarr does not have, without harm to most programs:", verbose);
    print_options(report, verbose);
    print_unseen(report, verbose);
    printf("  %u system calls that it can make, and %u more that it may make; Knarr lacks %u and %u of them\n",
           count_calls(report, LEVEL_SURE, false), count_calls(report, LEVEL_MAY, false),
           count_calls(report, LEVEL_SURE, true), count_calls(report, LEVEL_MAY, true));
    if (!verbose)
        return;
    print_all(report);
    printf("  %zu files, %zu functions, %.1f s\n", report->reach.object_count, report->reach.function_count,
           report->seconds);
}

/* --- JSON --- */

static void json_string(const char *text) {
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            printf("\\%c", *c);
        else if (*c < 0x20 || *c >= 0x7f) /* bytes of names that need not be UTF-8 */
            printf("\\u%04x", *c);
        else
            putchar(*c);
    }
    putchar('"');
}

static void json_strings(const char *name, const struct strings *list) {
    printf(", \"%s\": [", name);
    for (size_t i = 0; i < list->count; i++) {
        printf(i ? ", " : "");
        json_string(list->item[i]);
    }
    printf("]");
}

static void json_use(const struct use *use) {
    char *way = chain(use);

    printf("\"sure\": %s, \"address\": %llu, \"chain\": ", use->level == LEVEL_SURE ? "true" : "false",
           (unsigned long long)use->site);
    json_string(way);
    free(way);
}

static void json_calls(struct report *report) {
    bool first = true;

    printf(", \"calls\": [");
    for (unsigned i = 0; i < NUMBERS; i++) {
        const struct use *use = &report->numbers.calls[i];
        const char *purpose, *effect;
        if (!use->level)
            continue;
        enum loss loss = call_loss(i, &purpose, &effect);
        printf("%s\n  {\"number\": %u, \"name\": ", first ? "" : ",", i);
        call_name(i) ? json_string(call_name(i)) : (void)printf("null");
        printf(", \"supported\": %s, ", loss == LOSS_NONE ? "true" : "false");
        if (loss != LOSS_NONE) {
            printf("\"optional\": %s, \"purpose\": ", loss == LOSS_SPARED ? "true" : "false");
            json_string(purpose);
            printf(", \"effect\": ");
            json_string(effect);
            printf(", ");
        }
        json_use(use);
        printf("}");
        first = false;
    }
    printf("]");
}

static void json_options(struct report *report) {
    bool first = true;

    printf(", \"refused\": [");
    for (size_t i = 0; i < report->numbers.option_count; i++) {
        const struct option_use *option = &report->numbers.options[i];
        const char *words;
        enum loss loss = option_loss(option->number, option->value, &words);
        if (loss == LOSS_NONE)
            continue;
        printf("%s\n  {\"call\": \"%s\", \"argument\": %lld, \"optional\": %s, \"effect\": ", first ? "" : ",",
               call_name(option->number), (long long)option->value, loss == LOSS_SPARED ? "true" : "false");
        json_string(words);
        printf(", ");
        json_use(&option->use);
        printf("}");
        first = false;
    }
    printf("]");
}

void report_json(struct report *report, bool first) {
    static const char *const verdicts[] = {"runs", "doubts", "fails"};
    const struct numbers *n = &report->numbers;

    printf("%s{\"program\": ", first ? "" : ",\n");
    json_string(report->program);
    printf(", \"verdict\": \"%s\"", verdicts[report_verdict(report)]);
    if (report->problem) {
        printf(", \"problem\": ");
        json_string(report->problem);
    }
    if (report->script) {
        printf(", \"interpreter\": ");
        json_string(report->script);
        json_strings("words", &report->started);
    }
    json_strings("missing_libraries", &report->missing);
    json_strings("loaded_libraries", &report->loaded);
    json_strings("absent_libraries", &report->unloaded);
    json_calls(report);
    json_options(report);
    printf(", \"unknown\": [");
    for (size_t i = 0; i < n->unknown_count; i++) {
        printf("%s{", i ? ", " : "");
        json_use(&n->unknown[i]);
        printf("}");
    }
    printf(
        "], \"calls_of_32_bits\": %s, \"loads_by_name\": %s, \"makes_code\": %s, \"complete\": %s, \"seconds\": %.2f}",
        n->int80.level || n->sysenter.level ? "true" : "false", report->loads_by_name ? "true" : "false",
        report->makes_code ? "true" : "false", report->reach.gave_up ? "false" : "true", report->seconds);
}
