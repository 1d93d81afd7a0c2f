// The only way to the application's memory. Every function checks the range against the user half and survives a fault:
// a page that cannot be had gives -EFAULT. All may sleep (demand paging), so no spinlock may be held.
#ifndef KERNEL_USERCOPY_H
#define KERNEL_USERCOPY_H

#include "kernel/types.h"

static inline bool user_range_ok(uaddr_t addr, size_t len) { return addr <= USER_END && len <= USER_END - addr; }

MUST_CHECK int copy_in(void *dst, uaddr_t src, size_t n);        // 0 or -EFAULT
MUST_CHECK int copy_out(uaddr_t dst, const void *src, size_t n); // 0 or -EFAULT; bytes before the fault are written
// The same, but return how many bytes were copied before a fault (n when none): what read(2) and write(2) need.
size_t copy_in_partial(void *dst, uaddr_t src, size_t n);
size_t copy_out_partial(uaddr_t dst, const void *src, size_t n);
MUST_CHECK int clear_out(uaddr_t dst, size_t n); // zeroes; 0 or -EFAULT
size_t clear_out_partial(uaddr_t dst, size_t n);
// A NUL-terminated string of at most size-1 bytes. Returns its length, -EFAULT, or -ENAMETOOLONG when no NUL was found.
MUST_CHECK long copy_in_str(char *dst, uaddr_t src, size_t size);
// Atomic accesses for futexes, on an aligned word. 0 or -EFAULT (-EAGAIN never: cmpxchg tells what was there in *old).
MUST_CHECK int user_load32(uaddr_t addr, uint32_t *value);
MUST_CHECK int user_cmpxchg32(uaddr_t addr, uint32_t expected, uint32_t desired, uint32_t *old);
// One word, aligned or not: what copy_in_obj and copy_out_obj do, in fewer instructions. 0 or -EFAULT.
MUST_CHECK int user_load64(uaddr_t addr, uint64_t *value);
MUST_CHECK int user_store64(uaddr_t addr, uint64_t value);

#define copy_in_obj(dst, src) copy_in((dst), (src), sizeof(*(dst)))
#define copy_out_obj(dst, src) copy_out((dst), (src), sizeof(*(src)))

#endif
