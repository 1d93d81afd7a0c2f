// The two tables made from syscall/table.h: what is known about each call, and the functions that entry.S calls.
#include "syscall/syscall.h"
#include "kernel/x86/entry.h"

// A sys_ function has as many parameters as its call has arguments. The x86-64 ABI passes all six in registers, so that a
// function that takes fewer is called correctly through the type with six; the intermediate type tells the compiler so.
#define FN(name) ((syscall_fn)(void (*)(void))sys_##name)

const struct syscall_entry syscall_table[SYSCALL_MAX] = {
#define SYSCALL(nr, nm, argc, fl, ...)                                                                                 \
    [nr] = {.name = #nm, .fn = FN(nm), .arg_count = argc, .flags = fl, .args = {__VA_ARGS__}},
#define NOSYS(nr, nm, argc, fl, ...) [nr] = {.name = #nm, .arg_count = argc, .flags = fl, .args = {__VA_ARGS__}},
#include "syscall/table.h"
};

// The numbers between 334 and 424 belong to nobody: every slot is filled first, then the supported ones again.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
const syscall_fn syscall_fast[SYSCALL_MAX] = {
    [0 ... SYSCALL_MAX - 1] = FN(unsupported),
#define SYSCALL(nr, nm, argc, fl, ...) [nr] = ((fl)&SC_FULL_FRAME) ? syscall_full_frame : FN(nm),
#define NOSYS(nr, nm, argc, fl, ...)
#include "syscall/table.h"
};
#pragma GCC diagnostic pop
