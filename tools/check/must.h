/*
 * Whether a program cannot help making a call.
 */
#pragma once

#include "tools/check/numbers.h"

/*
 * Whether every function on the way to the instruction passes it, or the call to the next, before it can return: then each run that
 * gets through its functions makes the call. Only the way in `use` is looked at.
 */
bool is_unavoidable(struct reach *reach, const struct use *use);
