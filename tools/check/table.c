/*
 * Knarr's side of a check; see the header.
 */
#include "tools/check/table.h"

#include <string.h>

static const struct {
    const char *name;
    bool supported;
} calls[NUMBERS] = {
#define SYSCALL(number, name, ...) [number] = {#name, true},
#define NOSYS(number, name, ...) [number] = {#name, false},
#include "syscall/table.h"
};

static const struct absent {
    const char *name;
    enum loss loss;
    const char *purpose, *effect;
} absent[] = {
#define ABSENT(name, loss, purpose, effect) {#name, LOSS_##loss, purpose, effect},
#define REFUSED(...)
#include "syscall/absent.h"
};

static const struct refused {
    const char *call;
    int64_t first, last;
    uint32_t mask;
    enum loss loss;
    const char *words;
} refused[] = {
#define ABSENT(...)
#define REFUSED(call, first, last, mask, loss, words) {#call, first, last, mask, LOSS_##loss, words},
#include "syscall/absent.h"
};

const char *call_name(unsigned number) { return number < NUMBERS ? calls[number].name : NULL; }

enum loss call_loss(unsigned number, const char **purpose, const char **effect) {
    *purpose = "no call of Linux";
    *effect = "ENOSYS, as on Linux";
    if (number >= NUMBERS || !calls[number].name)
        return LOSS_SPARED;
    if (calls[number].supported)
        return LOSS_NONE;
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
        if (strcmp(absent[i].name, calls[number].name) == 0) {
            *purpose = absent[i].purpose;
            *effect = absent[i].effect;
            return absent[i].loss;
        }
    return LOSS_LOST;
}

enum loss option_loss(unsigned number, int64_t value, const char **words) {
    const char *name = call_name(number);

    if (name && strcmp(name, "socketpair") == 0)
        name = "socket";
    for (size_t i = 0; name && i < sizeof(refused) / sizeof(refused[0]); i++) {
        const struct refused *r = &refused[i];
        int64_t masked = (int64_t)((uint64_t)value & r->mask);
        if (strcmp(r->call, name) != 0 || !(r->mask ? masked >= r->first && masked <= r->last : value & r->first))
            continue;
        *words = r->words;
        return r->loss;
    }
    return LOSS_NONE;
}
