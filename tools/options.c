/*
 * Parses the options of `knarr run`. They are docker's where docker has them, with its defaults for the environment.
 */
#include "tools/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/signals.h"

enum {
    MEMORY_DEFAULT = 512 << 20,
    MEMORY_LEAST = 2 << 20,
    CPUS_MOST = 64, /* the kernel's MAX_CPUS */
};

static const char usage[] =
    "Usage: knarr run [OPTIONS] PROGRAM|IMAGE [ARG...]\n"
    "\n"
    "Runs an unmodified Linux program in a virtual machine of its own. PROGRAM is looked up in the guest's root "
    "first,\n"
    "then on the host; an IMAGE of knarr build says itself what runs in it. The exit status is the program's, 128+N "
    "when signal N killed it, 125 when Knarr failed, 126 "
    "when\n"
    "PROGRAM cannot be executed, 127 when it was not found.\n"
    "\n"
    "  -m, --memory SIZE        memory of the machine, as 64M or 2G (default 512M)\n"
    "      --cpus N             number of CPUs (default 1)\n"
    "  -e, --env K=V            set an environment variable; K alone takes the host's value\n"
    "      --env-file FILE      the same from the lines of a file\n"
    "  -w, --workdir DIR        working directory in the guest (default /)\n"
    "  -u, --user USER[:GROUP]  who the program runs as: numbers, or names of the root's /etc/passwd (default root)\n"
    "      --entrypoint PROGRAM what runs instead of the image's entrypoint and command\n"
    "  -h, --hostname NAME      host name of the guest (default knarr)\n"
    "      --root DIR|FILE      root filesystem: an EROFS image (knarr pack), a directory, a tar or a cpio archive\n"
    "      --read-only          the program cannot change the root filesystem\n"
    "  -v, --volume HOST:GUEST[:ro]  share a directory or file of the host\n"
    "      --tmpfs DIR[:OPTIONS]     mount memory on DIR\n"
    "      --disk FILE[:DIR[:ro]]    a raw disk, /dev/vdX; with DIR the ext4 on it is mounted there\n"
    "  -p, --publish [[IP:]HOST:]GUEST[/udp]  a port of the host leads to one of the guest; HOST may be left out\n"
    "      --net user|tap=NAME|none  the network interface (default user: QEMU's, needs no rights); several for "
    "several\n"
    "      --ip ADDRESS[/PREFIX]     its IPv4 address (user: 10.0.2.15/24; tap: by DHCP), or none\n"
    "      --ip6 ADDRESS[/PREFIX]    its IPv6 address (user: fec0::15/64; tap: by SLAAC), or none\n"
    "      --gateway ADDRESS         where its other networks are, once for IPv4 and for IPv6\n"
    "      --mac ADDRESS             its Ethernet address\n"
    "      --dns ADDRESS        a name server; several are asked in turn\n"
    "      --dns-search DOMAIN  where names without a dot are looked for\n"
    "      --add-host NAME:IP   a line of /etc/hosts\n"
    "  -t, --tty                give the program a terminal even when knarr has none\n"
    "  -d, --detach             let it run, print its ID (knarr ps, logs, stop, exec, rm)\n"
    "      --name NAME          what it is called; without -d: it stays known at its end (--rm: not)\n"
    "  -i, --interactive        with -d: keep the program's input open for knarr attach\n"
    "  -l, --label K=V          a label\n"
    "      --restart POLICY     start it again when it ends: no, on-failure[:TIMES], always, unless-stopped\n"
    "      --stop-signal SIGNAL     what knarr stop sends (default the image's, SIGTERM)\n"
    "      --stop-timeout SECONDS   how long knarr stop waits then (default 10)\n"
    "      --log-size SIZE      of the log that is kept of its output, twice (default 10m; 0: without bound)\n"
    "      --accel KIND         auto, kvm or tcg (default auto: kvm where it works)\n"
    "      --machine KIND       microvm or q35 (default microvm; q35 when there are many devices)\n"
    "      --kernel FILE        the kernel (default: knarr.elf beside knarr)\n"
    "      --kernel-arg WORD    one more word on the kernel's command line\n"
    "      --qemu-arg WORD      one more argument for QEMU\n"
    "      --save-initrd FILE   keep the initial RAM disk in FILE\n"
    "      --dry-run            print the QEMU command instead of running it\n"
    "      --gdb[=PORT]         wait for gdb on a local port (default 1234)\n"
    "      --trace              print each system call on stderr, as strace does\n"
    "      --stats              print at the end which system calls were made\n"
    "      --missing-files      print at the end which files were looked for and absent\n"
    "  -v, --verbose            print the kernel's log on stderr; -vv prints more (-v HOST:/GUEST is a volume)\n"
    "      --help               print this\n"
    "\n"
    "In a terminal all keys go to the program; Ctrl-] three times within a second ends a machine that hangs. Without "
    "one,\n"
    "a third SIGINT or SIGTERM within two seconds does. KNARR_QEMU and KNARR_KERNEL name another QEMU and kernel.\n";

