/*
 * Finds the function that an address belongs to, in the table that scripts/ksyms.sh made: the address of the
 * first function, their count, their offsets from the first in ascending order, their names. The names have no
 * index: finding one walks over those before it, which a backtrace can afford and which keeps the table small.
 */
#include "kernel/ksyms.h"

#include <stddef.h>

struct ksyms {
    uint64_t base;
    uint32_t count;
    uint32_t offsets[]; /* count of them, then the names */
};

_Static_assert(offsetof(struct ksyms, offsets) == 12, "scripts/ksyms.sh writes this layout");

extern const struct ksyms ksyms_start;

const char *ksym_lookup(uint64_t addr, uint64_t *offset) {
    const struct ksyms *t = &ksyms_start;

    if (t->count == 0 || addr < t->base || addr - t->base > UINT32_MAX)
        return NULL;

    uint32_t off = (uint32_t)(addr - t->base);
    uint32_t low = 0, high = t->count; /* offsets[low] <= off < offsets[high] */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (t->offsets[middle] <= off)
            low = middle;
        else
            high = middle;
    }

    const char *name = (const char *)&t->offsets[t->count];
    for (uint32_t i = 0; i < low; i++) {
        while (*name++ != '\0')
            ;
    }
    if (offset != NULL)
        *offset = off - t->offsets[low];
    return name;
}
