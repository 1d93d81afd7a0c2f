#include "common.h"
#include "primes.h"
#include <stdio.h>
#include <string.h>
static void show(const char *word, unsigned count, void *arg)
{
    char line[100];
    snprintf(line, sizeof line, "%5u %s", count, word);
    list_add(arg, line, strlen(line));
}
int main(void)
{
    struct list words = {0}, lines = {0};
    if (text_read(&words)) {
        perror("words");
        return 1;
    }
    struct table *t = table_new(64);
    for (size_t i = 0; i < words.count; i++)
        ++*table_at(t, words.items[i]);
    table_each(t, show, &lines);
    list_sort(&lines);
    for (size_t i = 0; i < lines.count; i++)
        puts(lines.items[i]);
    printf("%zu words, the last prime is %d, %.3f\n", words.count, primes[sizeof primes / sizeof *primes - 1], 2.5 * words.count);
    list_free(&words);
    list_free(&lines);
    table_free(t);
    return 0;
}
