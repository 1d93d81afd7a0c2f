// Accesses that may fault: what was read or written, or the signal's number and code.
#pragma once
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>

static sigjmp_buf escape;
static siginfo_t seen;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    seen = *info;
    siglongjmp(escape, 1);
}

// Whether the byte can be read: its value, or the signal's code. The address in the siginfo must be the byte's.
static void probe(const char *name, const volatile char *p)
{
    if (!sigsetjmp(escape, 1))
        printf("%s: %d\n", name, *p);
    else
        printf("%s: signal %d code %d%s\n", name, seen.si_signo, seen.si_code, seen.si_addr == p ? "" : " WRONG ADDRESS");
}

static void probe_write(const char *name, volatile char *p)
{
    if (!sigsetjmp(escape, 1)) {
        *p = 5;
        printf("%s: written\n", name);
    } else
        printf("%s: signal %d code %d%s\n", name, seen.si_signo, seen.si_code, seen.si_addr == p ? "" : " WRONG ADDRESS");
}
