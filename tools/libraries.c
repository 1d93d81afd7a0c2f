/*
 * Shared libraries; see the header. The search follows ld.so(8) and, for programs of musl, its dynlink.c: breadth first,
 * each library once. A place has two names, on the host and in the guest: they differ only below $ORIGIN, because the
 * program itself changes its place.
 */
#include "tools/libraries.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/ldcache.h"

#define CACHE "/etc/ld.so.cache"
#define MUSL_PATH "/etc/ld-musl-x86_64.path"
#define SYSTEM_DIRECTORIES                                                                                             \
    "/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:/lib64:/usr/lib64:/lib:/usr/lib" /* of Debian's and others' glibc */
#define MUSL_DIRECTORIES "/lib:/usr/local/lib:/usr/lib"

struct library {
    struct library *next, *loader; /* in the order they were found; who needed it first (NULL: the program itself) */
    char *name;                    /* as it was asked for */
    char *host, *guest;            /* its paths */
    struct strings needed;
    char *rpath, *runpath; /* NULL: none */
    dev_t dev;
    ino_t ino;
};

struct search {
    const struct library_search *user;
    struct library *first, *last;
    const char *interpreter;
    bool musl;
    char *cache; /* NULL: none */
    size_t cache_size;
    char *musl_path;
};

/* --- What a file says of itself --- */

static bool read_dynamic(Elf *elf, const GElf_Phdr *dynamic, struct library *library) {
    Elf_Data *data = elf_getdata_rawchunk(elf, (int64_t)dynamic->p_offset, dynamic->p_filesz, ELF_T_DYN);
    size_t count = data ? data->d_size / sizeof(Elf64_Dyn) : 0, headers = 0;
    uint64_t address = 0, length = 0, offset = 0;
    GElf_Dyn entry;

    for (size_t i = 0; i < count && gelf_getdyn(data, (int)i, &entry) && entry.d_tag != DT_NULL; i++) {
        if (entry.d_tag == DT_STRTAB)
            address = entry.d_un.d_ptr;
        else if (entry.d_tag == DT_STRSZ)
            length = entry.d_un.d_val;
    }
    elf_getphdrnum(elf, &headers);
    for (size_t i = 0; i < headers; i++) {
        GElf_Phdr segment;
        if (gelf_getphdr(elf, (int)i, &segment) && segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
            address - segment.p_vaddr < segment.p_filesz)
            offset = segment.p_offset + (address - segment.p_vaddr);
    }
    Elf_Data *text = length ? elf_getdata_rawchunk(elf, (int64_t)offset, length, ELF_T_BYTE) : NULL;
    if (!text || ((char *)text->d_buf)[length - 1] != '\0')
        return count == 0;
    for (size_t i = 0; i < count && gelf_getdyn(data, (int)i, &entry) && entry.d_tag != DT_NULL; i++) {
        if (entry.d_tag != DT_NEEDED && entry.d_tag != DT_RPATH && entry.d_tag != DT_RUNPATH)
            continue;
        if (entry.d_un.d_val >= length)
            return false;
        const char *string = (char *)text->d_buf + entry.d_un.d_val;
        if (entry.d_tag == DT_NEEDED)
            strings_add(&library->needed, "%s", string);
        else
            *(entry.d_tag == DT_RPATH ? &library->rpath : &library->runpath) = xstrdup(string);
    }
    return true;
}

/* False: not an ELF file for x86-64 with sound tables. */
static bool read_library(int fd, struct library *library) {
    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
    GElf_Ehdr header;
    size_t headers = 0;
    bool sound = elf && gelf_getehdr(elf, &header) && header.e_machine == EM_X86_64 &&
                 header.e_ident[EI_CLASS] == ELFCLASS64 && elf_getphdrnum(elf, &headers) == 0;

    for (size_t i = 0; sound && i < headers; i++) {
        GElf_Phdr segment;
        sound = gelf_getphdr(elf, (int)i, &segment);
        if (sound && segment.p_type == PT_DYNAMIC)
            sound = read_dynamic(elf, &segment, library);
    }
    elf_end(elf);
    return sound;
}

