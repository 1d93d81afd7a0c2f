#ifndef COMMON_H
#define COMMON_H
#include <stddef.h>

struct list {
    char **items;
    size_t count, room;
};
void list_add(struct list *l, const char *item, size_t len);
void list_sort(struct list *l);
void list_free(struct list *l);

struct table; /* words to counts */
struct table *table_new(size_t buckets);
unsigned *table_at(struct table *t, const char *word);
void table_each(struct table *t, void (*fn)(const char *word, unsigned count, void *arg), void *arg);
void table_free(struct table *t);

int text_read(struct list *words);
#endif
