/*
 * Which accelerator works here: /dev/kvm may exist and still be unable to run a guest. A probe boots the kernel under KVM
 * with the word `probe` and gives it a moment; the answer is remembered until the host boots again or QEMU or the
 * kernel change.
 */
#pragma once

#include "tools/options.h"

/* ACCEL_KVM or ACCEL_TCG for a run with these options; a forced choice is returned as it is. */
enum accel accel_choose(const struct run_options *options);
