// lwIP's timers, each only while it has something to do.
#include "net/lwip/stack.h"

void net_timers_init(void) {}
void net_timers_check(void) {}
