/*
 * A look into scripts; see the header.
 */
#include "tools/check/script.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MOST = 255, WORDS_MOST = 40, LOOK_MOST = 256 << 10 };

static char *take_word(const char **at, const char *end) {
    while (*at < end && (**at == ' ' || **at == '\t'))
        (*at)++;
    const char *start = *at;
    while (*at < end && **at != ' ' && **at != '\t')
        (*at)++;
    return *at > start ? xasprintf("%.*s", (int)(*at - start), start) : NULL;
}

char *script_interpreter(const char *text, size_t size) {
    if (size < 3 || memcmp(text, "#!", 2) != 0)
        return NULL;
    size_t line = 2;
    while (line < size && line < LINE_MOST && text[line] != '\n' && text[line] != '\0')
        line++;
    const char *at = text + 2, *end = text + line;
    char *word = take_word(&at, end);
    const char *slash = word ? strrchr(word, '/') : NULL;
    while (word && slash && strcmp(slash, "/env") == 0) {
        char *next = take_word(&at, end);
        if (!next)
            break;
        if (*next == '-' || strchr(next, '=')) { /* env's own */
            free(next);
            continue;
        }
        free(word);
        word = next;
        slash = NULL;
    }
    return word ? word : xstrdup("");
}

static bool is_of_shell(const char *word) {
    static const char *const words[] = {"if",     "then", "else", "elif",  "fi",    "for",   "while",  "until",  "do",
                                        "done",   "case", "esac", "in",    "set",   "cd",    "export", "return", "exit",
                                        "test",   "echo", "true", "false", "read",  "shift", "local",  "exec",   "eval",
                                        "printf", "kill", "wait", "trap",  "umask", "unset"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

void script_words(struct check_files *files, const char *text, size_t size, struct strings *words) {
    struct strings seen = {0};

    size = size < LOOK_MOST ? size : LOOK_MOST;
    for (size_t at = 0; at < size && words->count < WORDS_MOST && seen.count < 2000;) {
        if (text[at] == '#' && (at == 0 || isspace((unsigned char)text[at - 1]))) {
            while (at < size && text[at] != '\n')
                at++;
            continue;
        }
        size_t start = at;
        while (at < size && (isalnum((unsigned char)text[at]) || strchr("/._+-", text[at])) && text[at])
            at++;
        if (at == start) {
            at++;
            continue;
        }
        char *word = xasprintf("%.*s", at - start < 200 ? (int)(at - start) : 200, text + start);
        bool known = !isalpha((unsigned char)*word) && *word != '/';
        for (size_t i = 0; i < seen.count && !known; i++)
            known = strcmp(seen.item[i], word) == 0;
        if (!known && !is_of_shell(word) && (at == size || text[at] != '=')) {
            strings_add(&seen, "%s", word);
            char *path = *word == '/' && word[1] ? NULL : check_find(files, word);
            if (path && !strchr(word, '/'))
                strings_add(words, "%s", word);
            free(path);
        }
        free(word);
    }
    for (size_t i = 0; i < seen.count; i++)
        free(seen.item[i]);
    free(seen.item);
}
