/*
 * `knarr ship` and `knarr pull`: images of `knarr build` to and from any OCI registry.
 */
#pragma once

int ship_main(int argc, char **argv);
int pull_main(int argc, char **argv);
