// Circular doubly linked lists, embedded in the structures that they link. No lock: the owner of the list has one.
#ifndef KERNEL_LIST_H
#define KERNEL_LIST_H

#include "kernel/types.h"

struct list {
    struct list *next, *prev;
};

#define LIST_INIT(name) {&(name), &(name)}

static inline void list_init(struct list *head) { head->next = head->prev = head; }
static inline bool list_empty(const struct list *head) { return head->next == head; }

static inline void list_insert_between(struct list *node, struct list *prev, struct list *next) {
    CHECKED(check_list_add(node, prev, next);)
    node->next = next;
    node->prev = prev;
    prev->next = node;
    next->prev = node;
}
static inline void list_push_front(struct list *head, struct list *node) { list_insert_between(node, head, head->next); }
static inline void list_push_back(struct list *head, struct list *node) { list_insert_between(node, head->prev, head); }

// Unlinks the node and leaves it pointing at itself, so that a second removal does no harm.
static inline void list_remove(struct list *node) {
    CHECKED(check_list_remove(node);)
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

#define list_entry(node, type, member) container_of(node, type, member)
#define list_first(head, type, member) list_entry((head)->next, type, member)
#define list_for_each(it, head, member)                                                                                 \
    for (it = list_entry((head)->next, __typeof__(*it), member); &it->member != (head);                                 \
         it = list_entry(it->member.next, __typeof__(*it), member))
// The loop's body may remove `it`.
#define list_for_each_safe(it, tmp, head, member)                                                                       \
    for (it = list_entry((head)->next, __typeof__(*it), member), tmp = list_entry(it->member.next, __typeof__(*it), member); \
         &it->member != (head); it = tmp, tmp = list_entry(tmp->member.next, __typeof__(*it), member))

#endif
