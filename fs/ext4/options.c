// Mount options: see super.h.
#include "fs/ext4/super.h"
#include "kernel/log.h"
#include "kernel/string.h"

static size_t word_length(const char *s) {
    const char *comma = strchr(s, ',');
    return comma ? (size_t)(comma - s) : strlen(s);
}

bool ext4_options_known(const char *options) {
    static const char *const known[] = {
        "rw",        "ro",       "defaults",   "relatime",         "data=ordered", "errors=remount-ro", "barrier",
        "barrier=1", "delalloc", "user_xattr", "journal_checksum", "nodiscard",    "auto_da_alloc",     "noauto",
        "nofail"};
    while (options && *options) {
        size_t n = word_length(options);
        bool found = n == 0;
        for (unsigned k = 0; k < ARRAY_SIZE(known); k++)
            found |= strlen(known[k]) == n && memcmp(known[k], options, n) == 0;
        if (!found) {
            log_warn("ext4: the option %s is not supported", options);
            return false;
        }
        options += n + (options[n] == ',');
    }
    return true;
}
