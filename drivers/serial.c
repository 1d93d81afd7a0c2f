// The serial port COM1, a 16550 (National Semiconductor PC16550D), 115200 baud 8N1. Output is polled, so that it works from
// the first instruction to the last. Used for the log, and as the console when there is no virtio console: then received
// bytes come by interrupt.
// Lock: serial.lock, interrupt-safe, a leaf, for the port's output. The log has its own around its lines.
#include "drivers/serial.h"
#include "drivers/drivers.h"

#include "kernel/chardev.h"
#include "kernel/irq.h"
#include "kernel/threads/lock.h"
#include "kernel/log.h"
#include "kernel/x86/io.h"

#define COM1 0x3f8
#define COM1_IRQ 4
#define UART_DATA (COM1 + 0)
#define UART_IER (COM1 + 1)
#define UART_IER_RECEIVED 1
#define UART_IIR (COM1 + 2)
#define UART_FCR (COM1 + 2)
#define UART_FCR_ON 7 // enabled and both emptied, interrupt at the first byte
#define UART_LCR (COM1 + 3)
#define UART_LCR_8N1 3
#define UART_LCR_DLAB 0x80
#define UART_MCR (COM1 + 4)
#define UART_MCR_ON 0x0b // DTR, RTS, and OUT2, which connects the interrupt on a PC
#define UART_LSR (COM1 + 5)
#define UART_LSR_READY 1
#define UART_LSR_EMPTY 0x20
#define UART_SCRATCH (COM1 + 7)
#define FIFO_SIZE 16
#define EMPTY_TRIES 200000 // a byte takes 87 us; a port that is stuck must not stop the kernel

static struct {
    struct spinlock lock;
    bool present, stuck;
} serial = {.lock = SPINLOCK_INIT};

// Waits until the transmitter's FIFO is empty; false: it does not empty, drop the output.
static bool wait_empty(void) {
    if (serial.stuck)
        return false;
    for (int i = 0; i < EMPTY_TRIES; i++) {
        if (in8(UART_LSR) & UART_LSR_EMPTY)
            return true;
        cpu_relax();
    }
    serial.stuck = true;
    return false;
}

static void put(const char *text, size_t len) {
    while (len && wait_empty()) {
        size_t n = MIN(len, (size_t)FIFO_SIZE);
        out8_string(UART_DATA, text, n);
        text += n;
        len -= n;
    }
}

// The log's lines end with \n; a terminal at the port wants \r\n.
static void put_lines(const char *text, size_t len) {
    while (len) {
        size_t n = 0;
        while (n < len && text[n] != '\n')
            n++;
        put(text, n);
        if (n < len) {
            put("\r\n", 2);
            n++;
        }
        text += n;
        len -= n;
    }
}

static void sink_write(const char *text, size_t len) {
    // A panic may have stopped the holder of the lock: the log does not wait for ever for it.
    uint64_t flags = irq_save();
    bool locked = false;
    for (int i = 0; i < EMPTY_TRIES && !locked; i++)
        locked = spin_trylock(&serial.lock);
    put_lines(text, len);
    if (locked)
        spin_unlock(&serial.lock);
    irq_restore(flags);
}

static const struct log_sink serial_sink = {.write = sink_write};

void serial_init(void) {
    out8(UART_SCRATCH, 0x5a);
    if (in8(UART_SCRATCH) != 0x5a || in8(UART_LSR) == 0xff)
        return;
    out8(UART_IER, 0);
    out8(UART_LCR, UART_LCR_DLAB);
    out8(UART_DATA, 1); // divisor 1: 115200 baud
    out8(UART_IER, 0);
    out8(UART_LCR, UART_LCR_8N1);
    out8(UART_FCR, UART_FCR_ON);
    out8(UART_MCR, UART_MCR_ON);
    serial.present = true;
    log_set_sink(&serial_sink);
}

static size_t console_write(const void *data, size_t len) {
    uint64_t flags = spin_lock_irqsave(&serial.lock);
    put(data, len);
    spin_unlock_irqrestore(&serial.lock, flags);
    return len;
}

static size_t console_read(void *data, size_t size) {
    uint8_t *p = data;
    size_t n = 0;
    while (n < size && (in8(UART_LSR) & UART_LSR_READY))
        p[n++] = in8(UART_DATA);
    return n;
}

static void console_flush(void) { wait_empty(); }

static void serial_interrupt(void *arg) {
    in8(UART_IIR);
    chardev_console_readable();
    // The console's reader may have no room; the interrupt must go away nevertheless, or it never comes again (edge).
    if (in8(UART_LSR) & UART_LSR_READY)
        out8(UART_IER, 0), out8(UART_IER, UART_IER_RECEIVED);
}

static const struct chardev_ops console_ops = {
    .write = console_write,
    .read = console_read,
    .flush = console_flush,
};

void serial_register_console(void) {
    if (!serial.present)
        return;
    chardev_register_console(&console_ops);
    if (irq_request_gsi(COM1_IRQ, false, false, serial_interrupt, NULL) < 0) {
        log_warn("serial port: no interrupt, the console takes no input");
        return;
    }
    out8(UART_IER, UART_IER_RECEIVED);
}
