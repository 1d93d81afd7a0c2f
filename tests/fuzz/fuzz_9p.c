/* libFuzzer on the replies of a 9P server: whatever it says, each call on the file system ends with an answer, nothing is touched that is
 * not its own, and nothing is left behind. */
#include "tests/unit/p9_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    p9_case_fuzz(data, size);
    return 0;
}
