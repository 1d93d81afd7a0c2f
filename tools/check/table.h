/*
 * What Knarr has: made from the kernel's own table of system calls (syscall/table.h) and the words beside it (syscall/absent.h).
 */
#pragma once

#include "tools/check/numbers.h"

enum loss { LOSS_NONE, LOSS_SPARED, LOSS_LOST }; /* supported; programs take another way; what it is for fails */

/* The name, or NULL when Linux has no such call. */
const char *call_name(unsigned number);

/* What is lost without the call; for calls that are absent purpose and effect are set. */
enum loss call_loss(unsigned number, const char **purpose, const char **effect);

/* The same for an argument of a supported call. */
enum loss option_loss(unsigned number, int64_t value, const char **words);
