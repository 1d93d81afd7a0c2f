/*
 * `knarr build`, as a story: options, source, configuration, image, form.
 */
#include "tools/build.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/image/command.h"
#include "tools/image/config.h"
#include "tools/image/disk.h"
#include "tools/image/progress.h"
#include "tools/image/source.h"
#include "tools/kernel.h"
#include "tools/options.h"
#include "tools/output.h"

static const char usage[] =
    "Usage: knarr build [OPTIONS] -o IMAGE SOURCE\n"
    "\n"
    "Makes one file of a container image, a directory or a program: a disk that boots by BIOS, by UEFI and by knarr "
    "run.\n"
    "The same input gives the same bytes. SOURCE is\n"
    "\n"
    "  docker-archive:FILE[:TAG]   what docker save writes\n"
    "  oci-archive:FILE[:TAG]      an OCI layout in a tar archive\n"
    "  oci:DIR[:TAG]               an OCI layout\n"
    "  docker://NAME               an image in a registry (needs skopeo)\n"
    "  dockerfile:DIR              what the Dockerfile in DIR builds (needs buildah)\n"
    "  DIR                         a root filesystem\n"
    "  FILE                        an ELF program, with the shared libraries that it needs\n"
    "  -                           a tar archive of a root filesystem on standard input\n"
    "\n"
    "  -o, --output IMAGE       the file to write (kernel+initrd: the directory)\n"
    "      --format FORMAT      raw, qcow2, vhd or kernel+initrd (default raw)\n"
    "      --entrypoint WORDS   instead of the image's: [\"a\", \"b\"], or words as in a shell; the image's command "
    "goes, too\n"
    "      --cmd WORDS          instead of the image's\n"
    "  -e, --env K=V            set an environment variable; K alone takes the host's value\n"
    "  -w, --workdir DIR        working directory\n"
    "  -u, --user USER[:GROUP]  names of the image's own /etc/passwd and /etc/group, or numbers\n"
    "      --expose PORT[/udp]  a port that the program serves\n"
    "      --volume DIR         a directory that is meant for data\n"
    "      --label K=V          a label\n"
    "      --stop-signal NAME   the signal that asks the program to end\n"
    "  -m, --memory SIZE        memory that knarr run gives it\n"
    "      --cpus N             CPUs that knarr run gives it\n"
    "      --kernel FILE        the kernel (default: knarr.elf beside knarr)\n"
    "      --no-cache           neither use nor fill the cache of layers\n"
    "      --insecure           docker://: take a registry without TLS or with a certificate that nobody knows\n"
    "  -q, --quiet              no progress\n"
    "      --help               print this\n";

enum format { FORMAT_RAW, FORMAT_QCOW2, FORMAT_VHD, FORMAT_PARTS };

struct build {
    const char *output, *source, *kernel;
    enum format format;
    struct config_options config;
    struct source_options options;
};

