/*
 * An image of `knarr build` that is to be run: what it says comes behind the options, as with docker.
 */
#pragma once

#include "tools/options.h"
#include "tools/root.h"

/*
 * Whether the options' first word is such an image. If so, *root is opened, and arguments, directory, user, memory, CPUs are filled in
 * where no option says them, and the options are completed. Dies when the image is damaged or says nothing to run.
 */
bool start_image(struct run_options *options, struct root *root);

/* Looks the options' user up in the root (not ROOT_CPIO: numbers only). Dies when there is no such. */
void start_user(struct run_options *options, const struct root *root);
