/*
 * Names of signals; see the header. The numbers are Linux', which the guest has, too: not those that the C library moves about.
 */
#include "tools/signals.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tools/common.h"

enum { RT_FIRST = 34, RT_LAST = 64 }; /* as docker counts them: the C library keeps the first two */

static int numbered(const char *text, int base, int sign) {
    char *end;
    long number = strtol(text, &end, 10);

    return end == text || *end || number < 0 || number > RT_LAST ? -1 : base + sign * (int)number;
}

int parse_signal(const char *text) {
    const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
    int found = -1;

    if (strncasecmp(name, "RTMIN", 5) == 0)
        found = name[5] == '+' ? numbered(name + 6, RT_FIRST, 1) : name[5] ? -1 : RT_FIRST;
    else if (strncasecmp(name, "RTMAX", 5) == 0)
        found = name[5] == '-' ? numbered(name + 6, RT_LAST, -1) : name[5] ? -1 : RT_LAST;
    else
        found = numbered(text, 0, 1);
    for (int number = 1; found < 0 && number < RT_FIRST; number++) {
        const char *known = sigabbrev_np(number);
        if (known && strcasecmp(name, known) == 0)
            found = number;
    }
    if (found < 1 || found > RT_LAST)
        die(STATUS_FAILED, "%s: no such signal", text);
    return found;
}
