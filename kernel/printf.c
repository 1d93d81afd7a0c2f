// Formatted text: the conversions d i u x X o c s p %, with the flags - 0 + space #, width, precision (numbers or *), and
// the lengths hh h l ll z j t. No floating point, no %n.
#include "kernel/log.h"
#include "kernel/string.h"

struct output {
    char *buf;
    size_t size, len; // len goes on counting behind the end
};

static void put(struct output *o, char c) {
    if (o->len < o->size)
        o->buf[o->len] = c;
    o->len++;
}

static void put_padding(struct output *o, char c, int n) {
    while (n-- > 0)
        put(o, c);
}

static void put_text(struct output *o, const char *s, size_t n) {
    if (o->len < o->size)
        memcpy(o->buf + o->len, s, MIN(n, o->size - o->len));
    o->len += n;
}

struct spec {
    bool left, zero, plus, space, alt;
    int width, precision; // precision -1: none given
};

static void put_number(struct output *o, const struct spec *s, uint64_t v, bool negative, unsigned base, bool upper) {
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[24];
    int n = 0;
    bool zero = v == 0;
    for (; v; v /= base)
        text[n++] = digits[v % base];
    if (n == 0 && s->precision != 0)
        text[n++] = '0';

    const char *prefix = negative ? "-" : s->plus ? "+" : s->space ? " " : "";
    int zeroes = s->precision - n;
    if (s->alt && base == 16 && !zero)
        prefix = upper ? "0X" : "0x";
    if (s->alt && base == 8 && zeroes <= 0 && (n == 0 || text[n - 1] != '0'))
        zeroes = 1;
    if (zeroes < 0)
        zeroes = 0;
    int padding = s->width - (int)strlen(prefix) - zeroes - n;
    if (s->zero && !s->left && s->precision < 0 && padding > 0) {
        zeroes += padding;
        padding = 0;
    }
    if (!s->left)
        put_padding(o, ' ', padding);
    put_text(o, prefix, strlen(prefix));
    put_padding(o, '0', zeroes);
    while (n > 0)
        put(o, text[--n]);
    if (s->left)
        put_padding(o, ' ', padding);
}

static void put_string(struct output *o, const struct spec *s, const char *text) {
    if (!text)
        text = "(null)";
    size_t n = s->precision >= 0 ? strnlen(text, (size_t)s->precision) : strlen(text);
    int padding = s->width - (int)MIN(n, (size_t)INT32_MAX);
    if (!s->left)
        put_padding(o, ' ', padding);
    put_text(o, text, n);
    if (s->left)
        put_padding(o, ' ', padding);
}

static int parse_number(const char **fmt) {
    int n = 0;
    for (; **fmt >= '0' && **fmt <= '9'; (*fmt)++)
        if (n < 100000)
            n = n * 10 + (**fmt - '0');
    return n;
}

int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap) {
    struct output o = {buf, size, 0};
    for (; *fmt; fmt++) {
        if (*fmt != '%') {
            const char *end = fmt;
            while (end[1] && end[1] != '%')
                end++;
            put_text(&o, fmt, (size_t)(end - fmt) + 1);
            fmt = end;
            continue;
        }
        struct spec s = {.precision = -1};
        for (fmt++;; fmt++) {
            if (*fmt == '-')
                s.left = true;
            else if (*fmt == '0')
                s.zero = true;
            else if (*fmt == '+')
                s.plus = true;
            else if (*fmt == ' ')
                s.space = true;
            else if (*fmt == '#')
                s.alt = true;
            else
                break;
        }
        if (*fmt == '*') {
            s.width = va_arg(ap, int);
            if (s.width < 0) {
                s.left = true;
                s.width = -s.width;
            }
            fmt++;
        } else {
            s.width = parse_number(&fmt);
        }
        if (*fmt == '.') {
            fmt++;
            if (*fmt == '*') {
                s.precision = va_arg(ap, int);
                if (s.precision < 0)
                    s.precision = -1;
                fmt++;
            } else {
                s.precision = parse_number(&fmt);
            }
        }
        int bytes = 4;
        for (;; fmt++) {
            if (*fmt == 'l' || *fmt == 'z' || *fmt == 'j' || *fmt == 't')
                bytes = 8;
            else if (*fmt == 'h')
                bytes = bytes == 2 ? 1 : 2;
            else
                break;
        }
        uint64_t v;
        switch (*fmt) {
        case 'd':
        case 'i': {
            int64_t i = bytes == 8 ? va_arg(ap, int64_t) : va_arg(ap, int);
            i = bytes == 2 ? (int16_t)i : bytes == 1 ? (int8_t)i : i;
            put_number(&o, &s, i < 0 ? -(uint64_t)i : (uint64_t)i, i < 0, 10, false);
            break;
        }
        case 'u':
        case 'x':
        case 'X':
        case 'o':
            v = bytes == 8 ? va_arg(ap, uint64_t) : va_arg(ap, unsigned);
            v = bytes == 2 ? (uint16_t)v : bytes == 1 ? (uint8_t)v : v;
            s.plus = s.space = false;
            put_number(&o, &s, v, false, *fmt == 'u' ? 10 : *fmt == 'o' ? 8 : 16, *fmt == 'X');
            break;
        case 'p':
            s.plus = s.space = false;
            s.alt = true;
            v = (uint64_t)(uintptr_t)va_arg(ap, void *);
            if (v)
                put_number(&o, &s, v, false, 16, false);
            else
                put_string(&o, &s, "0x0");
            break;
        case 'c': {
            char c[2] = {(char)va_arg(ap, int), '\0'};
            if (!s.left)
                put_padding(&o, ' ', s.width - 1);
            put(&o, c[0]);
            if (s.left)
                put_padding(&o, ' ', s.width - 1);
            break;
        }
        case 's': put_string(&o, &s, va_arg(ap, const char *)); break;
        case '\0':
            fmt--; // a lone % at the end
            break;
        default: put(&o, *fmt); // %% and what is unknown
        }
    }
    if (size > 0)
        buf[MIN(o.len, size - 1)] = '\0';
    return (int)MIN(o.len, (size_t)INT32_MAX);
}

int snprintf(char *buf, size_t size, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, size, fmt, ap);
    va_end(ap);
    return n;
}
