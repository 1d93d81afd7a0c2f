/*
 * Reading ELF files for a check; see the header. Headers and sections through libelf; what the dynamic linker reads (the dynamic
 * section, its symbols and relocations) as it does, through addresses, because a file needs no sections to run.
 */
#include "tools/check/object.h"

#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>

enum { SYMBOLS_MOST = 4 << 20, SEGMENTS_MOST = 512, EXTENTS_MOST = 16 << 20, SECTIONS_MOST = 1024 };

/* --- Looking up --- */

const struct segment *object_segment(const struct object *object, uint64_t address) {
    for (size_t i = 0; i < object->segment_count; i++)
        if (address - object->segments[i].address < object->segments[i].size)
            return &object->segments[i];
    return NULL;
}

bool object_is_code(const struct object *object, uint64_t address) {
    const struct segment *segment = object_segment(object, address);
    return segment && segment->executable;
}

const uint8_t *object_at(const struct object *object, uint64_t address, size_t *length) {
    const struct segment *segment = object_segment(object, address);

    if (!segment)
        return NULL;
    *length = segment->size - (address - segment->address);
    return object->bytes + segment->offset + (address - segment->address);
}

const char *object_string(const struct object *object, uint64_t address, size_t most) {
    size_t length;
    const uint8_t *text = object_at(object, address, &length);

    return text && memchr(text, 0, length < most ? length : most) ? (const char *)text : NULL;
}

