// Lists of ranges of RAM: short sorted arrays, for what the boot knows of the machine's memory.
#include "kernel/memory/ranges.h"
#include "kernel/log.h"
#include "kernel/string.h"

static void ranges_insert(struct range_list *l, unsigned at, phys_t start, phys_t end) {
    if (l->count == MAX_RANGES) {
        log_warn("memory: too many ranges, [%#llx, %#llx) is lost", (unsigned long long)start, (unsigned long long)end);
        return;
    }
    memmove(&l->r[at + 1], &l->r[at], (l->count - at) * sizeof(l->r[0]));
    l->r[at] = (struct ram_range){start, end};
    l->count++;
}

void ranges_remove(struct range_list *l, phys_t start, phys_t end) {
    for (unsigned i = 0; i < l->count; i++) {
        struct ram_range *r = &l->r[i];
        if (r->end <= start || r->start >= end)
            continue;
        phys_t tail = r->end;
        if (r->start < start) {
            r->end = start;
            if (tail > end)
                ranges_insert(l, ++i, end, tail);
        } else if (tail > end) {
            r->start = end;
        } else {
            memmove(r, r + 1, (--l->count - i) * sizeof(*r));
            i--;
        }
    }
}

void ranges_add(struct range_list *l, phys_t start, phys_t end) {
    if (start >= end)
        return;
    // Takes neighbours and overlaps in, so that the list stays disjoint and short.
    for (unsigned i = 0; i < l->count; i++)
        if (l->r[i].start <= end && l->r[i].end >= start) {
            start = MIN(start, l->r[i].start);
            end = MAX(end, l->r[i].end);
        }
    ranges_remove(l, start, end);
    unsigned at = 0;
    while (at < l->count && l->r[at].start < start)
        at++;
    ranges_insert(l, at, start, end);
}

uint64_t ranges_pages(const struct range_list *l) {
    uint64_t n = 0;
    for (unsigned i = 0; i < l->count; i++)
        n += (l->r[i].end - l->r[i].start) >> PAGE_SHIFT;
    return n;
}
