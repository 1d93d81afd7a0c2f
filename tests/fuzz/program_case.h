// One file, taken as a program: the loader's checks and mapping on the host, with invariants that abort when broken. Shared by
// the fuzzer and the unit test, which runs the kept corpus and mutations of it.
#pragma once

#include <stddef.h>
#include <stdint.h>

// NULL when the file would run; otherwise why the loader refuses it.
const char *program_case(const uint8_t *data, size_t size);
