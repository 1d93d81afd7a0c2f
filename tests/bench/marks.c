/*
 * A plugin for QEMU's translator: counts the guest instructions that one CPU executes, whatever it waits for in between, which
 * -icount cannot tell from work. A program marks places with MARK(n) of measure.h, an instruction that does nothing; for each
 * that is executed a line `mark N COUNT` appears on standard error. The interface is that of qemu-plugin.h, version 1, declared
 * here as far as it is used.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
struct tb;
struct insn;
enum { CB_NO_REGS = 0, INLINE_ADD_U64 = 0 };
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*cb)(plugin_id id, struct tb *tb));
void qemu_plugin_register_vcpu_tb_exec_inline(struct tb *tb, int op, void *ptr, uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_cb(struct insn *insn, void (*cb)(unsigned vcpu, void *data), int flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct tb *tb);
struct insn *qemu_plugin_tb_get_insn(const struct tb *tb, size_t i);
const void *qemu_plugin_insn_data(const struct insn *insn);
size_t qemu_plugin_insn_size(const struct insn *insn);

int qemu_plugin_version = 1;
int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv);

static uint64_t executed;

static void mark(unsigned vcpu, void *data)
{
    (void)vcpu;
    fprintf(stderr, "mark %llu %llu\n", (unsigned long long)(uintptr_t)data, (unsigned long long)executed);
}

static void translated(plugin_id id, struct tb *tb)
{
    (void)id;
    size_t n = qemu_plugin_tb_n_insns(tb);
    for (size_t i = 0; i < n; i++) {
        struct insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const uint8_t *bytes = qemu_plugin_insn_data(insn);
        if (qemu_plugin_insn_size(insn) == 7 && memcmp(bytes, "\x0f\x1f\x80", 3) == 0 && memcmp(bytes + 5, "\x4b\x52", 2) == 0)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, mark, CB_NO_REGS, (void *)(uintptr_t)(bytes[3] | bytes[4] << 8));
    }
    qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &executed, n);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