static void parse(struct build *build, int argc, char **argv) {
    enum {
        OPT_FORMAT = 256,
        OPT_ENTRYPOINT,
        OPT_CMD,
        OPT_EXPOSE,
        OPT_VOLUME,
        OPT_LABEL,
        OPT_STOP_SIGNAL,
        OPT_CPUS,
        OPT_KERNEL,
        OPT_NO_CACHE,
        OPT_INSECURE,
        OPT_HELP
    };
    static const struct option known[] = {
        {"output", required_argument, NULL, 'o'},
        {"format", required_argument, NULL, OPT_FORMAT},
        {"entrypoint", required_argument, NULL, OPT_ENTRYPOINT},
        {"cmd", required_argument, NULL, OPT_CMD},
        {"env", required_argument, NULL, 'e'},
        {"workdir", required_argument, NULL, 'w'},
        {"user", required_argument, NULL, 'u'},
        {"expose", required_argument, NULL, OPT_EXPOSE},
        {"volume", required_argument, NULL, OPT_VOLUME},
        {"label", required_argument, NULL, OPT_LABEL},
        {"stop-signal", required_argument, NULL, OPT_STOP_SIGNAL},
        {"memory", required_argument, NULL, 'm'},
        {"cpus", required_argument, NULL, OPT_CPUS},
        {"kernel", required_argument, NULL, OPT_KERNEL},
        {"no-cache", no_argument, NULL, OPT_NO_CACHE},
        {"insecure", no_argument, NULL, OPT_INSECURE},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, OPT_HELP},
        {NULL, 0, NULL, 0},
    };
    static const char *const formats[] = {"raw", "qcow2", "vhd", "kernel+initrd", NULL};
    int option, choice;

    build->options.use_cache = true;
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, ":o:e:w:u:m:q", known, NULL)) != -1) {
        switch (option) {
        case 'o': build->output = optarg; break;
        case OPT_FORMAT:
            for (choice = 0; formats[choice] && strcmp(formats[choice], optarg) != 0;)
                choice++;
            if (!formats[choice])
                die(STATUS_FAILED, "--format %s: not raw, qcow2, vhd or kernel+initrd", optarg);
            build->format = (enum format)choice;
            break;
        case OPT_ENTRYPOINT: build->config.entrypoint = optarg; break;
        case OPT_CMD: build->config.cmd = optarg; break;
        case 'e': environment_add(&build->config.environment, optarg); break;
        case 'w':
            if (*optarg != '/')
                die(STATUS_FAILED, "-w %s: not an absolute path", optarg);
            build->config.directory = optarg;
            break;
        case 'u': build->config.user = optarg; break;
        case OPT_EXPOSE: strings_add(&build->config.expose, "%s", optarg); break;
        case OPT_VOLUME: strings_add(&build->config.volumes, "%s", optarg); break;
        case OPT_LABEL: strings_add(&build->config.labels, "%s", optarg); break;
        case OPT_STOP_SIGNAL: build->config.stop_signal = optarg; break;
        case 'm': build->config.memory = parse_memory(optarg); break;
        case OPT_CPUS: build->config.cpus = parse_cpus(optarg); break;
        case OPT_KERNEL: build->kernel = optarg; break;
        case OPT_NO_CACHE: build->options.use_cache = false; break;
        case OPT_INSECURE: build->options.insecure = true; break;
        case 'q': build->options.quiet = true; break;
        case OPT_HELP: fputs(usage, stdout); exit(fflush(stdout) == 0 ? 0 : STATUS_FAILED);
        case ':': die(STATUS_FAILED, "%s needs a value (knarr build --help)", argv[optind - 1]);
        default: die(STATUS_FAILED, "%s: no such option (knarr build --help)", argv[optind - 1]);
        }
    }
    if (optind == argc)
        die(STATUS_FAILED, "build of what? (knarr build --help)");
    if (argc - optind > 1)
        die(STATUS_FAILED, "%s: only one source; options of the program go into --cmd (knarr build --help)",
            argv[optind + 1]);
    build->source = argv[optind];
    if (!build->output)
        die(STATUS_FAILED, "which image? Give -o (knarr build --help)");
    build->kernel = build->kernel ? build->kernel : default_kernel();
}

/* A copy of the disk in qemu's format, in place of what is in the file `to`. */
static void convert(int from, int to) {
    struct command command = {.package = "qemu-utils"};
    char *source = inherited_path(from), *target = inherited_path(to);
    const char *const words[] = {"qemu-img", "convert", "-f", "raw", "-O", "qcow2", source, target};

    progress_step("writing qcow2");
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        strings_add(&command.words, "%s", words[i]);
    command_run(&command);
    free(source);
    free(target);
}

static void write_disk(const struct build *build, struct erofs_tree *tree, const json_t *config, int fd) {
    if (build->format == FORMAT_QCOW2) {
        int disk = temporary_file();
        disk_write(disk, tree, config, build->kernel, "a temporary file for the disk");
        convert(disk, fd);
        close(disk);
        return;
    }
    disk_write(fd, tree, config, build->kernel, build->output);
    if (build->format == FORMAT_VHD)
        disk_add_vhd_footer(fd, build->output);
}

int build_main(int argc, char **argv) {
    struct build build = {0};
    struct erofs_tree *tree = erofs_tree_new();

    parse(&build, argc, argv);
    progress_start(build.options.quiet);
    kernel_check(build.kernel, UINT64_MAX, 0);
    bool is_directory = build.format == FORMAT_PARTS;
    int fd = is_directory ? output_create_directory(build.output) : output_create(build.output);
    json_t *config = config_make(source_add(tree, build.source, &build.options), &build.config);
    if (is_directory) {
        disk_write_parts(fd, tree, config, build.kernel);
        output_finish_directory(fd, build.output);
    } else {
        write_disk(&build, tree, config, fd);
        output_finish(fd, build.output);
    }
    progress_end();
    json_decref(config);
    return 0;
}
