// What the boot loader told us, in one form whatever the protocol was, and the kernel's command line.
#ifndef KERNEL_BOOT_H
#define KERNEL_BOOT_H

#include "kernel/memory/page.h"
#include "kernel/types.h"

#define BOOT_MAX_RANGES 32
struct boot_info {
    char cmdline[4096];
    struct ram_range ram[BOOT_MAX_RANGES];
    unsigned ram_count;
    phys_t initrd_start, initrd_end; // 0, 0: none
    phys_t rsdp;                     // 0: look for it, or none
    uint8_t rsdp_copy[40];           // where the loader handed over its contents
};
extern struct boot_info boot_info;

// The value of `name=value`, "" for a bare `name`, NULL when the word is absent. Points into a static copy.
const char *cmdline_get(const char *name);
// Calls fn for every `name=value` with this name (virtio_mmio.device is given several times).
void cmdline_each(const char *name, void (*fn)(const char *value));

// The boot's chart: marks the end of a stage; printed by boot=chart.
void boot_stage(const char *name);
void boot_chart_print(void);

// The end of the machine: reports the status through the console (docs/boot-protocol.md), flushes, resets. Any context.
enum exit_kind { EXIT_CODE = 0, EXIT_SIGNAL = 1, EXIT_KNARR = 2 };
void machine_exit(enum exit_kind kind, int code) NORETURN;
// Called once by machine_exit when the program ended (not for EXIT_KNARR), before the log is flushed; logs what was asked for
// (statistics). Must not sleep. NULL: nobody wants to.
extern void (*machine_exit_hook)(void);
// How to switch the machine off (ACPI S5), where it is known; tried before a reset. Returns when it did not work.
void machine_set_poweroff(void (*fn)(void));
// A line for the person who typed the command (frame 'M'; the log in plain mode). Before machine_exit.
void machine_message(const char *fmt, ...) PRINTF(1, 2);
// What the console (fs/console.c) does for the two above. Any context, also with locks of its own held by a CPU that has
// been stopped; `exit` returns when everything has left the machine.
struct machine_hooks {
    void (*message)(const char *text, size_t len);
    void (*exit)(enum exit_kind kind, int code);
};
void machine_set_hooks(const struct machine_hooks *hooks);

#endif
