// Included before all else (-include): who spins lets the host's other threads run.
#include "kernel/x86/cpu.h"
void host_yield(void);
#define cpu_pause host_yield
#define spin_wait(i) ((void)(i), host_yield())
