/*
 * `knarr build`.
 */
#pragma once

/* argv[0] is "build". Returns the exit status. */
int build_main(int argc, char **argv);
