/*
 * Decoding with capstone; see the header.
 */
#include "tools/check/disasm.h"

#include <capstone/capstone.h>
#include <dlfcn.h>
#include <string.h>

#define LIBRARY "libcapstone.so.4"

#define CAPSTONE_FUNCTIONS(USE) USE(cs_open) USE(cs_option) USE(cs_malloc) USE(cs_disasm_iter) USE(cs_regs_access)

static struct {
#define DECLARE(function) __typeof__(function) *function;
    CAPSTONE_FUNCTIONS(DECLARE)
#undef DECLARE
} lib;

static csh handle;
static cs_insn *decoded;

static bool load(void) {
    if (decoded)
        return true;
    void *library = dlopen(LIBRARY, RTLD_NOW);
    if (!library)
        return false;
#define LOAD(function)                                                                                                 \
    if (!(lib.function = (__typeof__(function) *)dlsym(library, #function)))                                           \
        die(STATUS_FAILED, "%s has no %s", LIBRARY, #function);
    CAPSTONE_FUNCTIONS(LOAD)
    if (lib.cs_open(CS_ARCH_X86, CS_MODE_64, &handle) != CS_ERR_OK ||
        lib.cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON) != CS_ERR_OK || !(decoded = lib.cs_malloc(handle)))
        die(STATUS_FAILED, "%s does not work", LIBRARY);
    return true;
}

bool disassembler_is_there(void) { return load(); }

/* Capstone's registers are not in the processor's order. *high: AH, CH, DH, BH. */
static uint8_t register_number(unsigned reg, bool *high) {
    static const uint16_t table[16][4] = {{X86_REG_RAX, X86_REG_EAX, X86_REG_AX, X86_REG_AL},
                                          {X86_REG_RCX, X86_REG_ECX, X86_REG_CX, X86_REG_CL},
                                          {X86_REG_RDX, X86_REG_EDX, X86_REG_DX, X86_REG_DL},
                                          {X86_REG_RBX, X86_REG_EBX, X86_REG_BX, X86_REG_BL},
                                          {X86_REG_RSP, X86_REG_ESP, X86_REG_SP, X86_REG_SPL},
                                          {X86_REG_RBP, X86_REG_EBP, X86_REG_BP, X86_REG_BPL},
                                          {X86_REG_RSI, X86_REG_ESI, X86_REG_SI, X86_REG_SIL},
                                          {X86_REG_RDI, X86_REG_EDI, X86_REG_DI, X86_REG_DIL},
                                          {X86_REG_R8, X86_REG_R8D, X86_REG_R8W, X86_REG_R8B},
                                          {X86_REG_R9, X86_REG_R9D, X86_REG_R9W, X86_REG_R9B},
                                          {X86_REG_R10, X86_REG_R10D, X86_REG_R10W, X86_REG_R10B},
                                          {X86_REG_R11, X86_REG_R11D, X86_REG_R11W, X86_REG_R11B},
                                          {X86_REG_R12, X86_REG_R12D, X86_REG_R12W, X86_REG_R12B},
                                          {X86_REG_R13, X86_REG_R13D, X86_REG_R13W, X86_REG_R13B},
                                          {X86_REG_R14, X86_REG_R14D, X86_REG_R14W, X86_REG_R14B},
                                          {X86_REG_R15, X86_REG_R15D, X86_REG_R15W, X86_REG_R15B}};
    static uint8_t numbers[X86_REG_ENDING];
    static bool filled;

    if (!filled) {
        memset(numbers, REG_NONE, sizeof(numbers));
        for (uint8_t i = 0; i < 16; i++)
            for (int k = 0; k < 4; k++)
                numbers[table[i][k]] = i;
        numbers[X86_REG_AH] = REG_AX;
        numbers[X86_REG_CH] = REG_CX;
        numbers[X86_REG_DH] = REG_DX;
        numbers[X86_REG_BH] = REG_BX;
        filled = true;
    }
    *high = reg == X86_REG_AH || reg == X86_REG_CH || reg == X86_REG_DH || reg == X86_REG_BH;
    return reg < X86_REG_ENDING ? numbers[reg] : REG_NONE;
}

static uint8_t operation(unsigned id) {
    switch (id) {
    case X86_INS_MOV:
    case X86_INS_MOVABS: return OP_MOVE;
    case X86_INS_MOVZX: return OP_MOVE_ZERO;
    case X86_INS_MOVSX:
    case X86_INS_MOVSXD: return OP_MOVE_SIGN;
    case X86_INS_LEA: return OP_ADDRESS;
    case X86_INS_XCHG: return OP_EXCHANGE;
    case X86_INS_ADD: return OP_ADD;
    case X86_INS_SUB: return OP_SUBTRACT;
    case X86_INS_SBB: return OP_SUBTRACT_BORROW;
    case X86_INS_AND: return OP_AND;
    case X86_INS_OR: return OP_OR;
    case X86_INS_XOR: return OP_XOR;
    case X86_INS_SHL: return OP_SHIFT_LEFT;
    case X86_INS_SHR: return OP_SHIFT_RIGHT;
    case X86_INS_NEG: return OP_NEGATE;
    case X86_INS_INC: return OP_INCREMENT;
    case X86_INS_DEC: return OP_DECREMENT;
    case X86_INS_PUSH: return OP_PUSH;
    case X86_INS_POP: return OP_POP;
    case X86_INS_LEAVE: return OP_LEAVE;
    case X86_INS_CALL: return OP_CALL;
    case X86_INS_JMP: return OP_JUMP;
    case X86_INS_RET:
    case X86_INS_RETF:
    case X86_INS_RETFQ:
    case X86_INS_IRET:
    case X86_INS_IRETQ: return OP_RETURN;
    case X86_INS_INT3:
    case X86_INS_HLT:
    case X86_INS_UD0:
    case X86_INS_UD2:
    case X86_INS_UD2B: return OP_STOP;
    case X86_INS_SYSCALL: return OP_SYSCALL;
    case X86_INS_SYSENTER: return OP_SYSENTER;
    case X86_INS_NOP:
    case X86_INS_CMP:
    case X86_INS_TEST:
    case X86_INS_BT: return OP_NOTHING;
    case X86_INS_CMOVA:
    case X86_INS_CMOVAE:
    case X86_INS_CMOVB:
    case X86_INS_CMOVBE:
    case X86_INS_CMOVE:
    case X86_INS_CMOVG:
    case X86_INS_CMOVGE:
    case X86_INS_CMOVL:
    case X86_INS_CMOVLE:
    case X86_INS_CMOVNE:
    case X86_INS_CMOVNO:
    case X86_INS_CMOVNP:
    case X86_INS_CMOVNS:
    case X86_INS_CMOVO:
    case X86_INS_CMOVP:
    case X86_INS_CMOVS: return OP_CONDITIONAL_MOVE;
    case X86_INS_SETA:
    case X86_INS_SETAE:
    case X86_INS_SETB:
    case X86_INS_SETBE:
    case X86_INS_SETE:
    case X86_INS_SETG:
    case X86_INS_SETGE:
    case X86_INS_SETL:
    case X86_INS_SETLE:
    case X86_INS_SETNE:
    case X86_INS_SETNO:
    case X86_INS_SETNP:
    case X86_INS_SETNS:
    case X86_INS_SETO:
    case X86_INS_SETP:
    case X86_INS_SETS: return OP_SET;
    case X86_INS_JA:
    case X86_INS_JAE:
    case X86_INS_JB:
    case X86_INS_JBE:
    case X86_INS_JCXZ:
    case X86_INS_JE:
    case X86_INS_JECXZ:
    case X86_INS_JG:
    case X86_INS_JGE:
    case X86_INS_JL:
    case X86_INS_JLE:
    case X86_INS_JNE:
    case X86_INS_JNO:
    case X86_INS_JNP:
    case X86_INS_JNS:
    case X86_INS_JO:
    case X86_INS_JP:
    case X86_INS_JRCXZ:
    case X86_INS_JS:
    case X86_INS_LOOP:
    case X86_INS_LOOPE:
    case X86_INS_LOOPNE:
    case X86_INS_XBEGIN: return OP_BRANCH;
    default: return OP_OTHER;
    }
}

/* False: an operand that is not followed (a segment or vector register, half a register). */
static bool take_operand(const cs_x86_op *op, const struct insn *insn, struct operand *out) {
    bool high = false, unused;

    out->size = op->size;
    switch (op->type) {
    case X86_OP_REG:
        out->base = register_number(op->reg, &high);
        if (out->base == REG_NONE || high)
            return false;
        out->kind = OPERAND_REGISTER;
        return true;
    case X86_OP_IMM:
        out->kind = OPERAND_IMMEDIATE;
        out->value = op->imm;
        return true;
    case X86_OP_MEM:
        out->kind = OPERAND_MEMORY;
        out->scale = (uint8_t)op->mem.scale;
        out->value = op->mem.disp;
        out->relative = op->mem.base == X86_REG_RIP;
        out->base = op->mem.base ? register_number(op->mem.base, &unused) : REG_NONE;
        out->index = op->mem.index ? register_number(op->mem.index, &unused) : REG_NONE;
        if (out->relative)
            out->value += (int64_t)(insn->address + insn->size);
        else if ((op->mem.segment == X86_REG_FS || op->mem.segment == X86_REG_GS) ||
                 (op->mem.index && out->index == REG_NONE))
            out->kind = OPERAND_NONE; /* thread-local or scattered: nobody knows where */
        return true;
    default: return false;
    }
}

static uint16_t written_registers(void) {
    cs_regs read, written;
    uint8_t read_count, written_count;
    uint16_t mask = 0;
    bool high;

    if (lib.cs_regs_access(handle, decoded, read, &read_count, written, &written_count) != CS_ERR_OK)
        return 0xffff & ~(1u << REG_SP);
    for (unsigned i = 0; i < written_count; i++) {
        uint8_t number = register_number(written[i], &high);
        if (number != REG_NONE)
            mask |= (uint16_t)(1u << number);
    }
    return mask;
}

/* What this capstone does not know though compilers write it: ENDBR64, RDSSP and the like, which do nothing or little. */
static bool newer(const uint8_t *code, size_t length, struct insn *insn) {
    size_t at = 1;

    if (length < 4 || code[0] != 0xf3)
        return false;
    at += (code[at] & 0xf0) == 0x40;
    if (length < at + 3 || code[at] != 0x0f || code[at + 1] != 0x1e || code[at + 2] < 0xc0)
        return false;
    insn->size = (uint8_t)(at + 3);
    insn->op = code[at + 2] >= 0xf8 ? OP_NOTHING : OP_OTHER;
    if (insn->op == OP_OTHER)
        insn->written = (uint16_t)(1u << ((code[at + 2] & 7) + (at == 2 && (code[1] & 1) ? 8 : 0)));
    return true;
}

bool disassemble(const uint8_t *code, size_t length, uint64_t address, struct insn *insn) {
    const uint8_t *at = code;
    uint64_t next = address;

    if (!load())
        die(STATUS_FAILED, "reading programs' code needs %s (Debian: apt-get install libcapstone4)", LIBRARY);
    *insn = (struct insn){.address = address, .size = 1, .op = OP_STOP};
    length = length < INSN_MOST ? length : INSN_MOST;
    if (newer(code, length, insn))
        return true;
    if (!lib.cs_disasm_iter(handle, &at, &length, &next, decoded))
        return false;
    const cs_x86 *x86 = &decoded->detail->x86;
    insn->size = (uint8_t)decoded->size;
    insn->op = operation(decoded->id);
    if (decoded->id == X86_INS_INT && x86->op_count == 1 && x86->operands[0].imm == 0x80)
        insn->op = OP_INT80;
    bool followed = x86->op_count <= 2;
    if (x86->op_count >= 1)
        followed &= take_operand(&x86->operands[0], insn, &insn->to);
    if (x86->op_count == 2)
        followed &= take_operand(&x86->operands[1], insn, &insn->from);
    else if (x86->op_count > 2) /* an immediate may still be an address, memory a pointer to a function */
        for (unsigned i = 1; i < x86->op_count; i++)
            if (x86->operands[i].type != X86_OP_REG)
                take_operand(&x86->operands[i], insn, &insn->from);
    if (!followed && insn->op < OP_CALL && insn->op != OP_NOTHING)
        insn->op = OP_OTHER;
    if (insn->op == OP_OTHER)
        insn->written = written_registers();
    return true;
}
