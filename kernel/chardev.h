// What a driver of bytes (virtio console, serial port) offers to the terminal and log code above, and small device tables.
#ifndef KERNEL_CHARDEV_H
#define KERNEL_CHARDEV_H

#include "kernel/types.h"

// The machine's console as bytes. One instance; drivers register it during the boot.
struct chardev_ops {
    // Queues bytes for output; returns how many were taken (0: full, `on_writable` is called later). Any context.
    size_t (*write)(const void *data, size_t len);
    // Takes received bytes; returns how many. Any context.
    size_t (*read)(void *data, size_t size);
    void (*flush)(void); // waits, polling, until all output has left: for the shutdown and for panics
};
struct chardev_events {
    void (*on_readable)(void); // interrupt context
    void (*on_writable)(void); // interrupt context
};
void chardev_register_console(const struct chardev_ops *ops);
const struct chardev_ops *chardev_console(void); // NULL: the machine has none
void chardev_set_console_events(const struct chardev_events *ev);
void chardev_console_readable(void); // the driver says so
void chardev_console_writable(void);

#endif
