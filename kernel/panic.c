// The ends of the machine: panic(), and machine_exit() through which every end goes.
#include "kernel/boot.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/x86/backtrace.h"
#include "kernel/x86/context.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/reset.h"

void (*machine_exit_hook)(void);
static const struct machine_hooks *hooks;
static void (*poweroff)(void);
static uint32_t exits; // machine_exit was entered so many times
static uint32_t panics;

void machine_set_hooks(const struct machine_hooks *h) { hooks = h; }
void machine_set_poweroff(void (*fn)(void)) { poweroff = fn; }

void machine_message(const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (hooks)
        hooks->message(text, MIN((size_t)n, sizeof(text) - 1));
    else
        log_report("%s", text);
}

void machine_exit(enum exit_kind kind, int code) {
    CHECKED(if (checks_on) check_print_stack_use(); checks_on = false;)
    irq_disable();
    uint32_t nested = atomic_add(&exits, 1);
    if (nested == 0 || kind == EXIT_KNARR) {
        cpu_stop_others();
        log_break_lock();
    } else if (panics == 0) {
        cpu_halt_forever(); // another CPU is at it
    }
    if (nested == 0 && kind != EXIT_KNARR && machine_exit_hook)
        machine_exit_hook();
    if (nested == 0)
        boot_chart_print();
    if (nested <= 1 && hooks) // the second time: something in here panicked
        hooks->exit(kind, code);
    if (poweroff && nested <= 1)
        poweroff();
    machine_reset();
}

static NORETURN void panic_va(uint64_t rip, uint64_t rbp, const char *fmt, va_list ap) {
    char text[512];
    irq_disable();
    uint32_t nested = atomic_add(&panics, 1);
    CHECKED(checks_on = false;)
    if (nested > 1)
        machine_reset(); // a panic in a panic's report in a panic's report
    cpu_stop_others();
    log_break_lock();
    vsnprintf(text, sizeof(text), fmt, ap);
    log_err("panic: %s", text);
    if (nested == 0) {
        backtrace_print(rip, rbp);
        machine_message("kernel panic: %s", text);
    }
    machine_exit(EXIT_KNARR, CHECKED(check_status != 125 ? check_status :) 125);
}

void panic(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    // Within the call, behind which nothing need follow.
    panic_va((uint64_t)__builtin_return_address(0) - 1, *(uint64_t *)__builtin_frame_address(0), fmt, ap);
}

void panic_at(uint64_t rip, uint64_t rbp, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    panic_va(rip, rbp, fmt, ap);
}

NORETURN void __stack_chk_fail(void);
void __stack_chk_fail(void) { panic("stack smashing detected"); }
