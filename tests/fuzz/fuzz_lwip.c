/* libFuzzer on the network stack: see lwip_case.h. */
#include "tests/fuzz/lwip_case.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    lwip_case(data, size);
    return 0;
}
