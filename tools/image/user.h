/*
 * Who a program runs as: docker's USER[:GROUP], names or numbers, looked up in the image's own /etc/passwd and /etc/group.
 */
#pragma once

#include "tools/common.h"

struct user {
    uint32_t uid, gid;
    uint32_t *groups; /* supplementary */
    size_t group_count;
    char *home; /* NULL: not known */
};

/*
 * text: USER[:GROUP], NULL or "" for root. passwd and group: the files' texts or NULL. As docker: a number needs no entry; without a
 * GROUP the user's own and those that list him are his. NULL, or what is wrong (allocated).
 */
char *user_resolve(struct user *user, const char *text, const char *passwd, const char *group);

/* The words of the record user=, allocated: UID:GID[:GID,GID,...]. */
char *user_record(const struct user *user);
