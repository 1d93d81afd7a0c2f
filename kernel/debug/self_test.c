// Defects on purpose: crash=WORD on the command line provokes one of each kind, which the checks must report.
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/memory/usercopy.h"
#include "kernel/string.h"
#include "kernel/threads/lock.h"
#include "kernel/threads/thread.h"
#include "kernel/time.h"

static struct mutex one = MUTEX_INIT(one), two = MUTEX_INIT(two);
static struct spinlock spin, handler_spin;
static struct slab_cache cache = SLAB_CACHE("self-test", 40, 8);

static void lock_order(void) {
    mutex_lock(&one);
    mutex_lock(&two);
    mutex_unlock(&two);
    mutex_unlock(&one);
    mutex_lock(&two);
    mutex_lock(&one);
}

static void lock_spin_order(void) {
    static struct spinlock other;
    uint64_t flags = irq_save();
    spin_lock(&spin);
    spin_lock(&other);
    spin_unlock(&other);
    spin_unlock(&spin);
    spin_lock(&other);
    spin_lock(&spin);
    irq_restore(flags);
}

static void in_handler(struct timer *timer) {
    (void)timer;
    spin_lock(&handler_spin);
    spin_unlock(&handler_spin);
}

static void lock_interrupt(void) {
    static struct timer timer;
    spin_lock(&handler_spin);
    spin_unlock(&handler_spin);
    timer_init(&timer, in_handler);
    timer_add(&timer, time_monotonic() + NSEC_PER_MSEC);
    thread_prepare_sleep(false);
    thread_sleep_until(time_monotonic() + NSEC_PER_SEC);
}

static void lock_sleep(void) {
    spin_lock(&spin);
    mutex_lock(&one);
}

static void lock_fault(void) {
    uint32_t value;
    spin_lock(&spin);
    if (user_load32(USER_START, &value) == 0)
        spin_unlock(&spin);
}

static void lock_exit(void) {
    mutex_lock(&one);
    thread_exit_current();
}

static void lock_cross_call(void) {
    spin_unlock_irqrestore(&spin, spin_lock_irqsave(&spin));
    spin_lock(&spin);
    check_cross_call();
    spin_unlock(&spin);
}

static void lock_recursion(void) {
    mutex_lock(&one);
    if (!mutex_trylock(&one))
        mutex_lock(&one);
}

static void lock_owner(void) { spin_unlock(&spin); }

static void lock_freed(void) {
    struct mutex *m = kmalloc(sizeof(*m));
    mutex_init(m);
    mutex_lock(m);
    kfree(m);
}

static void use_after_free(void) {
    char *p = slab_alloc(&cache);
    slab_free(&cache, p);
    p[17] = 1;
    for (unsigned i = 0; i < 2 * CHECK_QUARANTINE; i++) // until it is its turn to be used again
        slab_free(&cache, slab_alloc(&cache));
}

static void use_after_free_page(void) {
    struct page *p = page_alloc(0, 0);
    char *text = page_to_virt(p);
    page_unref(p);
    text[1234] = 1;
    page_alloc(0, 0);
}

static void overrun(void) {
    char *p = kmalloc(100);
    memset(p, 0, 101);
    kfree(p);
}

static void double_free(void) {
    void *p = slab_alloc(&cache);
    slab_free(&cache, p);
    slab_free(&cache, p);
}

static void foreign_free(void) {
    char *p = kmalloc(100);
    kfree(p + 16);
}

static void double_free_page(void) {
    struct page *p = page_alloc(0, 0);
    page_unref(p);
    page_unref(p);
}

static void list_damage(void) {
    struct list head = LIST_INIT(head), a = LIST_INIT(a), b = LIST_INIT(b);
    list_push_back(&head, &a);
    list_push_back(&head, &b);
    a.next = &head;
    list_remove(&b);
}

static void ref_zero(void) {
    struct {
        uint32_t refs;
    } counted = {1};
    if (atomic_sub(&counted.refs, 1) == 1)
        atomic_add(&counted.refs, 1);
}

void check_self_test(const char *word) {
    static const struct {
        const char *word;
        void (*fn)(void);
    } tests[] = {
        {"lock-order", lock_order},
        {"lock-spin-order", lock_spin_order},
        {"lock-interrupt", lock_interrupt},
        {"lock-sleep", lock_sleep},
        {"lock-fault", lock_fault},
        {"lock-exit", lock_exit},
        {"lock-cross-call", lock_cross_call},
        {"lock-recursion", lock_recursion},
        {"lock-owner", lock_owner},
        {"lock-freed", lock_freed},
        {"use-after-free", use_after_free},
        {"use-after-free-page", use_after_free_page},
        {"overrun", overrun},
        {"double-free", double_free},
        {"double-free-page", double_free_page},
        {"foreign-free", foreign_free},
        {"list", list_damage},
        {"ref-zero", ref_zero},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(tests); i++)
        if (strcmp(word, tests[i].word) == 0) {
            tests[i].fn();
            panic("check: %s was not noticed", word);
        }
}
