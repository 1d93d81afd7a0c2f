/* libFuzzer on `knarr check`: whatever an ELF file says of itself and whatever its code is, it is read or refused, all of it is looked at within
 * bounds, and nothing is left behind. */
#include <stdlib.h>
#include <string.h>

#include "tools/check/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct object object;
    struct reach reach = {0};
    struct numbers numbers = {0};
    uint8_t *bytes = malloc(size + 1);

    memcpy(bytes, data, size);
    if (object_read(&object, "fuzz", bytes, size) == NULL) {
        reach_add(&reach, &object);
        reach_enter(&reach, &object, true, size & 1);
        reach_run(&reach);
        numbers_find(&numbers, &reach);
        for (unsigned i = 0; i < NUMBERS; i++)
            if (numbers.calls[i].level)
                is_unavoidable(&reach, &numbers.calls[i]);
        for (struct function *f = reach.first; f; f = f->next_reached)
            free(function_name(f));
    }
    numbers_free(&numbers);
    reach_free(&reach);
    object_free(&object);
    return 0;
}
