// The battery-backed clock, a Motorola MC146818 as in every PC: registers behind the ports 0x70 and 0x71, counting calendar
// time once a second, in BCD or binary, with 12 or 24 hours. Taken as UTC. The century has a register of its own by
// convention (0x32); where it holds nonsense, two-digit years are those from 1970 to 2069.
#include "drivers/drivers.h"

#include "kernel/x86/io.h"

#define RTC_INDEX 0x70
#define RTC_DATA 0x71
#define RTC_SECONDS 0x00
#define RTC_MINUTES 0x02
#define RTC_HOURS 0x04
#define RTC_DAY 0x07
#define RTC_MONTH 0x08
#define RTC_YEAR 0x09
#define RTC_STATUS_A 0x0a
#define RTC_A_UPDATING 0x80 // UIP: an update begins within 244 us or is in progress
#define RTC_STATUS_B 0x0b
#define RTC_B_24H 0x02
#define RTC_B_BINARY 0x04
#define RTC_CENTURY 0x32
#define RTC_PM 0x80

struct rtc_time {
    uint8_t second, minute, hour, day, month, year, century;
};

static uint8_t rtc_register(uint8_t index) {
    out8(RTC_INDEX, index); // the high bit, clear, leaves NMIs on
    return in8(RTC_DATA);
}

static struct rtc_time read_once(void) {
    return (struct rtc_time){rtc_register(RTC_SECONDS), rtc_register(RTC_MINUTES), rtc_register(RTC_HOURS),
                             rtc_register(RTC_DAY),     rtc_register(RTC_MONTH),   rtc_register(RTC_YEAR),
                             rtc_register(RTC_CENTURY)};
}

static unsigned from_bcd(uint8_t v) { return (v >> 4) * 10u + (v & 15); }

// Days from 1970-01-01, Gregorian: years begin in March, so that the leap day is their last.
static int64_t days_from_civil(int64_t y, unsigned m, unsigned d) {
    y -= m <= 2;
    int64_t era = y / 400, year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (int64_t)(m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static int64_t decode(const struct rtc_time *t, uint8_t status_b) {
    bool binary = status_b & RTC_B_BINARY;
    uint8_t raw_hour = status_b & RTC_B_24H ? t->hour : t->hour & (uint8_t)~RTC_PM;
#define VALUE(x) (binary ? (unsigned)(x) : from_bcd(x))
    unsigned second = VALUE(t->second), minute = VALUE(t->minute), hour = VALUE(raw_hour), day = VALUE(t->day);
    unsigned month = VALUE(t->month), year = VALUE(t->year), century = VALUE(t->century);
#undef VALUE
    if (!(status_b & RTC_B_24H)) { // 12 AM is midnight, 12 PM noon
        if (hour < 1 || hour > 12)
            return 0;
        hour = hour % 12 + (t->hour & RTC_PM ? 12 : 0);
    }
    if (second > 59 || minute > 59 || hour > 23 || day < 1 || day > 31 || month < 1 || month > 12 || year > 99)
        return 0;
    if (century < 19 || century > 22)
        century = year < 70 ? 20 : 19;
    int64_t days = days_from_civil((int64_t)century * 100 + year, month, day);
    int64_t seconds = days * 86400 + hour * 3600 + minute * 60 + second;
    return seconds > 0 ? seconds : 0;
}

static bool equal(const struct rtc_time *a, const struct rtc_time *b) {
    return a->second == b->second && a->minute == b->minute && a->hour == b->hour && a->day == b->day &&
           a->month == b->month && a->year == b->year && a->century == b->century;
}

int64_t rtc_read(void) {
    // An update takes up to 2 ms, during which the registers may be torn. Nobody waits for its end: without an update
    // announced before and after, one reading is good; otherwise two that agree are. The tries are enough to get out of
    // any update on a real chip; a chip that never agrees gives its last reading, off by a carry at worst.
    struct rtc_time t = {0}, last;
    for (int i = 0; i < 1000; i++) {
        bool updating = rtc_register(RTC_STATUS_A) & RTC_A_UPDATING;
        last = t;
        t = read_once();
        if (t.second == 0xff && t.month == 0xff) // nothing there
            return 0;
        if (!updating && !(rtc_register(RTC_STATUS_A) & RTC_A_UPDATING))
            break;
        if (i > 0 && equal(&t, &last))
            break;
    }
    return decode(&t, rtc_register(RTC_STATUS_B));
}
