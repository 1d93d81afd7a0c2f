/*
 * Reading ELF files for a check; see the header. Headers and sections are read through libelf.
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

size_t object_hash(const char *name) {
    size_t h = 5381;

    while (*name)
        h = h * 33 + (unsigned char)*name++;
    return h;
}

const struct symbol *object_symbol(const struct object *object, const char *name, const struct symbol *after) {
    if (!object->bucket_count)
        return NULL;
    uint32_t next =
        after ? object->chain[after - object->symbols] : object->buckets[object_hash(name) % object->bucket_count];
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
        object_read_array(object, section->sh_addr, section->sh_size);
    else if (section->sh_type == SHT_RELA && object->relocation_count == 0) /* static programs have IRELATIVE */
        object_read_relocations(object, section->sh_addr, section->sh_size);
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

static uint32_t half(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
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
                object_read_dynamic(object, segment.p_vaddr, segment.p_filesz);
        }
        size_t described = object->extent_count;
        read_sections(object, elf);
        for (size_t i = 0; i < count && object->extent_count == described; i++) {
            GElf_Phdr segment;
            if (gelf_getphdr(elf, (int)i, &segment) && segment.p_type == PT_GNU_EH_FRAME)
                find_frames(object, &segment);
        }
        object_sort_relocations(object);
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