/* --- Places --- */

/* An absolute path without "." and "..", as the names in an initrd are. */
static char *clean(const char *path) {
    char *out = xmalloc(strlen(path) + 2), *end = out;

    while (*path) {
        size_t length = strcspn(path, "/");
        if (length == 2 && memcmp(path, "..", 2) == 0) {
            while (end > out && *--end != '/')
                ;
        } else if (length > 0 && !(length == 1 && *path == '.')) {
            *end++ = '/';
            memcpy(end, path, length);
            end += length;
        }
        path += length;
        path += *path == '/';
    }
    *end = '\0';
    return out;
}

/* `text` with $ORIGIN, $LIB and $PLATFORM replaced. */
static char *expand(const char *text, size_t length, const char *of) {
    static const char *const variables[] = {"ORIGIN", "LIB", "PLATFORM"};
    const char *slash = strrchr(of, '/');
    char *origin = xasprintf("%.*s", slash ? (int)(slash - of) : 1, slash ? of : ".");
    const char *values[] = {origin, "lib/x86_64-linux-gnu", "x86_64"};
    char *out = xstrdup("");

    while (length > 0) {
        size_t taken = 0;
        const char *value = NULL;
        for (size_t i = 0; *text == '$' && !value && i < sizeof(values) / sizeof(values[0]); i++) {
            size_t size = strlen(variables[i]);
            bool braces = length > size + 2 && text[1] == '{' && text[2 + size] == '}';
            if (length > size + braces && strncmp(text + 1 + braces, variables[i], size) == 0) {
                value = values[i];
                taken = 1 + size + 2 * braces;
            }
        }
        if (!value)
            taken = *text == '$' ? 1 : strcspn(text, "$");
        taken = taken < length ? taken : length;
        char *longer = value ? xasprintf("%s%s", out, value) : xasprintf("%s%.*s", out, (int)taken, text);
        free(out);
        out = longer;
        text += taken;
        length -= taken;
    }
    free(origin);
    return out;
}

static int open_file(const struct search *s, const char *path) {
    return s->user->open ? s->user->open(s->user->context, path) : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

/* Opens a library; -1 when it is none. On success its paths and dynamic section are filled in. */
static int try_open(const struct search *s, struct library *library, char *host, char *guest) {
    struct stat status;
    int fd = open_file(s, host);

    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && read_library(fd, library)) {
        library->host = host;
        library->guest = clean(guest);
        library->dev = status.st_dev;
        library->ino = status.st_ino;
        free(guest);
        return fd;
    }
    if (fd >= 0)
        close(fd);
    free(host);
    free(guest);
    return -1;
}

/* Along a list of directories; `of`: whose $ORIGIN is meant. */
static int search_list(const struct search *s, struct library *library, const char *list, const char *separators,
                       const struct library *of) {
    while (list && *list) {
        size_t length = strcspn(list, separators);
        if (length > 0) {
            char *host = expand(list, length, of->host), *guest = expand(list, length, of->guest);
            int fd =
                try_open(s, library, xasprintf("%s/%s", host, library->name), xasprintf("%s/%s", guest, library->name));
            free(host);
            free(guest);
            if (fd >= 0)
                return fd;
        }
        list += length;
        list += *list != '\0';
    }
    return -1;
}

static char *read_file(const struct search *s, const char *path, size_t *size) {
    struct stat status;
    char *text = NULL;
    int fd = open_file(s, path);

    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        text = xmalloc((size_t)status.st_size + 1);
        ssize_t n = read(fd, text, (size_t)status.st_size);
        *size = n > 0 ? (size_t)n : 0;
        text[*size] = '\0';
    }
    if (fd >= 0)
        close(fd);
    return text;
}

