/* The fake machine of the unit tests: fake_machine.c. */
#ifndef TESTS_UNIT_FAKE_MACHINE_H
#define TESTS_UNIT_FAKE_MACHINE_H

#include <stddef.h>
#include <stdint.h>

void fake_machine_start(size_t ram); /* bytes of "physical" memory; once */
uint64_t fake_random(void);
struct rwmutex;
_Bool fake_rwmutex_free(struct rwmutex *m);
extern unsigned long fake_flushes;

#endif
