/*
 * JSON of images, by jansson. Nothing in it is trusted: what is not of the expected type is as if it were not there, or ends the
 * program where nothing can be done without it.
 */
#pragma once

#include <jansson.h>

#include "tools/common.h"

enum { JSON_MOST = 4 << 20 }; /* of one document, as registries have it */

/* An object from text; dies with one line that begins with `what`. The caller owns it (json_decref). */
json_t *json_parse(const char *text, size_t size, const char *what);

/* A string member of an object, or NULL. Both may be anything. */
const char *json_text(const json_t *object, const char *name);

/* A list of strings: an array's strings (all of them must be), or a single string. False: it is neither. */
bool json_strings(const json_t *value, struct strings *list);

/* A new array of these. */
json_t *json_from_strings(const struct strings *list);

/* Sets a member, taking the value over; dies when there is no memory. */
void json_put(json_t *object, const char *name, json_t *value);

/* The document as text with sorted members, allocated. */
char *json_print(const json_t *value);
