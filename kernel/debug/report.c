// The end of a checked kernel that found something: all checks go off, so that the report itself may take locks, and the panic's
// exit status says that it was a check.
#include "kernel/log.h"
#include "kernel/types.h"
#include "kernel/x86/cpu.h"

bool checks_on;
int check_status = 125;

void check_start(void) { checks_on = true; }

bool check_begin_report(void) {
    if (!atomic_xchg(&checks_on, false))
        return false;
    check_status = CHECK_STATUS;
    return true;
}

void check_failed(const char *fmt, ...) {
    char text[256];
    va_list ap;
    irq_disable();
    if (check_status != CHECK_STATUS && !check_begin_report())
        cpu_halt_forever(); // another CPU is at it, or a panic is
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    panic("check: %s", text);
}
