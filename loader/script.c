// #! scripts, with exactly the rules of Linux (fs/binfmt_script.c): blanks and tabs separate, everything behind the
// interpreter is one argument, blanks at the end do not count, and a line longer than the buffer is cut, unless that
// would cut the interpreter's name.
#include "loader/script.h"
#include "kernel/string.h"

static bool blank(char c) { return c == ' ' || c == '\t'; }

// The first character from `p` to `last` (included) that is not blank; NULL: all are.
static char *skip_blanks(char *p, const char *last) {
    for (; p <= last; p++)
        if (!blank(*p))
            return p;
    return NULL;
}

// The first blank or NUL from `p` to `last` (included); NULL: there is none.
static char *find_end(char *p, const char *last) {
    for (; p <= last; p++)
        if (blank(*p) || !*p)
            return p;
    return NULL;
}

bool script_parse(char line[SCRIPT_LINE_MAX], char **interpreter, char **argument) {
    if (line[0] != '#' || line[1] != '!')
        return false;
    char *last = line + SCRIPT_LINE_MAX - 1;
    char *end = memchr(line, '\n', strnlen(line, SCRIPT_LINE_MAX));
    if (!end) {
        char *name = skip_blanks(line + 2, last);
        if (!name || !find_end(name, last))
            return false;
        end = last;
    }
    while (blank(end[-1]))
        end--;
    char *name = skip_blanks(line + 2, end);
    if (!name || name == end)
        return false;
    char *separator = find_end(name, end);
    char *arg = separator && *separator ? skip_blanks(separator, end) : NULL;
    *end = '\0';
    if (separator)
        *separator = '\0';
    *interpreter = name;
    *argument = arg;
    return true;
}
