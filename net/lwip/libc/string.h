// For lwIP's own sources: <string.h> is the kernel's.
#include "kernel/string.h"
