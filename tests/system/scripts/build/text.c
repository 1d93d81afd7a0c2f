#include "common.h"
#include <ctype.h>
#include <stdio.h>
int text_read(struct list *words)
{
    char word[64];
    size_t len = 0;
    int c;
    do {
        c = getchar();
        if (c != EOF && isalpha(c) && len < sizeof word) {
            word[len++] = (char)tolower(c);
        } else if (len) {
            list_add(words, word, len);
            len = 0;
        }
    } while (c != EOF);
    return ferror(stdin) ? -1 : 0;
}
