/*
 * What the dynamic linker reads of an ELF file: the dynamic section, its symbols, relocations and the functions that it calls. Through
 * addresses, as it does, because a file needs no sections to run.
 */
#include "tools/check/object.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { SYMBOLS_MOST = 4 << 20 };

static int by_place(const void *a, const void *b) {
    const struct relocation *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

void object_sort_relocations(struct object *object) {
    if (object->relocation_count)
        qsort(object->relocations, object->relocation_count, sizeof(*object->relocations), by_place);
}

struct dynamic {
    uint64_t strings, string_size, symbols, hash, gnu_hash, rela, rela_size, jmprel, jmprel_size, relr, relr_size;
    uint64_t init, fini, arrays[3], array_sizes[3];
};

static uint64_t word(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static uint32_t half(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static void note_dynamic(struct object *object, struct dynamic *d, uint64_t tag, uint64_t value) {
    switch (tag) {
    case DT_STRTAB: d->strings = value; break;
    case DT_STRSZ: d->string_size = value; break;
    case DT_SYMTAB: d->symbols = value; break;
    case DT_HASH: d->hash = value; break;
    case DT_GNU_HASH: d->gnu_hash = value; break;
    case DT_RELA: d->rela = value; break;
    case DT_RELASZ: d->rela_size = value; break;
    case DT_JMPREL: d->jmprel = value; break;
    case DT_PLTRELSZ: d->jmprel_size = value; break;
    case 36 /* DT_RELR */: d->relr = value; break;
    case 35 /* DT_RELRSZ */: d->relr_size = value; break;
    case DT_INIT: d->init = value; break;
    case DT_FINI: d->fini = value; break;
    case DT_INIT_ARRAY: d->arrays[0] = value; break;
    case DT_FINI_ARRAY: d->arrays[1] = value; break;
    case DT_PREINIT_ARRAY: d->arrays[2] = value; break;
    case DT_INIT_ARRAYSZ: d->array_sizes[0] = value; break;
    case DT_FINI_ARRAYSZ: d->array_sizes[1] = value; break;
    case DT_PREINIT_ARRAYSZ: d->array_sizes[2] = value; break;
    case DT_NEEDED: object->has_needed = true; break;
    default: break;
    }
}

/* How many dynamic symbols there are: no field says so, the hash tables know. */
static size_t count_symbols(const struct object *object, const struct dynamic *d) {
    size_t length, most = 0;
    const uint8_t *table = d->hash ? object_at(object, d->hash, &length) : NULL;

    if (table && length >= 8)
        return half(table + 4);
    table = d->gnu_hash ? object_at(object, d->gnu_hash, &length) : NULL;
    if (!table || length < 16)
        return 0;
    uint64_t buckets = half(table), first = half(table + 4), bloom = half(table + 8);
    uint64_t at = 16 + bloom * 8, chains = at + buckets * 4;
    if (chains > length)
        return 0;
    for (uint64_t i = 0; i < buckets; i++)
        most = half(table + at + i * 4) > most ? half(table + at + i * 4) : most;
    if (most < first)
        return first;
    while (chains + (most - first) * 4 + 4 <= length && !(half(table + chains + (most - first) * 4) & 1))
        most++;
    return most + 1;
}

static void read_symbols(struct object *object, const struct dynamic *d) {
    size_t length, text_length, count = count_symbols(object, d);
    const uint8_t *table = object_at(object, d->symbols, &length);
    const uint8_t *text = object_at(object, d->strings, &text_length);

    if (!table || !text)
        return;
    text_length = d->string_size < text_length ? d->string_size : text_length;
    count = count < length / sizeof(Elf64_Sym) ? count : length / sizeof(Elf64_Sym);
    count = count < SYMBOLS_MOST ? count : SYMBOLS_MOST;
    if (count == 0 || text_length == 0 || text[text_length - 1] != '\0')
        return;
    object->symbols = xmalloc(count * sizeof(*object->symbols));
    object->chain = xmalloc(count * sizeof(*object->chain));
    object->bucket_count = count;
    object->buckets = xmalloc(count * sizeof(*object->buckets));
    memset(object->buckets, 0, count * sizeof(*object->buckets));
    for (size_t i = 0; i < count; i++) {
        Elf64_Sym raw;
        memcpy(&raw, table + i * sizeof(raw), sizeof(raw));
        struct symbol *symbol = &object->symbols[object->symbol_count++];
        unsigned type = ELF64_ST_TYPE(raw.st_info);
        *symbol = (struct symbol){.name = raw.st_name < text_length ? (const char *)text + raw.st_name : "",
                                  .value = raw.st_value,
                                  .size = raw.st_size,
                                  .defined = raw.st_shndx != SHN_UNDEF && type != STT_TLS,
                                  .indirect = type == STT_GNU_IFUNC};
        object->chain[i] = 0;
        if (!symbol->defined || *symbol->name == '\0')
            continue;
        uint32_t *bucket = &object->buckets[object_hash(symbol->name) % object->bucket_count];
        object->chain[i] = *bucket;
        *bucket = (uint32_t)i + 1;
        if (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE)
            object_add_extent(object, raw.st_value, type == STT_NOTYPE ? 0 : raw.st_value + raw.st_size, symbol->name);
    }
}

static void add_relocation(struct object *object, uint64_t at, uint64_t value, enum relocation_kind kind) {
    size_t count = object->relocation_count;

    if ((count & (count + 1)) == 0)
        object->relocations = xrealloc(object->relocations, (2 * count + 1) * sizeof(*object->relocations));
    object->relocations[object->relocation_count++] = (struct relocation){at, value, kind};
}

void object_read_relocations(struct object *object, uint64_t address, uint64_t size) {
    size_t length = 0;
    const uint8_t *table = size ? object_at(object, address, &length) : NULL;

    length = size < length ? size : length;
    for (size_t i = 0; table && i + sizeof(Elf64_Rela) <= length; i += sizeof(Elf64_Rela)) {
        Elf64_Rela raw;
        memcpy(&raw, table + i, sizeof(raw));
        uint64_t symbol = ELF64_R_SYM(raw.r_info);
        switch (ELF64_R_TYPE(raw.r_info)) {
        case R_X86_64_RELATIVE: add_relocation(object, raw.r_offset, (uint64_t)raw.r_addend, RELOCATION_LOCAL); break;
        case R_X86_64_IRELATIVE:
            add_relocation(object, raw.r_offset, (uint64_t)raw.r_addend, RELOCATION_INDIRECT);
            break;
        case R_X86_64_64:
            if (symbol < object->symbol_count)
                add_relocation(object, raw.r_offset, symbol, RELOCATION_DATA);
            break;
        case R_X86_64_GLOB_DAT:
        case R_X86_64_JUMP_SLOT:
            if (symbol < object->symbol_count)
                add_relocation(object, raw.r_offset, symbol, RELOCATION_SYMBOL);
            break;
        default: break;
        }
    }
}

static void add_packed(struct object *object, uint64_t at) {
    size_t length;
    const uint8_t *place = object_at(object, at, &length);

    if (place && length >= 8)
        add_relocation(object, at, word(place), RELOCATION_LOCAL);
}

/* DT_RELR: relative relocations as addresses and bitmaps. */
static void read_packed(struct object *object, uint64_t address, uint64_t size) {
    size_t length = 0;
    const uint8_t *table = size ? object_at(object, address, &length) : NULL;
    uint64_t at = 0;

    length = size < length ? size : length;
    for (size_t i = 0; table && i + 8 <= length; i += 8) {
        uint64_t entry = word(table + i);
        if (!(entry & 1)) {
            add_packed(object, entry);
            at = entry + 8;
            continue;
        }
        for (unsigned bit = 1; bit < 64; bit++)
            if (entry >> bit & 1)
                add_packed(object, at + (bit - 1) * 8);
        at += 63 * 8;
    }
}

void object_read_array(struct object *object, uint64_t address, uint64_t size) {
    size_t length = 0;
    const uint8_t *table = size ? object_at(object, address, &length) : NULL;

    length = size < length ? size : length;
    for (size_t i = 0; table && i + 8 <= length; i += 8) {
        const struct relocation *relocation = object_relocation(object, address + i);
        uint64_t value = word(table + i);
        if (relocation && relocation->kind == RELOCATION_LOCAL)
            value = relocation->value;
        else if (relocation && relocation->kind != RELOCATION_INDIRECT)
            value = object->symbols[relocation->value].value;
        object_add_root(object, value);
    }
}

void object_read_dynamic(struct object *object, uint64_t address, uint64_t size) {
    struct dynamic d = {0};
    size_t length;
    const uint8_t *table = object_at(object, address, &length);

    if (!table)
        return;
    for (size_t i = 0; i + 16 <= length && i + 16 <= size && word(table + i) != DT_NULL; i += 16)
        note_dynamic(object, &d, word(table + i), word(table + i + 8));
    read_symbols(object, &d);
    object_read_relocations(object, d.rela, d.rela_size);
    object_read_relocations(object, d.jmprel, d.jmprel_size);
    read_packed(object, d.relr, d.relr_size);
    object_sort_relocations(object);
    object_add_root(object, d.init);
    object_add_root(object, d.fini);
    for (int i = 0; i < 3; i++)
        object_read_array(object, d.arrays[i], d.array_sizes[i]);
}
