// The boot, as a story. boot.S brings the boot CPU here, on the boot stack and the boot page table, interrupts off.
#include "drivers/drivers.h"
#include "kernel/boot.h"
#include "kernel/init.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/random.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/time.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/boot_memory.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/pagetable.h"
#include "kernel/x86/smp.h"
#include "syscall/syscall.h"

NORETURN void kernel_main(phys_t start_info, uint32_t magic);

extern const char kernel_start[], kernel_end[];

// The second half of the boot, which may sleep: devices; files and the program are process 1's.
static void init_thread(void *unused) {
    drivers_init(); // virtio: console, entropy
    boot_stage("devices");
    syscall_init(); // tracing and statistics, when asked for
    init_run();     // reads the configuration, makes the tree of files, starts the program
}

static void set_log_level(void) {
    static const char *const names[] = {"err", "warn", "info", "debug"};
    const char *level = cmdline_get("loglevel");
    for (unsigned i = 0; level && i < ARRAY_SIZE(names); i++)
        if (strcmp(level, names[i]) == 0)
            log_threshold = (enum log_level)i;
}

void kernel_main(phys_t start_info, uint32_t magic) {
    boot_stage("firmware");
    boot_clear_bss();              // in case the loader did not
    boot_parse(start_info, magic); // memory map, command line, initrd: copied before anything is overwritten
    cmdline_parse(boot_info.cmdline);
    set_log_level();
    serial_init(); // from here on the log is seen
    cmdline_report_unknown();
    cpu_init(); // segments, exceptions, system call entry, protection
    boot_stage("processor");
    smp_reserve(); // where the other CPUs will begin
    page_reserve(virt_to_phys(kernel_start), virt_to_phys(kernel_end));
    if (boot_info.initrd_end)
        page_reserve(boot_info.initrd_start, boot_info.initrd_end);
    page_init(boot_info.ram, boot_info.ram_count);
    pagetable_init(); // the final map: W^X, no identity map
    boot_stage("memory");
    random_init(); // what the processor offers
    cpu_this()->stack_canary = random_u64() << 8;
    irq_init(); // interrupt controllers, CPUs
    boot_stage("interrupts");
    time_init();  // clocks, the timer
    sched_init(); // this CPU's run queue; we become its idle thread
    boot_stage("scheduler");
    CHECKED(check_start();)
    smp_start(); // the other CPUs come when they come
    struct thread *init = thread_create_kernel("init", init_thread, NULL);
    if (!init)
        panic("no memory for the first thread");
    thread_start(init);
    sched_idle_loop();
}
