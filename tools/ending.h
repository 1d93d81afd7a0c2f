/*
 * The end of a machine: what its log still says, QEMU's own end, and the reason when it was not the program's.
 */
#pragma once

#include "tools/log.h"
#include "tools/qemu.h"

/*
 * Stops QEMU. status: knarr's exit status if the guest has told it, otherwise -1. Returns the exit status; what went wrong has been said.
 */
int ending(struct qemu *qemu, struct log *log, int status);
