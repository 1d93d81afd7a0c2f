// libFuzzer's entry for the loader: `make fuzz` runs it for a minute from the kept corpus.
#include "tests/fuzz/program_case.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    program_case(data, size);
    return 0;
}