static int search_glibc(struct search *s, struct library *library, const struct library *loader) {
    const struct library *of;
    int fd = -1;

    for (of = loader; of && !loader->runpath && fd < 0; of = of->loader)
        if (!of->runpath)
            fd = search_list(s, library, of->rpath, ":", of);
    if (fd < 0)
        fd = search_list(s, library, environment_get(s->user->environment, "LD_LIBRARY_PATH"), ":;", s->first);
    if (fd < 0)
        fd = search_list(s, library, loader->runpath, ":", loader);
    if (fd < 0 && s->cache) {
        const char *place = ldcache_find(s->cache, s->cache_size, library->name);
        if (place)
            fd = try_open(s, library, xstrdup(place), xstrdup(place));
    }
    return fd < 0 ? search_list(s, library, SYSTEM_DIRECTORIES, ":", loader) : fd;
}

static int search_musl(struct search *s, struct library *library, const struct library *loader) {
    int fd = search_list(s, library, environment_get(s->user->environment, "LD_LIBRARY_PATH"), ":\n", s->first);

    for (const struct library *of = loader; of && fd < 0; of = of->loader)
        fd = search_list(s, library, of->runpath ? of->runpath : of->rpath, ":", of);
    return fd < 0 ? search_list(s, library, s->musl_path ? s->musl_path : MUSL_DIRECTORIES, ":\n", loader) : fd;
}

/* --- The search --- */

static void enqueue(struct search *s, struct library *library) {
    *(s->last ? &s->last->next : &s->first) = library;
    s->last = library;
}

/* Is it a part of musl's libc, which is its dynamic linker? */
static bool is_musl_libc(const char *name) {
    return strcmp(name, "libc.so") == 0 || strncmp(name, "libc.musl-", 10) == 0;
}

