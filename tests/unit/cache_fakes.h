/* What the page cache needs of the kernel, on the host: cache_fakes.c. One thread; while it sleeps, requests end. */
#ifndef TESTS_UNIT_CACHE_FAKES_H
#define TESTS_UNIT_CACHE_FAKES_H

#include "fs/vfs.h"
#include "kernel/process/process.h"

#define FAKE_CACHE_PAGES 512

extern struct process fake_process;
extern struct superblock fake_superblock;
extern unsigned fake_pages_used, fake_page_limit;
extern long fake_fault_after; /* bytes of "user" memory that can be read; -1: all */
extern int fake_signal;
extern nsec_t fake_now;

void fake_cache_start(bool (*deliver)(void)); /* ends a request; false: there is none */
void fake_run_writer(void);                   /* the thread of write-back, until it sleeps */
uint64_t fake_random(void);
void *zeroed_memory(size_t n, size_t size);

#endif
