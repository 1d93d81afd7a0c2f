/*
 * x86-64 code as the check reads it: each instruction reduced to what matters for the values in registers and for where control goes.
 * The decoding is done by capstone, which is loaded when the first code is looked at and not before.
 */
#pragma once

#include "tools/common.h"

enum {
    REG_AX,
    REG_CX,
    REG_DX,
    REG_BX,
    REG_SP,
    REG_BP,
    REG_SI,
    REG_DI,
    REG_R8,
    REG_R15 = 15,
    REG_COUNT,
    REG_NONE = 0xff
};

enum operation {
    OP_OTHER, /* writes the registers in `written`, and its destination when that is memory */
    OP_NOTHING,
    OP_MOVE,
    OP_MOVE_ZERO,
    OP_MOVE_SIGN,
    OP_ADDRESS,
    OP_EXCHANGE,
    OP_CONDITIONAL_MOVE,
    OP_SET,
    OP_ADD,
    OP_SUBTRACT,
    OP_SUBTRACT_BORROW,
    OP_AND,
    OP_OR,
    OP_XOR,
    OP_SHIFT_LEFT,
    OP_SHIFT_RIGHT,
    OP_NEGATE,
    OP_INCREMENT,
    OP_DECREMENT,
    OP_PUSH,
    OP_POP,
    OP_LEAVE,
    OP_CALL,
    OP_JUMP,
    OP_BRANCH,
    OP_RETURN,
    OP_STOP,
    OP_SYSCALL,
    OP_INT80,
    OP_SYSENTER,
};

enum operand_kind { OPERAND_NONE, OPERAND_REGISTER, OPERAND_IMMEDIATE, OPERAND_MEMORY };

struct operand {
    uint8_t kind, size;         /* in bytes */
    uint8_t base, index, scale; /* base: the register, too; of memory REG_NONE: none */
    bool relative;              /* memory at RIP + ...: `value` is the address */
    int64_t value;              /* immediate, displacement, or address */
};

struct insn {
    uint64_t address;
    uint8_t size, op;
    bool ends;        /* a call that does not come back: set by who knows */
    uint16_t written; /* only of OP_OTHER */
    struct operand to, from;
};

/* The longest instruction, in bytes. */
enum { INSN_MOST = 15 };

/*
 * Decodes the instruction at `address`, of which `length` bytes are there. False when they are none: `insn` is one byte of OP_STOP then.
 * Ends the program when capstone is not installed.
 */
bool disassemble(const uint8_t *code, size_t length, uint64_t address, struct insn *insn);

/* Whether capstone can be loaded. */
bool disassembler_is_there(void);
