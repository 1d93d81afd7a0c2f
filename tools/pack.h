/*
 * `knarr pack`.
 */
#pragma once

/* argv[0] is "pack". Returns the exit status. */
int pack_main(int argc, char **argv);
