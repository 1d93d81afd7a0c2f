// Power off by ACPI. See poweroff.c.
#ifndef KERNEL_X86_POWEROFF_H
#define KERNEL_X86_POWEROFF_H

#include "kernel/types.h"

// Finds out how, and tells machine_set_poweroff. Thread context: before an ordinary end of the machine.
void poweroff_prepare(void);
// The pure part: the values of _S5_ for the two registers, out of the DSDT's AML. False: there is none.
bool acpi_parse_s5(const void *aml, size_t len, uint16_t types[2]);

#endif
