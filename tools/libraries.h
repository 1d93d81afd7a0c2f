/*
 * The shared libraries of a dynamically linked program of the host: found as its dynamic linker would find them, without
 * running anything, and put into the guest's root where that linker will look for them.
 */
#pragma once

#include "tools/initrd.h"

/*
 * Adds the dynamic linker and every library that the program (in fd; `program` is its path on the host, `guest` the one
 * in the guest) needs at its start. Those that it would load later, with dlopen(3), are not known here. Dies with
 * STATUS_NOT_FOUND when one is missing.
 */
void libraries_add(struct initrd *initrd, const struct run_options *options, const char *program, int fd,
                   const char *guest, const char *interpreter);
