// The network stack under damaged frames, chosen at random: what tests/fuzz/fuzz_lwip.c does at length.
// link: $(BUILD)/unit/lwip.a tests/fuzz/lwip_case.c tests/unit/lwip_host.c net/lwip/checksum.c net/lwip/core.c net/lwip/memory.c net/lwip/route.c net/lwip/loopback.c net/lwip/timers.c net/lwip/icmp_limit.c net/lwip/tcp_buckets.c net/lwip/tcp_count.c net/lwip/tcp_write.c
// libs: $(BUILD)/unit/lwip.a
// flags: -isystem $(LWIP)/src/include -idirafter net -idirafter net/lwip
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/fuzz/lwip_case.h"

static void test_frames(void **state) {
    static uint8_t input[3000];
    for (unsigned i = 0; i < 300; i++) {
        srand(i);
        size_t n = (unsigned)rand() % sizeof(input);
        for (size_t k = 0; k < n; k++)
            input[k] = (uint8_t)(rand() % 3 ? rand() >> 8 : rand() % 10);
        lwip_case(input, n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_frames)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
