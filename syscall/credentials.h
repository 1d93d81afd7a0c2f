// prctl(2) as far as it is about credentials: syscall/capability.c.
#ifndef SYSCALL_CREDENTIALS_H
#define SYSCALL_CREDENTIALS_H

#include "kernel/types.h"

// The options PR_*_KEEPCAPS, PR_*_SECUREBITS, PR_CAPBSET_*, PR_CAP_AMBIENT, PR_*_NO_NEW_PRIVS and PR_*_DUMPABLE.
long prctl_credentials(int option, uint64_t a, uint64_t b, uint64_t c, uint64_t d);

#endif
