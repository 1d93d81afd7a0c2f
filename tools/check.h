/*
 * `knarr check`: what of a program Knarr can run, without running it.
 */
#pragma once

/* The command: argv[0] is its name. Returns the exit status: 0 can run, 1 doubts, 2 will not run. */
int check_main(int argc, char **argv);