static const char *last_component(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void need(struct search *s, const char *name, struct library *loader, bool must) {
    if (strcmp(name, last_component(s->interpreter)) == 0 || (s->musl && is_musl_libc(name)))
        return;
    for (struct library *known = s->first; known; known = known->next)
        if (strcmp(known->name, name) == 0)
            return;

    struct library *library = xmalloc(sizeof(*library));
    *library = (struct library){.name = xstrdup(name), .loader = loader};
    int fd;
    if (strchr(name, '/')) {
        char *host = expand(name, strlen(name), loader->host), *guest = expand(name, strlen(name), loader->guest);
        fd = try_open(s, library, host, *guest == '/' ? xstrdup(guest) : xasprintf("%s/%s", s->user->directory, guest));
        free(guest);
    } else {
        fd = s->musl ? search_musl(s, library, loader) : search_glibc(s, library, loader);
    }
    if (fd < 0) { /* LD_PRELOAD: the dynamic linker will say so */
        if (must)
            s->user->missing(s->user->context, name, loader == s->first ? NULL : loader->name);
        free(library->name);
        free(library);
        return;
    }
    const struct library *same = s->first;
    while (same && (same->dev != library->dev || same->ino != library->ino))
        same = same->next;
    s->user->found(s->user->context, library->host, library->guest, fd, same ? same->guest : NULL);
    close(fd);
    enqueue(s, library);
}

/* The libraries of LD_PRELOAD, which come before the others. */
static void need_preloaded(struct search *s) {
    const char *list = environment_get(s->user->environment, "LD_PRELOAD");

    while (list && *list) {
        size_t length = strcspn(list, " :");
        char *name = xasprintf("%.*s", (int)length, list);
        if (length > 0)
            need(s, name, s->first, false);
        free(name);
        list += length;
        list += *list != '\0';
    }
}

int libraries_find(const struct library_search *user, const char *program, int fd, const char *guest,
                   const char *interpreter, const char **problem) {
    struct search s = {.user = user, .interpreter = interpreter};
    struct library *self = xmalloc(sizeof(*self)), *loaded = xmalloc(sizeof(*loaded));
    char *real = user->open ? NULL : realpath(program, NULL);
    size_t size;

    *self = (struct library){.name = xstrdup(""), .host = real ? real : xstrdup(program), .guest = xstrdup(guest)};
    *loaded = (struct library){.name = xstrdup(last_component(interpreter)), .loader = self};
    s.musl = strncmp(last_component(interpreter), "ld-musl-", 8) == 0;
    if (!read_library(fd, self)) {
        *problem = "its dynamic section is damaged";
        return STATUS_NOT_EXECUTABLE;
    }
    enqueue(&s, self);

    int linker = open_file(&s, interpreter);
    if (linker < 0) {
        *problem = "it is dynamically linked, and its linker is not there";
        return STATUS_NOT_FOUND;
    }
    close(linker);
    linker = try_open(&s, loaded, xstrdup(interpreter), xstrdup(interpreter));
    if (linker < 0) {
        *problem = "its dynamic linker is no ELF file for x86-64";
        return STATUS_NOT_EXECUTABLE;
    }
    loaded->needed = (struct strings){0};
    user->found(user->context, loaded->host, loaded->guest, linker, NULL);
    close(linker);
    enqueue(&s, loaded);

    if (s.musl)
        s.musl_path = read_file(&s, MUSL_PATH, &size);
    else
        s.cache = read_file(&s, CACHE, &s.cache_size);
    need_preloaded(&s);
    for (struct library *each = s.first; each; each = each->next)
        for (size_t i = 0; i < each->needed.count; i++)
            need(&s, each->needed.item[i], each, true);
    if (s.musl_path || s.cache)
        user->found(user->context, s.musl_path ? MUSL_PATH : CACHE, s.musl_path ? MUSL_PATH : CACHE, -1, NULL);
    free(s.musl_path);
    free(s.cache);
    return 0;
}

/* --- Into the guest --- */

struct guest {
    struct initrd *initrd;
    const char *program;
};

static void add_file(void *context, const char *host, const char *path, int given, const char *same) {
    struct initrd *initrd = ((struct guest *)context)->initrd;
    struct node *first = same ? tree_find(&initrd->tree, same + 1) : NULL;
    struct stat status;

    if (tree_find(&initrd->tree, path + 1))
        return;
    if (first) {
        initrd_hardlink(initrd, path + 1, first);
        return;
    }
    int fd = given >= 0 ? given : open(host, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0)
        die(STATUS_FAILED, "%s: %s", host, strerror(errno));
    struct cpio_member member = {.path = path + 1,
                                 .mode = S_IFREG | (status.st_mode & 0777),
                                 .nlink = 1,
                                 .mtime = (uint32_t)status.st_mtime,
                                 .size = (uint64_t)status.st_size};
    initrd_copy(initrd, &member, fd, host);
    if (fd != given)
        close(fd);
}

static void missing(void *context, const char *name, const char *loader) {
    die(STATUS_NOT_FOUND, "%s: the library %s, which %s needs, is not found on the host (see --root)",
        ((struct guest *)context)->program, name, loader ? loader : "it");
}

void libraries_add(struct initrd *initrd, const struct run_options *options, const char *program, int fd,
                   const char *path, const char *interpreter) {
    struct guest guest = {initrd, program};
    struct library_search search = {.environment = &options->environment,
                                    .directory = options->directory,
                                    .context = &guest,
                                    .found = add_file,
                                    .missing = missing};
    const char *problem;

    if (access(interpreter, R_OK) != 0)
        die(STATUS_NOT_FOUND, "%s: it is dynamically linked, and its linker %s is neither in the guest nor on the host",
            program, interpreter);
    int status = libraries_find(&search, program, fd, path, interpreter, &problem);
    if (status != 0)
        die(status, "%s: %s (%s)", program, problem, interpreter);
}