const struct relocation *object_relocation(const struct object *object, uint64_t at) {
    size_t low = 0, high = object->relocation_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (object->relocations[middle].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < object->relocation_count && object->relocations[low].at == at ? &object->relocations[low] : NULL;
}

static size_t hash(const char *name) {
    size_t h = 5381;

    while (*name)
        h = h * 33 + (unsigned char)*name++;
    return h;
}

const struct symbol *object_symbol(const struct object *object, const char *name, const struct symbol *after) {
    if (!object->bucket_count)
        return NULL;
    uint32_t next = after ? object->chain[after - object->symbols] : object->buckets[hash(name) % object->bucket_count];
    while (next && strcmp(object->symbols[next - 1].name, name) != 0)
        next = object->chain[next - 1];
    return next ? &object->symbols[next - 1] : NULL;
}

const struct extent *object_extent(const struct object *object, uint64_t address) {
    size_t low = 0, high = object->extent_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (object->extents[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &object->extents[low - 1] : NULL;
}

/* --- Gathering --- */

void object_add_extent(struct object *object, uint64_t start, uint64_t end, const char *name) {
    size_t count = object->extent_count;
    const struct segment *segment = object_segment(object, start);

    if (!segment || !segment->executable || count >= EXTENTS_MOST)
        return;
    if (end <= start || end - start > segment->size - (start - segment->address))
        end = 0;
    if ((count & (count + 1)) == 0)
        object->extents = xrealloc(object->extents, (2 * count + 1) * sizeof(*object->extents));
    object->extents[object->extent_count++] = (struct extent){start, end, name};
}

void object_add_root(struct object *object, uint64_t address) {
    if (!object_is_code(object, address))
        return;
    if ((object->root_count & (object->root_count + 1)) == 0)
        object->roots = xrealloc(object->roots, (2 * object->root_count + 1) * sizeof(*object->roots));
    object->roots[object->root_count++] = address;
}

static int by_start(const void *a, const void *b) {
    const struct extent *x = a, *y = b;

    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (y->name != NULL) - (x->name != NULL);
}

/* Sorts; of several with one start remain the longest end and a name. */
void object_sort_extents(struct object *object) {
    size_t kept = 0;

    if (object->extent_count)
        qsort(object->extents, object->extent_count, sizeof(*object->extents), by_start);
    for (size_t i = 0; i < object->extent_count; i++) {
        struct extent *last = kept ? &object->extents[kept - 1] : NULL;
        if (last && last->start == object->extents[i].start) {
            if (object->extents[i].end > last->end)
                last->end = object->extents[i].end;
        } else {
            object->extents[kept++] = object->extents[i];
        }
    }
    object->extent_count = kept;
}

static int by_place(const void *a, const void *b) {
    const struct relocation *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* --- What the dynamic linker reads --- */

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
        uint32_t *bucket = &object->buckets[hash(symbol->name) % object->bucket_count];
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

static void read_relocations(struct object *object, uint64_t address, uint64_t size) {
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

static void read_array(struct object *object, uint64_t address, uint64_t size) {
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

static void read_dynamic(struct object *object, const GElf_Phdr *segment) {
    struct dynamic d = {0};
    size_t length;
    const uint8_t *table = object_at(object, segment->p_vaddr, &length);

    if (!table)
        return;
    for (size_t i = 0; i + 16 <= length && i + 16 <= segment->p_filesz && word(table + i) != DT_NULL; i += 16)
        note_dynamic(object, &d, word(table + i), word(table + i + 8));
    read_symbols(object, &d);
    read_relocations(object, d.rela, d.rela_size);
    read_relocations(object, d.jmprel, d.jmprel_size);
    read_packed(object, d.relr, d.relr_size);
    if (object->relocation_count)
        qsort(object->relocations, object->relocation_count, sizeof(*object->relocations), by_place);
    object_add_root(object, d.init);
    object_add_root(object, d.fini);
    for (int i = 0; i < 3; i++)
        read_array(object, d.arrays[i], d.array_sizes[i]);
}

/* --- Sections: names for people, and what programs without a dynamic section have --- */

static void read_names(struct object *object, Elf *elf, const GElf_Shdr *table) {
    GElf_Shdr strings;
    Elf_Scn *section = elf_getscn(elf, table->sh_link);

    if (object->has_names || !section || !gelf_getshdr(section, &strings) || table->sh_offset > object->size ||
        table->sh_size > object->size - table->sh_offset || strings.sh_offset > object->size ||
        strings.sh_size > object->size - strings.sh_offset || strings.sh_size == 0)
        return;
    const char *text = (const char *)object->bytes + strings.sh_offset;
    if (text[strings.sh_size - 1] != '\0')
        return;
    uint64_t count = table->sh_size / sizeof(Elf64_Sym);
    for (uint64_t i = 0; i < count && i < SYMBOLS_MOST; i++) {
        Elf64_Sym raw;
        memcpy(&raw, object->bytes + table->sh_offset + i * sizeof(raw), sizeof(raw));
        unsigned type = ELF64_ST_TYPE(raw.st_info);
        if ((type == STT_FUNC || type == STT_GNU_IFUNC) && raw.st_shndx != SHN_UNDEF && raw.st_name < strings.sh_size)
            object_add_extent(object, raw.st_value, raw.st_value + raw.st_size, text + raw.st_name);
    }
    object->has_names = count > 1;
}

static void read_section(struct object *object, Elf *elf, const char *name, const GElf_Shdr *section) {
    bool in_file = section->sh_type != SHT_NOBITS && section->sh_offset <= object->size &&
                   section->sh_size <= object->size - section->sh_offset;

    if (!in_file)
        return;
    if (section->sh_type == SHT_SYMTAB)
        read_names(object, elf, section);
    else if (strcmp(name, ".eh_frame") == 0)
        object_read_frames(object, section->sh_addr, section->sh_size);
    else if (strcmp(name, ".gopclntab") == 0 || strcmp(name, ".data.rel.ro.gopclntab") == 0)
        object_read_go(object, object->bytes + section->sh_offset, section->sh_size);
    else if (section->sh_type == SHT_INIT_ARRAY || section->sh_type == SHT_FINI_ARRAY ||
             section->sh_type == SHT_PREINIT_ARRAY)
        read_array(object, section->sh_addr, section->sh_size);
    else if (section->sh_type == SHT_RELA && object->relocation_count == 0) /* static programs have IRELATIVE */
        read_relocations(object, section->sh_addr, section->sh_size);
    else if (strcmp(name, ".init") == 0 || strcmp(name, ".fini") == 0)
        object_add_root(object, section->sh_addr);
}

static void read_sections(struct object *object, Elf *elf) {
    size_t names;
    unsigned count = 0;

    if (elf_getshdrstrndx(elf, &names) != 0)
        return;
    for (Elf_Scn *section = elf_nextscn(elf, NULL); section && count++ < SECTIONS_MOST;
         section = elf_nextscn(elf, section)) {
        GElf_Shdr header;
        if (!gelf_getshdr(section, &header))
            continue;
        const char *name = elf_strptr(elf, names, header.sh_name);
        read_section(object, elf, name ? name : "", &header);
    }
}

/* A file without sections may still say where its frames are described. */
static void find_frames(struct object *object, const GElf_Phdr *segment) {
    size_t length;
    const uint8_t *header = object_at(object, segment->p_vaddr, &length);

    if (!header || length < 8 || header[0] != 1 || header[1] != 0x1b) /* version 1, PC-relative 32 bits */
        return;
    uint64_t address = segment->p_vaddr + 4 + (uint64_t)(int64_t)(int32_t)half(header + 4);
    const struct segment *in = object_segment(object, address);
    if (in)
        object_read_frames(object, address, in->size - (address - in->address));
}

static const char *read_segments(struct object *object, Elf *elf) {
    size_t count;

    if (elf_getphdrnum(elf, &count) != 0 || count == 0 || count > SEGMENTS_MOST)
        return "an ELF file without program headers";
    object->segments = xmalloc(count * sizeof(*object->segments));
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr header;
        if (!gelf_getphdr(elf, (int)i, &header))
            return "a truncated ELF file: its program headers lie behind its end";
        bool in_file = header.p_offset <= object->size && header.p_filesz <= object->size - header.p_offset;
        if (header.p_type == PT_LOAD) {
            if (!in_file)
                return "a truncated ELF file: a segment lies behind its end";
            if (header.p_vaddr + header.p_filesz < header.p_vaddr)
                return "a damaged ELF file: a segment's address";
            object->segments[object->segment_count++] = (struct segment){
                header.p_vaddr, header.p_filesz, header.p_offset, header.p_flags & PF_X, header.p_flags & PF_W};
        } else if (header.p_type == PT_INTERP && in_file && header.p_filesz && !object->interpreter) {
            object->interpreter = strndup((char *)object->bytes + header.p_offset, header.p_filesz);
        }
    }
    if (object->segment_count == 0)
        return "an ELF file with nothing to load";
    return NULL;
}

const char *object_read(struct object *object, const char *name, uint8_t *bytes, size_t size) {
    GElf_Ehdr header;
    size_t count = 0;

    *object = (struct object){.name = xstrdup(name), .bytes = bytes, .size = size};
    elf_version(EV_CURRENT);
    Elf *elf = size >= sizeof(Elf64_Ehdr) ? elf_memory((char *)bytes, size) : NULL;
    if (!elf || !gelf_getehdr(elf, &header) || header.e_machine != EM_X86_64 ||
        header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
        elf_end(elf);
        return "not a sound ELF file for x86-64";
    }
    object->entry = header.e_entry;
    object->position_independent = header.e_type == ET_DYN;
    const char *problem = read_segments(object, elf);
    if (!problem) {
        elf_getphdrnum(elf, &count);
        for (size_t i = 0; i < count; i++) {
            GElf_Phdr segment;
            if (gelf_getphdr(elf, (int)i, &segment) && segment.p_type == PT_DYNAMIC)
                read_dynamic(object, &segment);
        }
        size_t described = object->extent_count;
        read_sections(object, elf);
        for (size_t i = 0; i < count && object->extent_count == described; i++) {
            GElf_Phdr segment;
            if (gelf_getphdr(elf, (int)i, &segment) && segment.p_type == PT_GNU_EH_FRAME)
                find_frames(object, &segment);
        }
        if (object->relocation_count)
            qsort(object->relocations, object->relocation_count, sizeof(*object->relocations), by_place);
        object_sort_extents(object);
        object_find_starts(object);
    }
    elf_end(elf);
    return problem;
}

void object_free(struct object *object) {
    free(object->name);
    free(object->bytes);
    free(object->interpreter);
    free(object->segments);
    free(object->symbols);
    free(object->buckets);
    free(object->chain);
    free(object->relocations);
    free(object->extents);
    free(object->roots);
    *object = (struct object){0};
}
