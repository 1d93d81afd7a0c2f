/*
 * Invented names; see the header.
 */
#include "tools/machine/names.h"

#include <stdint.h>
#include <sys/random.h>

#include "tools/common.h"

static const char *const qualities[] = {
    "bold",  "brisk", "broad", "calm",  "clear",  "eager", "fair",   "fleet",   "free",  "gentle", "glad",
    "hardy", "keen",  "kind",  "light", "lucky",  "merry", "mild",   "patient", "plain", "proud",  "quick",
    "quiet", "sharp", "slim",  "sober", "steady", "stout", "sturdy", "swift",   "warm",  "wise",
};
static const char *const people[] = {
    "amundsen", "astrid",  "aud",     "barents", "bjarni",   "brunel",    "cook",  "ericson",
    "freydis",  "gudrid",  "harald",  "hudson",  "ingrid",   "karlsefni", "leif",  "magellan",
    "nansen",   "nobile",  "ohthere", "olaf",    "orm",      "polo",      "rurik", "scott",
    "sigrid",   "sindbad", "svein",   "thora",   "thorfinn", "unn",       "vitus", "zheng",
};

char *name_invent(int attempt) {
    uint8_t dice[3] = {0};

    if (getrandom(dice, sizeof(dice), GRND_NONBLOCK) != sizeof(dice))
        dice[0] = (uint8_t)attempt;
    const char *quality = qualities[dice[0] % (sizeof(qualities) / sizeof(qualities[0]))];
    const char *who = people[dice[1] % (sizeof(people) / sizeof(people[0]))];
    return attempt ? xasprintf("%s_%s%u", quality, who, dice[2]) : xasprintf("%s_%s", quality, who);
}
