/*
 * A file that gets its name when it is complete: nothing half done is ever left or seen, however the program ends, and an older file of
 * that name stays until then. One at a time. What fails ends the program with one line and STATUS_FAILED.
 */
#pragma once

/* A new empty file, for reading and writing (close-on-exec), where `path` will be, which is a regular file or nothing yet. Sets handlers for the signals that end a program. */
int output_create(const char *path);

/* It is complete, and synced to the disk: takes the place of an older file in one step. Closes fd. */
void output_finish(int fd, const char *path);
