// See fs/seqbuf.h.
#include "fs/seqbuf.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"

char *seq_reserve(struct seqbuf *s, size_t len) {
    if (s->failed)
        return NULL;
    if (len > s->size - s->len) {
        size_t size = MAX(s->size * 2, 512ul);
        while (size - s->len < len)
            size *= 2;
        char *data = krealloc(s->data, size);
        if (!data) {
            s->failed = true;
            return NULL;
        }
        s->data = data;
        s->size = size;
    }
    return s->data + s->len;
}

void seq_write(struct seqbuf *s, const void *data, size_t len) {
    char *to = seq_reserve(s, len);
    if (to) {
        memcpy(to, data, len);
        s->len += len;
    }
}

void seq_puts(struct seqbuf *s, const char *text) { seq_write(s, text, strlen(text)); }

void seq_printf(struct seqbuf *s, const char *fmt, ...) {
    size_t room = 160;
    for (;;) {
        char *to = seq_reserve(s, room);
        if (!to)
            return;
        va_list ap;
        va_start(ap, fmt);
        size_t n = vsnprintf(to, room, fmt, ap);
        va_end(ap);
        if (n < room) {
            s->len += n;
            return;
        }
        room = n + 1;
    }
}

void seq_escaped(struct seqbuf *s, const char *text, const char *escape) {
    for (; *text; text++) {
        if (strchr(escape, *text))
            seq_printf(s, "\\%03o", (unsigned char)*text);
        else
            seq_write(s, text, 1);
    }
}

void seq_free(struct seqbuf *s) {
    kfree(s->data);
    *s = (struct seqbuf){NULL, 0, 0, false};
}
