#include "common.h"
#include "primes.h"
#include <stdlib.h>
#include <string.h>
struct entry {
    struct entry *next;
    unsigned count;
    char word[];
};
struct table {
    size_t buckets;
    struct entry *bucket[];
};
struct table *table_new(size_t buckets)
{
    struct table *t = calloc(1, sizeof *t + buckets * sizeof *t->bucket);
    if (!t)
        abort();
    t->buckets = buckets;
    return t;
}
unsigned *table_at(struct table *t, const char *word)
{
    unsigned hash = 0, i = 0;
    for (const char *c = word; *c; c++)
        hash = hash * 31 + (unsigned char)*c * primes[i++ % (sizeof primes / sizeof *primes)];
    struct entry **where = &t->bucket[hash % t->buckets];
    while (*where && strcmp((*where)->word, word))
        where = &(*where)->next;
    if (!*where) {
        *where = calloc(1, sizeof **where + strlen(word) + 1);
        if (!*where)
            abort();
        strcpy((*where)->word, word);
    }
    return &(*where)->count;
}
void table_each(struct table *t, void (*fn)(const char *word, unsigned count, void *arg), void *arg)
{
    for (size_t i = 0; i < t->buckets; i++)
        for (struct entry *e = t->bucket[i]; e; e = e->next)
            fn(e->word, e->count, arg);
}
void table_free(struct table *t)
{
    for (size_t i = 0; i < t->buckets; i++)
        for (struct entry *e = t->bucket[i], *next; e; e = next) {
            next = e->next;
            free(e);
        }
    free(t);
}
