/*
 * `knarr run`.
 */
#pragma once

/* argv[0] is "run". Returns the exit status. */
int run_main(int argc, char **argv);
