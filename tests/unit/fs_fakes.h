/* What fs/ needs of the kernel, on the host: fs_fakes.c. One thread, one process; memory comes from malloc, so that the address
 * sanitizer watches every object; pages come from a pool that poisons what is free. */
#ifndef TESTS_UNIT_FS_FAKES_H
#define TESTS_UNIT_FS_FAKES_H

#include "kernel/process/process.h"

#define FAKE_PAGES 8192

extern struct process fake_process; /* what process_current() is */
extern int fake_last_signal;
extern unsigned fake_pages_used;    /* out of FAKE_PAGES */
extern long fake_objects;           /* of slabs and kmalloc, not yet freed */
extern unsigned fake_page_limit;    /* page_alloc fails beyond */
extern void (*fake_on_sleep)(void); /* what "another thread" does while this one sleeps; NULL: sleeping is a failure */
extern char fake_log[512];          /* the last line of the log */
extern nsec_t fake_now;

void fake_start(void); /* an empty root, the process in it with an empty table of files */
void fake_root(void);  /* back to root's credentials */
void fake_user(uint32_t uid, uint32_t gid);
uint64_t fake_random(void);
/* RAM of the fake machine, as physical addresses: for the initrd. The pages are taken out of the pool as reserved ones. */
phys_t fake_reserve(unsigned pages);
void fake_reset_reserved(void);

#endif
