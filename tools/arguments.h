/*
 * What commands have in common: their options are parsed alike, and some are done for each machine that is named.
 */
#pragma once

#include <getopt.h>

#include "tools/common.h"

/* getopt_long(3) with the messages of all commands; --help (number OPT_HELP) prints the usage and ends. -1: no more options. */
enum { OPT_HELP = 1000 };
int next_option(int argc, char **argv, const char *letters, const struct option *options, const char *usage);

/*
 * Does something for each of the machines that the arguments from optind on name, whatever becomes of the others. Returns 0, or 1 when one of
 * them failed. Dies when none is named.
 */
int for_each_machine(int argc, char **argv, bool (*act)(const char *word, void *arg), void *arg);
