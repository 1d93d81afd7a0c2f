/*
 * The command `knarr check`; see the header. tools/check/ does the work.
 */
#include "tools/check.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/check/load.h"

static const char usage[] =
    "Usage: knarr check [OPTIONS] PROGRAM\n"
    "\n"
    "Says whether Knarr can run a program, without running it: reads its code and that of its libraries, finds the "
    "system\n"
    "calls that they can make, and names those that Knarr does not have, with what they are for.\n"
    "\n"
    "      --root ROOT     PROGRAM is in this root filesystem: a directory, a tar archive, an EROFS image\n"
    "      --also FILE     look at a library, too, that the program loads while it runs; may be repeated\n"
    "  -e, --env NAME=VALUE\n"
    "                      an environment in which libraries are looked for (PATH, LD_LIBRARY_PATH, LD_PRELOAD)\n"
    "  -v, --verbose       list all calls, and an example of how the program comes to each that is missing\n"
    "      --json          print all that was found as JSON\n"
    "      --help          print this\n"
    "\n"
    "The exit status is 0 when it can run, 1 when there are doubts, 2 when it will not run, 125 when Knarr failed.\n";

struct options {
    const char *root, *program;
    struct check_files files;
    bool verbose, json;
};

static void parse(struct options *options, int argc, char **argv) {
    enum { OPT_ROOT = 256, OPT_ALSO, OPT_JSON, OPT_HELP };
    static const struct option known[] = {
        {"root", required_argument, NULL, OPT_ROOT},
        {"also", required_argument, NULL, OPT_ALSO},
        {"env", required_argument, NULL, 'e'},
        {"verbose", no_argument, NULL, 'v'},
        {"json", no_argument, NULL, OPT_JSON},
        {"help", no_argument, NULL, OPT_HELP},
        {NULL, 0, NULL, 0},
    };
    int option;

    environment_set(&options->files.environment, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, "+:e:v", known, NULL)) != -1) {
        switch (option) {
        case OPT_ROOT: options->root = optarg; break;
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
    if (argc - optind != 1)
        die(STATUS_FAILED,
            argc == optind ? "check what? (knarr check --help)" : "%s: only one program (knarr check --help)",
            argv[argc - 1]);
    options->program = argv[optind];
}

int check_main(int argc, char **argv) {
    struct options options = {0};
    struct report report = {0};
    struct root root = {.fd = -1};

    parse(&options, argc, argv);
    if (options.root) {
        struct run_options for_root = {.root = options.root, .memory = 1u << 30};
        root = root_open(&for_root);
        if (root.kind != ROOT_IMAGE)
            die(STATUS_FAILED, "--root %s: a cpio archive; a directory, a tar archive or an EROFS image can be checked",
                options.root);
        options.files.root = &root.image;
    }
    report.program = options.program;
    char *path = check_find(&options.files, options.program);
    if (path)
        check_program(&options.files, path, &report);
    else
        report.problem = xstrdup("not found");
    enum verdict verdict = report_verdict(&report);
    if (options.json) {
        report_json(&report, true);
        printf("\n");
    } else {
        report_print(&report, options.verbose);
    }
    check_free(&report);
    free(path);
    if (fflush(stdout) != 0)
        die(STATUS_FAILED, "the output cannot be written");
    return (int)verdict;
}
