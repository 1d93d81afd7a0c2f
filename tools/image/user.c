/*
 * Users and groups of an image; see the header, passwd(5), group(5). Lines that are not of their form are skipped.
 */
#include "tools/image/user.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS = 7, GROUPS_MOST = 1024 };

struct field {
    const char *text;
    size_t length;
};

/* The next line's fields; how many, or 0 at the end. */
static size_t next_line(const char **text, struct field fields[FIELDS]) {
    while (*text && **text) {
        const char *line = *text;
        size_t length = strcspn(line, "\n"), count = 0;
        *text = line + length + (line[length] == '\n');
        for (const char *at = line; count < FIELDS; count++) {
            size_t size = strcspn(at, ":\n");
            fields[count] = (struct field){at, size};
            at += size;
            if (*at++ != ':') {
                count++;
                break;
            }
        }
        if (count > 1 || length > 0)
            return count;
    }
    return 0;
}

static bool is(struct field field, const char *text, size_t length) {
    return field.length == length && memcmp(field.text, text, length) == 0;
}

static bool number(struct field field, uint32_t *value) {
    uint64_t sum = 0;

    if (field.length == 0 || field.length > 10)
        return false;
    for (size_t i = 0; i < field.length; i++) {
        if (!isdigit((unsigned char)field.text[i]))
            return false;
        sum = sum * 10 + (uint64_t)(field.text[i] - '0');
    }
    *value = (uint32_t)sum;
    return sum < UINT32_MAX;
}

static bool find_user(struct user *user, const char *passwd, struct field wanted, struct field *name) {
    struct field fields[FIELDS];
    uint32_t uid, gid, as_number;
    bool is_number = number(wanted, &as_number);
    size_t count;

    while ((count = next_line(&passwd, fields)) > 0) {
        if (count < 4 || !number(fields[2], &uid) || !number(fields[3], &gid) ||
            !(is(fields[0], wanted.text, wanted.length) || (is_number && uid == as_number)))
            continue;
        user->uid = uid;
        user->gid = gid;
        *name = fields[0];
        if (count > 5 && fields[5].length > 0)
            user->home = xasprintf("%.*s", (int)fields[5].length, fields[5].text);
        return true;
    }
    user->uid = is_number ? as_number : 0;
    return is_number;
}

static bool find_group(struct user *user, const char *group, struct field wanted) {
    struct field fields[FIELDS];
    uint32_t gid;
    size_t count;

    while ((count = next_line(&group, fields)) > 0) {
        if (count >= 3 && is(fields[0], wanted.text, wanted.length) && number(fields[2], &gid)) {
            user->gid = gid;
            return true;
        }
    }
    return number(wanted, &user->gid);
}

static bool lists(struct field members, struct field name) {
    for (const char *at = members.text, *end = at + members.length; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t length = (size_t)((comma ? comma : end) - at);
        if (is(name, at, length))
            return true;
        at += length + 1;
    }
    return false;
}

static void find_groups(struct user *user, const char *group, struct field name) {
    struct field fields[FIELDS];
    uint32_t gid;
    size_t count;

    while ((count = next_line(&group, fields)) > 0 && user->group_count < GROUPS_MOST) {
        if (count < 4 || !number(fields[2], &gid) || gid == user->gid || !lists(fields[3], name))
            continue;
        user->groups = xrealloc(user->groups, (user->group_count + 1) * sizeof(uint32_t));
        user->groups[user->group_count++] = gid;
    }
}

char *user_resolve(struct user *user, const char *text, const char *passwd, const char *group) {
    const char *wanted = text && *text ? text : "0", *colon = strchr(wanted, ':');
    struct field name = {wanted, strcspn(wanted, ":")}, known = {"", 0};

    *user = (struct user){0};
    if (name.length == 0) /* ":GROUP" */
        name = (struct field){"0", 1};
    if (!find_user(user, passwd, name, &known))
        return xasprintf("the user %.*s is not in the image's /etc/passwd", (int)name.length, name.text);
    if (colon && colon[1]) {
        if (!find_group(user, group, (struct field){colon + 1, strlen(colon + 1)}))
            return xasprintf("the group %s is not in the image's /etc/group", colon + 1);
    } else if (known.length > 0) {
        find_groups(user, group, known);
    }
    return NULL;
}

char *user_record(const struct user *user) {
    char *record = xasprintf("%u:%u", user->uid, user->gid);

    for (size_t i = 0; i < user->group_count; i++) {
        char *longer = xasprintf("%s%c%u", record, i == 0 ? ':' : ',', user->groups[i]);
        free(record);
        record = longer;
    }
    return record;
}
