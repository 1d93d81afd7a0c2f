// The checked build (`make checked`): hooks that look for defects of the kernel itself while it works. CHECKED(...) keeps its
// argument in that build and drops it in every other one, so that a hook costs the normal kernel nothing. What a check finds
// ends the machine with a report and exit status CHECK_STATUS. Included by kernel/types.h.
//   locks     lockdep.c: order of all locks, interrupts, sleeping where one must not, owners
//   memory    poison.c: freed pages and objects keep a pattern, objects have red zones
//   counts    integrity.c: lists, reference counts, threads, kernel stacks
#ifndef KERNEL_DEBUG_CHECKED_H
#define KERNEL_DEBUG_CHECKED_H

#ifndef KNARR_CHECKED
#define CHECKED(...)
#else
#define CHECKED(...) __VA_ARGS__

struct list;
struct mutex;
struct page;
struct rwmutex;
struct slab_cache;
struct spinlock;
struct thread;

#define CHECK_STATUS 121

// Reports and stops; `fmt` is one line. check_report prints further lines before that, once checks are off.
void check_failed(const char *fmt, ...) PRINTF(1, 2) NORETURN;
bool check_begin_report(void); // switches all checks off; false: another CPU reports already
extern bool checks_on;         // from the scheduler's start to the first finding
void check_start(void);
extern int check_status; // what a panic's exit status is

// ---- locks. A lock's class is found at its first use from where it lies: a static variable, a place in objects of a cache.
#define CHECK_HELD_MOST 16
struct held_lock {
    const void *lock;
    uint32_t place; // low half of the address in the kernel's text
    uint16_t class;
    uint8_t kind, irq_depth;
};
struct held_locks {
    uint32_t count;
    struct held_lock held[CHECK_HELD_MOST];
    bool nested; // the next lock may be of the same class as one that is held: lock_nested()
};
enum { CHECK_SPIN, CHECK_MUTEX, CHECK_READ, CHECK_WRITE };
void check_spin_wanted(struct spinlock *l);
void check_spin_taken(struct spinlock *l);
void check_spin_released(struct spinlock *l);
void check_lock_wanted(const void *lock, uint32_t *check, unsigned kind, uintptr_t place);
void check_lock_taken(const void *lock, uint32_t *check, unsigned kind, uintptr_t place);
void check_lock_released(const void *lock, uintptr_t place);
void check_may_sleep(uintptr_t place);
void check_may_fault(uintptr_t place);  // a copy from or to the application
void check_no_locks(const char *where); // at the end of a system call, a thread
void check_cross_call(void);            // about to wait for other CPUs' answers to an interrupt
void check_lock_nested(void);
void check_memory_goes(const void *start, size_t size, const char *what); // no lock in there may be held
#define CHECK_SUBCLASS 0x5bc10000u
#define CHECK_PLACE ((uintptr_t)__builtin_return_address(0))

// ---- memory
#define CHECK_QUARANTINE 16
struct check_cache { // in a slab cache: the objects freed last, kept from being used again for a while
    void *quarantine[CHECK_QUARANTINE];
    uint32_t next;
};
void check_page_freed(struct page *p, uintptr_t place);
void check_page_allocated(struct page *p, unsigned order);
void check_page_ref(struct page *p);
uint32_t check_slab_extra(uint32_t size);
void check_slab_allocated(struct slab_cache *c, void *object, uintptr_t place);
void *check_slab_freed(struct slab_cache *c, void *object,
                       uintptr_t place); // which object is to be freed in its stead, or NULL
void check_kmalloc(struct slab_cache *c, void *object, size_t size, uintptr_t place);
uint32_t check_slab_place(const struct slab_cache *c, const void *object); // where it was allocated
void check_self_test(const char *word);                                    // crash=WORD on the command line

// ---- structures
void check_list_add(const struct list *node, const struct list *prev, const struct list *next);
void check_list_remove(const struct list *node);
void check_ref_change(const void *counter, uint64_t before, int change);
void check_thread_gone(const struct thread *t);
void check_stack_allocated(void *stack, bool fresh);
void check_stack_freed(void *stack);
void check_print_stack_use(void);

// Reference counts are the counters named refs.
#define check_count(p, v, op, sign)                                                                                    \
    ({                                                                                                                 \
        __typeof__(*(p) + 0) before_ = __atomic_fetch_##op(p, v, __ATOMIC_SEQ_CST);                                    \
        if (__builtin_strstr(#p, "refs"))                                                                              \
            check_ref_change(p, (uint64_t)before_, sign);                                                              \
        before_;                                                                                                       \
    })
#undef atomic_add
#undef atomic_sub
#define atomic_add(p, v) check_count(p, v, add, 1)
#define atomic_sub(p, v) check_count(p, v, sub, -1)

#endif

// The lock taken next may be of the same class as one that is held; the rule between the two is written where this is called.
#define lock_nested() CHECKED(check_lock_nested())
// Locks at the same place of objects of one type that follow different rules: `number` below 65536 tells them apart. After the lock's
// initialisation.
#define lock_subclass(lock, number) CHECKED((lock)->check = CHECK_SUBCLASS | (number))

#endif