enum {
    OPT_CPUS = 256,
    OPT_ENV_FILE,
    OPT_ROOT,
    OPT_ACCEL,
    OPT_MACHINE,
    OPT_KERNEL,
    OPT_KERNEL_ARG,
    OPT_QEMU_ARG,
    OPT_SAVE_INITRD,
    OPT_DRY_RUN,
    OPT_GDB,
    OPT_TRACE,
    OPT_STATS,
    OPT_MISSING_FILES,
    OPT_READ_ONLY,
    OPT_VOLUME,
    OPT_TMPFS,
    OPT_DISK,
    OPT_NET,
    OPT_IP,
    OPT_IP6,
    OPT_GATEWAY,
    OPT_MAC,
    OPT_DNS,
    OPT_DNS_SEARCH,
    OPT_ADD_HOST,
    OPT_RM,
    OPT_ENTRYPOINT,
    OPT_NAME,
    OPT_RESTART,
    OPT_STOP_SIGNAL,
    OPT_STOP_TIMEOUT,
    OPT_LOG_SIZE,
    OPT_HEALTH_CMD,
    OPT_NO_HEALTHCHECK,
    OPT_HELP
};

static const struct option long_options[] = {
    {"memory", required_argument, NULL, 'm'},
    {"cpus", required_argument, NULL, OPT_CPUS},
    {"env", required_argument, NULL, 'e'},
    {"env-file", required_argument, NULL, OPT_ENV_FILE},
    {"workdir", required_argument, NULL, 'w'},
    {"user", required_argument, NULL, 'u'},
    {"entrypoint", required_argument, NULL, OPT_ENTRYPOINT},
    {"hostname", required_argument, NULL, 'h'},
    {"root", required_argument, NULL, OPT_ROOT},
    {"tty", no_argument, NULL, 't'},
    {"interactive", no_argument, NULL, 'i'},
    {"rm", no_argument, NULL, OPT_RM},
    {"detach", no_argument, NULL, 'd'},
    {"name", required_argument, NULL, OPT_NAME},
    {"label", required_argument, NULL, 'l'},
    {"restart", required_argument, NULL, OPT_RESTART},
    {"stop-signal", required_argument, NULL, OPT_STOP_SIGNAL},
    {"stop-timeout", required_argument, NULL, OPT_STOP_TIMEOUT},
    {"log-size", required_argument, NULL, OPT_LOG_SIZE},
    {"health-cmd", required_argument, NULL, OPT_HEALTH_CMD},
    {"no-healthcheck", no_argument, NULL, OPT_NO_HEALTHCHECK},
    {"accel", required_argument, NULL, OPT_ACCEL},
    {"machine", required_argument, NULL, OPT_MACHINE},
    {"kernel", required_argument, NULL, OPT_KERNEL},
    {"kernel-arg", required_argument, NULL, OPT_KERNEL_ARG},
    {"qemu-arg", required_argument, NULL, OPT_QEMU_ARG},
    {"save-initrd", required_argument, NULL, OPT_SAVE_INITRD},
    {"dry-run", no_argument, NULL, OPT_DRY_RUN},
    {"gdb", optional_argument, NULL, OPT_GDB},
    {"trace", no_argument, NULL, OPT_TRACE},
    {"stats", no_argument, NULL, OPT_STATS},
    {"missing-files", no_argument, NULL, OPT_MISSING_FILES},
    {"read-only", no_argument, NULL, OPT_READ_ONLY},
    {"volume", required_argument, NULL, OPT_VOLUME},
    {"tmpfs", required_argument, NULL, OPT_TMPFS},
    {"disk", required_argument, NULL, OPT_DISK},
    {"publish", required_argument, NULL, 'p'},
    {"net", required_argument, NULL, OPT_NET},
    {"network", required_argument, NULL, OPT_NET},
    {"ip", required_argument, NULL, OPT_IP},
    {"ip6", required_argument, NULL, OPT_IP6},
    {"gateway", required_argument, NULL, OPT_GATEWAY},
    {"mac", required_argument, NULL, OPT_MAC},
    {"mac-address", required_argument, NULL, OPT_MAC},
    {"dns", required_argument, NULL, OPT_DNS},
    {"dns-search", required_argument, NULL, OPT_DNS_SEARCH},
    {"add-host", required_argument, NULL, OPT_ADD_HOST},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

bool parse_size(const char *text, uint64_t *bytes) {
    static const char units[] = "bkmgt";
    char *end;

    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    long double number = strtold(text, &end);
    if (*end != '\0') {
        const char *unit = strchr(units, tolower((unsigned char)*end));
        if (!unit)
            return false;
        number *= (long double)(1ULL << 10 * (unit - units));
        end++;
        if (unit != units && tolower((unsigned char)*end) == 'b') /* 64MB, as docker takes it */
            end++;
    }
    if (errno || *end != '\0' || number >= 0x1p63L)
        return false;
    *bytes = (uint64_t)number;
    return true;
}

uint64_t parse_memory(const char *text) {
    uint64_t bytes;

    if (!parse_size(text, &bytes) || bytes < MEMORY_LEAST)
        die(STATUS_FAILED, "-m %s: not a size of at least 2M", text);
    return bytes;
}

unsigned parse_cpus(const char *text) {
    char *end;
    double number = strtod(text, &end);

    /* docker takes fractions; a machine has whole processors. */
    if (end == text || *end != '\0' || !(number > 0) || number > CPUS_MOST)
        die(STATUS_FAILED, "--cpus %s: not a number from 1 to %d", text, CPUS_MOST);
    unsigned whole = (unsigned)number;
    return whole < number ? whole + 1 : whole;
}

static int parse_choice(const char *option, const char *text, const char *const choices[]) {
    for (int i = 0; choices[i]; i++) {
        if (strcmp(text, choices[i]) == 0)
            return i;
    }
    die(STATUS_FAILED, "--%s %s: no such choice (knarr run --help)", option, text);
}

void environment_add(struct strings *environment, const char *setting) {
    const char *equals = strchr(setting, '=');

    if (equals == setting || *setting == '\0')
        die(STATUS_FAILED, "-e %s: no name", setting);
    if (equals) {
        environment_set(environment, setting);
    } else if (getenv(setting)) {
        char *inherited = xasprintf("%s=%s", setting, getenv(setting));
        environment_set(environment, inherited);
        free(inherited);
    }
}

static void add_environment_file(struct strings *environment, const char *path) {
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    ssize_t length;

    if (!file)
        die(STATUS_FAILED, "--env-file %s: %s", path, strerror(errno));
    while ((length = getline(&line, &size, file)) > 0) {
        if (line[length - 1] == '\n')
            line[length - 1] = '\0';
        const char *text = line + strspn(line, " \t");
        if (*text != '\0' && *text != '#')
            environment_add(environment, text);
    }
    free(line);
    fclose(file);
}

const char *default_kernel(void) {
    const char *chosen = getenv("KNARR_KERNEL");
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (chosen && *chosen)
        return chosen;
    self[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';

    char *beside = xasprintf("%s/knarr.elf", self);
    if (access(beside, F_OK) == 0)
        return beside;
    char *installed = xasprintf("%s/../lib/knarr/knarr.elf", self);
    return access(installed, F_OK) == 0 ? installed : beside;
}

unsigned parse_seconds(const char *option, const char *text) {
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (!isdigit((unsigned char)*text) || *end != '\0' || number > 1000000)
        die(STATUS_FAILED, "%s %s: not a number of seconds", option, text);
    return (unsigned)number;
}

/* no, always, unless-stopped, on-failure, on-failure:TIMES */
static void parse_restart(struct run_options *options, const char *text) {
    static const char *const policies[] = {"no", "on-failure", "always", "unless-stopped", NULL};
    size_t length = strcspn(text, ":");
    char *policy = xasprintf("%.*s", (int)length, text), *end = NULL;

    options->restart = (enum restart)parse_choice("restart", policy, policies);
    if (text[length]) {
        options->restart_most = (unsigned)strtoul(text + length + 1, &end, 10);
        if (options->restart != RESTART_ON_FAILURE || !isdigit((unsigned char)text[length + 1]) || *end)
            die(STATUS_FAILED, "--restart %s: on-failure alone takes a number", text);
    }
    free(policy);
}

static void check_port(const char *port) {
    char *end;
    unsigned long number = strtoul(port, &end, 10);

    if (!isdigit((unsigned char)*port) || *end != '\0' || number < 1 || number > 65535)
        die(STATUS_FAILED, "--gdb=%s: not a port", port);
}

void options_parse(struct run_options *options, int argc, char **argv) {
    static const char *const accels[] = {"auto", "kvm", "tcg", NULL};
    static const char *const machines[] = {"microvm", "q35", NULL};
    int option;

    *options = (struct run_options){.hostname = "knarr", .stop_timeout = 10, .log_size = 10 << 20};
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, "+:m:e:w:h:p:u:l:dtiv", long_options, NULL)) != -1) {
        switch (option) {
        case 'm': options->memory = parse_memory(optarg); break;
        case OPT_CPUS: options->cpus = parse_cpus(optarg); break;
        case 'e': environment_add(&options->settings, optarg); break;
        case OPT_ENV_FILE: add_environment_file(&options->settings, optarg); break;
        case 'w':
            if (*optarg != '/')
                die(STATUS_FAILED, "-w %s: not an absolute path", optarg);
            options->directory = optarg;
            break;
        case OPT_ENTRYPOINT: options->entrypoint = optarg; break;
        case 'u': options->user = optarg; break;
        case 'h': options->hostname = optarg; break;
        case OPT_ROOT: options->root = optarg; break;
        case 't': options->terminal = true; break;
        case 'i': options->interactive = true; break; /* in the foreground it always is */
        case OPT_RM: options->remove = true; break;
        case 'd': options->detach = true; break;
        case OPT_NAME: options->name = optarg; break;
        case 'l': strings_add(&options->labels, "%s", optarg); break;
        case OPT_RESTART: parse_restart(options, optarg); break;
        case OPT_STOP_SIGNAL: options->stop_signal = parse_signal(optarg); break;
        case OPT_STOP_TIMEOUT: options->stop_timeout = parse_seconds("--stop-timeout", optarg); break;
        case OPT_LOG_SIZE:
            if (!parse_size(optarg, &options->log_size))
                die(STATUS_FAILED, "--log-size %s: not a size", optarg);
            break;
        case OPT_HEALTH_CMD:
            if (strcmp(optarg, "none") != 0)
                die(STATUS_FAILED, "--health-cmd %s: health checks are not run; none is all that can be asked for", optarg);
            break;
        case OPT_NO_HEALTHCHECK: break; /* there are none */
        case OPT_ACCEL: options->accel = (enum accel)parse_choice("accel", optarg, accels); break;
        case OPT_MACHINE:
            options->machine = (enum machine_kind)parse_choice("machine", optarg, machines);
            options->machine_given = true;
            break;
        case OPT_KERNEL: options->kernel = optarg; break;
        case OPT_KERNEL_ARG: strings_add(&options->kernel_args, "%s", optarg); break;
        case OPT_QEMU_ARG: strings_add(&options->qemu_args, "%s", optarg); break;
        case OPT_SAVE_INITRD: options->save_initrd = optarg; break;
        case OPT_DRY_RUN: options->dry_run = true; break;
        case OPT_GDB:
            options->gdb = optarg ? optarg : "1234";
            check_port(options->gdb);
            break;
        case OPT_TRACE: options->trace = true; break;
        case OPT_STATS: options->stats = true; break;
        case OPT_MISSING_FILES: options->missing_files = true; break;
        case OPT_READ_ONLY: options->read_only = true; break;
        case OPT_VOLUME: mounts_add_volume(&options->mounts, optarg); break;
        case OPT_TMPFS: mounts_add_tmpfs(&options->mounts, optarg); break;
        case OPT_DISK: mounts_add_disk(&options->mounts, optarg); break;
        case 'p': ports_add(&options->network.ports, optarg); break;
        case OPT_NET: network_add(&options->network, optarg); break;
        case OPT_IP: network_set_ip(&options->network, optarg); break;
        case OPT_IP6: network_set_ip6(&options->network, optarg); break;
        case OPT_GATEWAY: network_set_gateway(&options->network, optarg); break;
        case OPT_MAC: network_set_mac(&options->network, optarg); break;
        case OPT_DNS: network_add_dns(&options->network, optarg); break;
        case OPT_DNS_SEARCH: network_add_search(&options->network, optarg); break;
        case OPT_ADD_HOST: network_add_host(&options->network, optarg); break;
        case 'v': /* with an argument that can be nothing else docker's, without one the log */
            if (is_volume(argv[optind]) && argv[optind - 1][1] != '-')
                mounts_add_volume(&options->mounts, argv[optind++]);
            else
                options->verbose++;
            break;
        case OPT_HELP: fputs(usage, stdout); exit(fflush(stdout) == 0 ? 0 : STATUS_FAILED);
        case ':': die(STATUS_FAILED, "%s needs a value (knarr run --help)", argv[optind - 1]);
        default:
            if (optopt && optopt < 256 && argv[optind - 1][1] != '-')
                die(STATUS_FAILED, "-%c: no such option (knarr run --help)", optopt);
            die(STATUS_FAILED, "%s: no such option (knarr run --help)", argv[optind - 1]);
        }
    }
    if (optind == argc || argv[optind][0] == '\0')
        die(STATUS_FAILED, "which program? (knarr run --help)");
    options->argv = argv + optind;
    if (options->restart != RESTART_NO && options->remove)
        die(STATUS_FAILED, "--restart and --rm exclude each other");
    if (!options->detach && !options->name)
        options->remove = true;
    network_complete(&options->network);
    if (!options->kernel)
        options->kernel = default_kernel();
}

void options_complete(struct run_options *options, const struct strings *image_environment, const char *home) {
    options->memory = options->memory ? options->memory : MEMORY_DEFAULT;
    options->cpus = options->cpus ? options->cpus : 1;
    options->directory = options->directory ? options->directory : "/";
    environment_set(&options->environment, "PATH=" DEFAULT_PATH);
    strings_add(&options->environment, "HOSTNAME=%s", options->hostname);
    if (options->terminal || (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)))
        environment_set(&options->environment, "TERM=xterm");
    strings_add(&options->environment, "HOME=%s", home ? home : "/root");
    for (size_t i = 0; image_environment && i < image_environment->count; i++)
        environment_set(&options->environment, image_environment->item[i]);
    for (size_t i = 0; i < options->settings.count; i++)
        environment_set(&options->environment, options->settings.item[i]);
}
