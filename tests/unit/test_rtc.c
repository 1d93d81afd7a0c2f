// link: drivers/rtc.c
/* The battery-backed clock: BCD and binary, 12 and 24 hours, centuries, updates in progress, nonsense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/drivers.h"
#include "kernel/x86/io.h"

static uint8_t registers[128], selected;
static unsigned reads;
static void (*on_read)(void); /* before each read of a register */

uint8_t in8(uint16_t port) {
    assert_int_equal(port, 0x71);
    reads++;
    if (on_read)
        on_read();
    return registers[selected];
}
void out8(uint16_t port, uint8_t value) {
    assert_int_equal(port, 0x70);
    selected = value & 0x7f;
}

static void set(uint8_t status_b, const uint8_t v[7]) {
    memset(registers, 0, sizeof(registers));
    registers[0] = v[0], registers[2] = v[1], registers[4] = v[2], registers[7] = v[3], registers[8] = v[4];
    registers[9] = v[5], registers[0x32] = v[6], registers[0xb] = status_b;
    on_read = NULL;
    reads = 0;
}

static void decodes(void **state) {
    static const struct {
        uint8_t status_b, v[7]; /* second, minute, hour, day, month, year, century */
        int64_t expected;
    } cases[] = {
        {2, {0, 0, 0, 1, 1, 0x20, 0x20}, 1577836800},                    /* 2020-01-01 00:00:00 in BCD */
        {6, {0, 0, 0, 1, 1, 20, 20}, 1577836800},                        /* the same, binary */
        {2, {0x59, 0x59, 0x23, 0x31, 0x12, 0x99, 0x19}, 946684799},      /* the last second of 1999 */
        {2, {0, 0, 0, 0x29, 0x02, 0x24, 0x20}, 1709164800},              /* a leap day */
        {2, {0x07, 0x28, 0x06, 0x07, 0x02, 0x06, 0x21}, 4294967295 - 8}, /* 2106-02-07 06:28:07 */
        {0, {0, 0, 0x12, 1, 1, 0x20, 0x20}, 1577836800},                 /* 12 AM is midnight */
        {0, {0, 0, 0x92, 1, 1, 0x20, 0x20}, 1577836800 + 12 * 3600},     /* 12 PM is noon */
        {0, {0, 0, 0x81, 1, 1, 0x20, 0x20}, 1577836800 + 13 * 3600},     /* 1 PM in BCD */
        {4, {0, 0, 11 | 0x80, 1, 1, 20, 20}, 1577836800 + 23 * 3600},    /* 11 PM in binary */
        {2, {0, 0, 0, 1, 1, 0x20, 0xff}, 1577836800},                    /* a century of nonsense: 2020 */
        {2, {0, 0, 0, 1, 1, 0x99, 0}, 915148800},                        /* and 1999 */
        {2, {0, 0, 0x24, 1, 1, 0x20, 0x20}, 0},                          /* no such hour */
        {2, {0, 0x61, 0, 1, 1, 0x20, 0x20}, 0},
        {2, {0, 0, 0, 0, 1, 0x20, 0x20}, 0},
        {2, {0, 0, 0, 1, 0x13, 0x20, 0x20}, 0},
        {0, {0, 0, 0, 1, 1, 0x20, 0x20}, 0},                /* 12 hours have no 0 */
        {2, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 0}, /* no chip */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set(cases[i].status_b, cases[i].v);
        assert_int_equal(rtc_read(), cases[i].expected);
        assert_true(reads < 20);
    }
}

static void tear(void) { /* an update that begins while the minutes are read, and lasts for a while */
    if (reads == 3) {
        registers[0xa] = 0x80;
        registers[0] = 0, registers[2] = 0, registers[4] = 0;
    } else if (reads == 40) {
        registers[0xa] = 0;
        registers[0] = 0x00, registers[2] = 0x00, registers[4] = 0x13;
    } else if (reads > 3 && reads < 40) {
        registers[2] = (uint8_t)reads; /* not two readings agree */
    }
}

static void does_not_take_a_torn_time(void **state) {
    set(2, (const uint8_t[]){0x59, 0x59, 0x12, 1, 1, 0x20, 0x20});
    on_read = tear;
    assert_int_equal(rtc_read(), 1577836800 + 13 * 3600);
}

static void stuck(void) { registers[0xa] = 0x80; }

static void does_not_wait_for_a_stuck_chip(void **state) {
    set(2, (const uint8_t[]){0, 0, 0, 1, 1, 0x20, 0x20});
    on_read = stuck;
    assert_int_equal(rtc_read(), 1577836800);
    assert_true(reads < 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes),
        cmocka_unit_test(does_not_take_a_torn_time),
        cmocka_unit_test(does_not_wait_for_a_stuck_chip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
