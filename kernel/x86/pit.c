// The PC's 8254 interval timer as a clock of known rate: channel 2 runs freely through its 65536 values. Channel 0, which the
// firmware leaves interrupting 18 times a second, is stopped.
#include "kernel/x86/clock.h"
#include "kernel/x86/io.h"

#define PIT_CHANNEL2 0x42
#define PIT_COMMAND 0x43
#define PIT_GATE 0x61 // bit 0: channel 2 counts, bit 1: the speaker hears it

#define PIT_HZ 1193182UL

static uint64_t pit_read(void)
{
    out8(PIT_COMMAND, 0x80); // latch channel 2
    uint64_t count = in8(PIT_CHANNEL2);
    count |= (uint64_t)in8(PIT_CHANNEL2) << 8;
    return -count & 0xffff; // it counts down
}

static const struct clock_reference pit = {
    .name = "PIT",
    .read = pit_read,
    .mask = 0xffff,
    .ns_mult = (1000000000UL << 32) / PIT_HZ,
};

const struct clock_reference *pit_init(void)
{
    out8(PIT_COMMAND, 0x30); // channel 0, mode 0: does nothing until it gets a count
    out8(PIT_GATE, (in8(PIT_GATE) & ~2) | 1);
    out8(PIT_COMMAND, 0xb4); // channel 2, low and high byte, mode 2: over and over
    out8(PIT_CHANNEL2, 0);
    out8(PIT_CHANNEL2, 0);
    return &pit;
}
