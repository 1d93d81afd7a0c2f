/* libFuzzer on EROFS images: whatever the bytes are, the image is refused, or mounted, and then all that is asked of it has an answer;
 * nothing is touched that is not its own, and nothing is left behind. */
#include "tests/unit/erofs_case.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    erofs_case_fuzz(data, size);
    return 0;
}
