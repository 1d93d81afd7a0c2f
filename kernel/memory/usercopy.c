// Access to the application's memory: range checks here, the instructions that may fault in x86/usercopy.S.
#include "kernel/memory/usercopy.h"

// kernel/x86/usercopy.S
size_t user_copy(void *dst, const void *src, size_t n);
size_t user_clear(void *dst, size_t n);
long user_copy_str(char *dst, const char *src, size_t size);
int user_read32(const uint32_t *src, uint32_t *value);
int user_read64(const uint64_t *src, uint64_t *value);
int user_write64(uint64_t *dst, uint64_t value);
int user_exchange32(uint32_t *dst, uint32_t expected, uint32_t desired, uint32_t *old);

int copy_in(void *dst, uaddr_t src, size_t n) {
    CHECKED(check_may_fault(CHECK_PLACE);)
    if (unlikely(!user_range_ok(src, n)))
        return -EFAULT;
    return likely(user_copy(dst, (const void *)src, n) == 0) ? 0 : -EFAULT;
}

int copy_out(uaddr_t dst, const void *src, size_t n) {
    CHECKED(check_may_fault(CHECK_PLACE);)
    if (unlikely(!user_range_ok(dst, n)))
        return -EFAULT;
    return likely(user_copy((void *)dst, src, n) == 0) ? 0 : -EFAULT;
}

size_t copy_in_partial(void *dst, uaddr_t src, size_t n) {
    CHECKED(check_may_fault(CHECK_PLACE);)
    if (unlikely(src > USER_END))
        return 0;
    size_t m = MIN(n, USER_END - src);
    return m - user_copy(dst, (const void *)src, m);
}

size_t copy_out_partial(uaddr_t dst, const void *src, size_t n) {
    CHECKED(check_may_fault(CHECK_PLACE);)
    if (unlikely(dst > USER_END))
        return 0;
    size_t m = MIN(n, USER_END - dst);
    return m - user_copy((void *)dst, src, m);
}

int clear_out(uaddr_t dst, size_t n) {
    CHECKED(check_may_fault(CHECK_PLACE);)
    if (unlikely(!user_range_ok(dst, n)))
        return -EFAULT;
    return likely(user_clear((void *)dst, n) == 0) ? 0 : -EFAULT;
}

size_t clear_out_partial(uaddr_t dst, size_t n) {
    CHECKED(check_may_fault(CHECK_PLACE);)
    if (unlikely(dst > USER_END))
        return 0;
    size_t m = MIN(n, USER_END - dst);
    return m - user_clear((void *)dst, m);
}

long copy_in_str(char *dst, uaddr_t src, size_t size) {
    CHECKED(check_may_fault(CHECK_PLACE);)
    if (unlikely(src >= USER_END))
        return -EFAULT;
    size_t room = MIN(size, USER_END - src);
    long n = user_copy_str(dst, (const char *)src, room);
    if (unlikely(n == (long)room))
        return room < size ? -EFAULT : -ENAMETOOLONG;
    return n;
}

int user_load32(uaddr_t addr, uint32_t *value) {
    CHECKED(check_may_fault(CHECK_PLACE);)
    if (unlikely(!user_range_ok(addr, sizeof(*value))))
        return -EFAULT;
    return user_read32((const uint32_t *)addr, value);
}

int user_cmpxchg32(uaddr_t addr, uint32_t expected, uint32_t desired, uint32_t *old) {
    CHECKED(check_may_fault(CHECK_PLACE);)
    if (unlikely(!user_range_ok(addr, sizeof(*old))))
        return -EFAULT;
    return user_exchange32((uint32_t *)addr, expected, desired, old);
}

int user_load64(uaddr_t addr, uint64_t *value) {
    CHECKED(check_may_fault(CHECK_PLACE);)
    if (unlikely(!user_range_ok(addr, sizeof(*value))))
        return -EFAULT;
    return user_read64((const uint64_t *)addr, value);
}

int user_store64(uaddr_t addr, uint64_t value) {
    CHECKED(check_may_fault(CHECK_PLACE);)
    if (unlikely(!user_range_ok(addr, sizeof(value))))
        return -EFAULT;
    return user_write64((uint64_t *)addr, value);
}
