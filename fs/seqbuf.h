// Text that grows while it is written: the contents of generated files. Running out of memory is remembered and reported once,
// at the end (`failed`).
#ifndef FS_SEQBUF_H
#define FS_SEQBUF_H

#include "kernel/types.h"

struct seqbuf {
    char *data; // kmalloc'ed
    size_t size, len;
    bool failed;
};
void seq_printf(struct seqbuf *s, const char *fmt, ...) PRINTF(2, 3);
void seq_write(struct seqbuf *s, const void *data, size_t len);
void seq_puts(struct seqbuf *s, const char *text);
// A name with blanks, newlines and backslashes as \040, as Linux writes names in /proc files.
void seq_escaped(struct seqbuf *s, const char *text, const char *escape);
char *seq_reserve(struct seqbuf *s,
                  size_t len); // room for len bytes behind the end; NULL: no memory. Add what you used to len
void seq_free(struct seqbuf *s);

#endif
