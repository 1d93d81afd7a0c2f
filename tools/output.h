/*
 * A file that gets its name when it is complete: nothing half done is ever left or seen, however the program ends, and an older file of
 * that name stays until then. One at a time. What fails ends the program with one line and STATUS_FAILED.
 */
#pragma once

/* A new empty file, for reading and writing (close-on-exec), where `path` will be, which is a regular file or nothing yet. Sets handlers for the signals that end a program. */
int output_create(const char *path);

/* It is complete, and synced to the disk: takes the place of an older file in one step. Closes fd. */
void output_finish(int fd, const char *path);

/* The same for a directory with these files in it; an older one is replaced when it has nothing else. */
#define OUTPUT_PARTS "knarr.elf", "initrd", "cmdline"
int output_create_directory(const char *path);
void output_finish_directory(int fd, const char *path);
