/* The host's side of test_erofs.c, with the C library: directories to make images of, mkfs.erofs, and what is in them as text. */
#ifndef TESTS_UNIT_EROFS_HOST_H
#define TESTS_UNIT_EROFS_HOST_H

#include <stddef.h>

struct text {
    char *data;
    size_t len, size;
};
void text_add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
unsigned long text_hash(unsigned long h, const void *data, size_t n); /* h: 0 at first */

const char *host_tree(void);                        /* makes the directory, once */
const char *host_large_directory(unsigned entries); /* a directory of empty files "entry-00000" ... */
unsigned char *host_image(const char *directory, const char *options,
                          size_t *size); /* free() it. NULL: mkfs.erofs failed */
unsigned char *host_file(const char *directory, unsigned number,
                         size_t *size); /* one of a directory's; free() it. NULL: no more */
/* A line for each name, sorted; `time`: what all files show, -1: their own */
void host_list(struct text *t, const char *directory, long time);
void host_remove(void); /* all that was made */
void host_free(void *p);
const char *first_difference(const struct text *a,
                             const struct text *b); /* NULL: none. Two lines, from a static buffer */

#endif
