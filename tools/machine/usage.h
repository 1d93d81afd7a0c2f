/*
 * What a machine uses of the host, for `knarr stats`.
 */
#pragma once

#include <sys/types.h>

/* Lines KEY=VALUE about QEMU's process: cpu (nanoseconds so far), memory (bytes in use), read, written (bytes of disks and files). Allocated. */
char *usage_text(pid_t qemu);
