/*
 * JSON; see the header.
 */
#include "tools/image/json.h"

#include <stdlib.h>
#include <string.h>

json_t *json_parse(const char *text, size_t size, const char *what) {
    json_error_t error;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);

    if (!value)
        die(STATUS_FAILED, "%s: line %d: %s", what, error.line, error.text);
    if (!json_is_object(value) && !json_is_array(value))
        die(STATUS_FAILED, "%s: neither an object nor an array", what);
    return value;
}

const char *json_text(const json_t *object, const char *name) {
    return json_string_value(json_object_get(object, name));
}

bool json_strings(const json_t *value, struct strings *list) {
    if (json_is_string(value)) {
        strings_add(list, "%s", json_string_value(value));
        return true;
    }
    if (!json_is_array(value))
        return false;
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!json_is_string(json_array_get(value, i)))
            return false;
    }
    for (size_t i = 0; i < json_array_size(value); i++)
        strings_add(list, "%s", json_string_value(json_array_get(value, i)));
    return true;
}

json_t *json_from_strings(const struct strings *list) {
    json_t *array = json_array();

    for (size_t i = 0; i < list->count; i++) {
        if (json_array_append_new(array, json_string(list->item[i])) != 0)
            die(STATUS_FAILED, "%s: not UTF-8", list->item[i]);
    }
    return array;
}

void json_put(json_t *object, const char *name, json_t *value) {
    if (!value || json_object_set_new(object, name, value) != 0)
        die(STATUS_FAILED, "%s: it is not UTF-8, or there is no memory", name);
}

char *json_print(const json_t *value) {
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_SORT_KEYS);

    if (!text)
        die(STATUS_FAILED, "out of memory");
    return text;
}
