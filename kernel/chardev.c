// The place where the driver of the machine's console and its user (fs/console.c) meet.
#include "kernel/chardev.h"

static const struct chardev_ops *console;
static const struct chardev_events *console_events;

void chardev_register_console(const struct chardev_ops *ops) { WRITE_ONCE(console, ops); }
const struct chardev_ops *chardev_console(void) { return READ_ONCE(console); }
void chardev_set_console_events(const struct chardev_events *ev) { store_release(&console_events, ev); }

void chardev_console_readable(void) {
    const struct chardev_events *ev = load_acquire(&console_events);
    if (ev)
        ev->on_readable();
}

void chardev_console_writable(void) {
    const struct chardev_events *ev = load_acquire(&console_events);
    if (ev)
        ev->on_writable();
}
