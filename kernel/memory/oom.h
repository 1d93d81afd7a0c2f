// The end of memory. out_of_memory() of aspace.h is the plain form.
#ifndef KERNEL_OOM_H
#define KERNEL_OOM_H

#include "kernel/types.h"

// No memory for the application: reports once who uses what and kills the process that uses most. True: the current
// process is not the one, memory will come free: try again. False: it is being killed, give up with an error.
bool oom_handle(const char *what);

#endif
