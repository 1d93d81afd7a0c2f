#include "common.h"
#include <stdlib.h>
#include <string.h>
void list_add(struct list *l, const char *item, size_t len)
{
    if (l->count == l->room) {
        l->room = l->room ? 2 * l->room : 16;
        l->items = realloc(l->items, l->room * sizeof *l->items);
        if (!l->items)
            abort();
    }
    char *copy = malloc(len + 1);
    if (!copy)
        abort();
    memcpy(copy, item, len);
    copy[len] = 0;
    l->items[l->count++] = copy;
}
static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}
void list_sort(struct list *l)
{
    qsort(l->items, l->count, sizeof *l->items, compare);
}
void list_free(struct list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->items[i]);
    free(l->items);
}
