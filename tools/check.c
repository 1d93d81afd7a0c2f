/*
 * The command `knarr check`; see the header. tools/check/ does the work.
 */
#include "tools/check.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/check/image.h"

static const char usage[] =
    "Usage: knarr check [OPTIONS] PROGRAM\n"
    "       knarr check [OPTIONS] IMAGE [PROGRAM]\n"
    "\n"
    "Says whether Knarr can run a program, without running it: reads its code and that of its libraries, finds the "
    "system\n"
    "calls that they can make, and names those that Knarr does not have, with what they are for.\n"
    "\n"
    "      --root ROOT     PROGRAM is in this root filesystem: a directory, a tar archive, an EROFS image\n"
    "      --all           check every program of the root or image\n"
    "      --also FILE     look at a library, too, that the program loads while it runs; may be repeated\n"
    "  -e, --env NAME=VALUE\n"
    "                      an environment in which libraries are looked for (PATH, LD_LIBRARY_PATH, LD_PRELOAD)\n"
    "  -v, --verbose       list all calls, and an example of how the program comes to each that is missing\n"
    "      --json          print all that was found as JSON\n"
    "      --help          print this\n"
    "\n"
    "IMAGE is one that knarr build has made, or what it makes one of: docker-archive:FILE, oci-archive:FILE, oci:DIR,\n"
    "docker://NAME, dockerfile:DIR. What it starts is checked, when no PROGRAM is given.\n"
    "\n"
    "The exit status is 0 when it can run, 1 when there are doubts, 2 when it will not run, 125 when Knarr failed.\n";

struct options {
    const char *root;
    char **words; /* PROGRAM, or IMAGE and PROGRAM */
    struct check_files files;
    struct strings programs;
    bool all, verbose, json;
};

static void parse(struct options *options, int argc, char **argv) {
    enum { OPT_ROOT = 256, OPT_ALL, OPT_ALSO, OPT_JSON, OPT_HELP };
    static const struct option known[] = {
        {"root", required_argument, NULL, OPT_ROOT}, {"all", no_argument, NULL, OPT_ALL},
        {"also", required_argument, NULL, OPT_ALSO}, {"env", required_argument, NULL, 'e'},
        {"verbose", no_argument, NULL, 'v'},         {"json", no_argument, NULL, OPT_JSON},
        {"help", no_argument, NULL, OPT_HELP},       {NULL, 0, NULL, 0},
    };
    int option;

    environment_set(&options->files.environment, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, "+:e:v", known, NULL)) != -1) {
        switch (option) {
        case OPT_ROOT: options->root = optarg; break;
        case OPT_ALL: options->all = true; break;
        case OPT_ALSO: strings_add(&options->files.also, "%s", optarg); break;
        case 'e':
            if (!strchr(optarg, '='))
                die(STATUS_FAILED, "--env %s: not NAME=VALUE", optarg);
            environment_set(&options->files.environment, optarg);
            break;
        case 'v': options->verbose = true; break;
        case OPT_JSON: options->json = true; break;
        case OPT_HELP: fputs(usage, stdout); exit(fflush(stdout) == 0 ? 0 : STATUS_FAILED);
        case ':': die(STATUS_FAILED, "%s needs a value (knarr check --help)", argv[optind - 1]);
        default: die(STATUS_FAILED, "%s: no such option (knarr check --help)", argv[optind - 1]);
        }
    }
    options->words = argv + optind;
    if (argc == optind && !(options->root && options->all))
        die(STATUS_FAILED, "check what? (knarr check --help)");
}

/* Where the files are, and which of them are to be checked. */
static void choose(struct options *options) {
    static struct root root;
    char **words = options->words;

    if (options->root) {
        struct run_options for_root = {.root = options->root, .memory = 1u << 30};
        root = root_open(&for_root);
        if (root.kind != ROOT_IMAGE)
            die(STATUS_FAILED, "--root %s: a cpio archive; a directory, a tar archive or an EROFS image can be checked",
                options->root);
        options->files.root = &root.image;
    } else if (check_image(*words, &options->files, &options->programs)) {
        if (!*++words && options->programs.count == 0 && !options->all)
            die(STATUS_FAILED, "%s says no program: which one?", options->words[0]);
    }
    if (*words && words[1])
        die(STATUS_FAILED, "%s: only one program (knarr check --help)", words[1]);
    if (*words || options->all)
        options->programs.count = 0;
    if (*words)
        strings_add(&options->programs, "%s", *words);
    else if (options->all)
        check_all(&options->files, &options->programs);
    if (options->all && !options->files.root)
        die(STATUS_FAILED, "--all needs a root or an image");
    if (options->programs.count == 0)
        die(STATUS_FAILED, "there is no program in it");
}

static enum verdict check_one(struct options *options, const char *program, bool first) {
    struct report report = {.program = program};
    char *path = check_find(&options->files, program);

    if (path)
        check_program(&options->files, path, &report);
    else
        report.problem = xstrdup("not found");
    enum verdict verdict = report_verdict(&report);
    options->json ? report_json(&report, first) : report_print(&report, options->verbose);
    check_free(&report);
    free(path);
    if (fflush(stdout) != 0)
        die(STATUS_FAILED, "the output cannot be written");
    return verdict;
}

int check_main(int argc, char **argv) {
    struct options options = {0};
    enum verdict worst = VERDICT_RUNS;

    parse(&options, argc, argv);
    choose(&options);
    bool list = options.all || options.programs.count > 1;
    if (options.json && list)
        printf("[\n");
    for (size_t i = 0; i < options.programs.count; i++) {
        enum verdict verdict = check_one(&options, options.programs.item[i], i == 0);
        worst = verdict > worst ? verdict : worst;
    }
    if (options.json)
        printf(list ? "\n]\n" : "\n");
    if (fflush(stdout) != 0)
        die(STATUS_FAILED, "the output cannot be written");
    return (int)worst;
}
