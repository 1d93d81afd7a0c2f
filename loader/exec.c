// Programs: from a name and arguments to an address space that is ready to run, and its installation in the current process.
// Everything that can fail happens before the current program is touched.
#include "fs/vfs.h"
#include "kernel/memory/aspace.h"
#include "kernel/boot.h"
#include "kernel/log.h"
#include "kernel/process/process.h"
#include "kernel/random.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/fpu.h"
#include "loader/elf.h"
#include "loader/loader.h"
#include "loader/privileges.h"
#include "loader/script.h"
#include "loader/stack.h"
#include <linux/auxvec.h>
#include <linux/personality.h>

#define HEAD_SIZE 1024UL          // read of a file at once: its first line, or its ELF and program headers
#define STACK_START (128UL << 10) // mapped at the start beside what is on it; it grows on demand
#define STACK_GUARD (1UL << 20)
#define PIE_BASE 0x555555554000UL // two thirds of the address space, as Linux
#define CLOCK_TICKS 100
#define HWCAP2_FSGSBASE 2

// Random parts of addresses, in pages and bytes as Linux has them; all zero with aslr=off and ADDR_NO_RANDOMIZE.
struct layout {
    uint8_t auxv_random[16];
    uint64_t stack, mmap, pie, brk, jitter;
};

// A script's interpreters, innermost first: room for the lines and for the arguments that they put before the others.
struct script_chain {
    char lines[SCRIPT_MAX_DEPTH][SCRIPT_LINE_MAX];
    char *argv[];
};

struct load {
    struct exec_image *out;
    const char *exec_name; // AT_EXECFN
    char **argv, **envp;
    struct script_chain *chain;
    unsigned depth;
    bool
        hidden; // its name will be gone when the new program looks for it: a script cannot be opened by its interpreter
    size_t head_len;
    struct layout layout;
    struct stack_params stack;
    uint8_t head[HEAD_SIZE] ALIGNED(8);
};

// One ELF file on its way in.
struct program {
    struct file *file;
    struct elf_info info;
    Elf64_Phdr *ph, *allocated;
    uint64_t bias;
};

void exec_args_free(struct exec_args *a) {
    while (a->blocks) {
        struct exec_block *next = a->blocks->next;
        kfree(a->blocks);
        a->blocks = next;
    }
    kfree(a->argv);
    kfree(a->envp);
    a->argv = a->envp = NULL;
}

static int refuse(struct load *l, const char *reason) {
    l->out->reason = reason;
    log_info("%s: not executable: %s", l->exec_name, reason);
    return -ENOEXEC;
}

// --- Layout ---

static void choose_layout(struct layout *r, const struct exec_image *img) {
    const char *aslr = cmdline_get("aslr");
    random_bytes(r, sizeof(*r));
    bool fixed = (process_current()->personality & ADDR_NO_RANDOMIZE) && !img->raised;
    if (fixed || (aslr && !strcmp(aslr, "off"))) {
        r->stack = r->mmap = r->pie = r->brk = r->jitter = 0;
        return;
    }
    r->stack = (r->stack & 0x3fffff) << PAGE_SHIFT;
    r->mmap = (r->mmap & 0xfffffff) << PAGE_SHIFT;
    r->pie = (r->pie & 0xfffffff) << PAGE_SHIFT;
    r->brk = (r->brk & 0x1fff) << PAGE_SHIFT;
    r->jitter &= 0x1ff0;
}

// Mappings lie below the stack: its limit is kept free, within reason, and the span of its random start.
static void place_mappings(struct aspace *as, const struct layout *r, uint64_t stack_limit) {
    uint64_t gap = MIN(MAX(stack_limit, 128UL << 20), USER_END / 6 * 5);
    as->mmap_base = ALIGN_DOWN(USER_END - gap - STACK_GUARD - r->stack - r->mmap, PAGE_SIZE);
}

static void set_limits(struct aspace *as, const struct process *p) {
    as->limit_as = p->limits[RLIMIT_AS].rlim_cur;
    as->limit_data = p->limits[RLIMIT_DATA].rlim_cur;
    as->limit_stack = p->limits[RLIMIT_STACK].rlim_cur;
    as->limit_memlock = p->limits[RLIMIT_MEMLOCK].rlim_cur;
}

// --- Files ---

static int read_head(struct load *l, struct file *f) {
    int64_t n = file_read_kernel(f, l->head, HEAD_SIZE, 0);
    if (n < 0)
        return (int)n;
    l->head_len = (size_t)n;
    return 0;
}

// The script in l->head: puts its interpreter and arguments before the others, and opens the interpreter.
static int enter_script(struct load *l, const char *script, const char **interpreter, struct file **f) {
    unsigned argc = 0;
    char *argument;

    if (l->depth == SCRIPT_MAX_DEPTH)
        return -ELOOP;
    if (!l->chain) {
        while (l->argv[argc])
            argc++;
        l->chain = kmalloc(sizeof(*l->chain) + (argc + 1 + 2 * SCRIPT_MAX_DEPTH) * sizeof(char *));
        if (!l->chain)
            return -ENOMEM;
        char **argv = l->chain->argv + 2 * SCRIPT_MAX_DEPTH;
        memcpy(argv, l->argv, (argc + 1) * sizeof(char *));
        l->argv = argv;
    }
    char *line = l->chain->lines[l->depth++];
    memset(line, 0, SCRIPT_LINE_MAX);
    memcpy(line, l->head, MIN(l->head_len, (size_t)SCRIPT_LINE_MAX));
    char *name;
    if (!script_parse(line, &name, &argument))
        return refuse(l, "a script that names no interpreter in its first 255 bytes");
    if (l->hidden)
        return -ENOENT;
    l->argv[0] = (char *)script;
    if (argument)
        *--l->argv = argument;
    *--l->argv = name;
    *interpreter = name;
    *f = vfs_open_exec(AT_FDCWD, name, LOOKUP_FOLLOW);
    return IS_ERR(*f) ? (int)PTR_ERR(*f) : 0;
}

// Opens the program, through as many scripts as there are. Their file is the last interpreter's.
static int open_program(struct load *l, int at, const char *path, unsigned lookup_flags, struct program *main) {
    struct file *f = vfs_open_exec(at, path, lookup_flags);
    const char *script = l->exec_name;

    if (IS_ERR(f))
        return (int)PTR_ERR(f);
    for (;;) {
        struct file *next = NULL;
        int err = read_head(l, f);
        if (!err && (l->head_len < 2 || l->head[0] != '#' || l->head[1] != '!')) {
            main->file = f;
            return 0;
        }
        if (!err)
            err = enter_script(l, script, &script, &next);
        file_unref(f);
        if (err)
            return err;
        f = next;
    }
}

// Checks the ELF file whose first bytes are in l->head, and gets its program headers.
static int check_program(struct load *l, struct program *p) {
    uint64_t size = p->file->inode->size;
    const char *why = elf_check_header(l->head, l->head_len, size, &p->info);
    if (why)
        return refuse(l, why);
    size_t bytes = p->info.phnum * sizeof(Elf64_Phdr);
    if (p->info.phoff + bytes <= l->head_len && p->info.phoff % 8 == 0) {
        p->ph = (Elf64_Phdr *)(l->head + p->info.phoff);
    } else {
        p->ph = p->allocated = kmalloc(bytes);
        if (!p->ph)
            return -ENOMEM;
        int64_t n = file_read_kernel(p->file, p->ph, bytes, p->info.phoff);
        if (n != (int64_t)bytes)
            return n < 0 ? (int)n : refuse(l, "truncated in its program headers");
    }
    why = elf_check_segments(p->ph, size, &p->info);
    return why ? refuse(l, why) : 0;
}

static void program_release(struct program *p) {
    if (p->file)
        file_unref(p->file);
    kfree(p->allocated);
}

static int open_interpreter(struct load *l, const struct program *main, struct program *interp) {
    char *name = kmalloc(main->info.interp_size);
    if (!name)
        return -ENOMEM;
    int64_t n = file_read_kernel(main->file, name, main->info.interp_size, main->info.interp_offset);
    int err = n < 0 ? (int)n : 0;
    if (!err && (n != (int64_t)main->info.interp_size || name[n - 1] != '\0'))
        err = refuse(l, "an interpreter's name without an end");
    if (!err) {
        struct file *f = vfs_open_exec(AT_FDCWD, name, LOOKUP_FOLLOW);
        if (IS_ERR(f))
            err = (int)PTR_ERR(f);
        else
            interp->file = f;
        if (err == -ENOENT)
            log_info("%s: its interpreter %s is missing", l->exec_name, name);
    }
    kfree(name);
    return err;
}

// --- Mapping ---

static int map_main(struct load *l, struct aspace *as, struct program *p) {
    const struct elf_info *e = &p->info;
    if (e->relocatable)
        p->bias = ALIGN_DOWN(PIE_BASE + l->layout.pie, e->align) - e->low;
    int err = elf_map(as, p->file, p->ph, e, p->bias, false);
    if (err == -ENOEXEC)
        return refuse(l, "segments that cannot be mapped");
    if (err)
        return err;
    as->code_start = e->code_start + p->bias;
    as->code_end = e->code_end + p->bias;
    as->data_start = e->data_start + p->bias;
    as->data_end = e->data_end + p->bias;
    as->brk_start = as->brk = ALIGN_UP(e->end + p->bias, PAGE_SIZE) + l->layout.brk;
    return 0;
}

// The dynamic linker goes where mmap would put it; so does it when it cannot be moved but for its own addresses.
static int map_interpreter(struct load *l, struct aspace *as, struct program *p) {
    const struct elf_info *e = &p->info;
    if (!e->relocatable)
        return elf_map(as, p->file, p->ph, e, 0, false);
    uint64_t slack = e->align - PAGE_SIZE, span = e->high - e->low;
    long at = aspace_map(as, 0, span + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, NULL, 0,
                         PROT_READ | PROT_WRITE | PROT_EXEC, 0);
    if (at < 0)
        return (int)at;
    uaddr_t start = ALIGN_UP((uaddr_t)at, e->align);
    if (start > (uaddr_t)at)
        aspace_unmap(as, (uaddr_t)at, start - (uaddr_t)at);
    if (start + span < (uaddr_t)at + span + slack)
        aspace_unmap(as, start + span, (uaddr_t)at + slack - start);
    p->bias = start - e->low;
    return elf_map(as, p->file, p->ph, e, p->bias, true);
}

// The largest signal frame (MINSIGSTKSZ): siginfo, ucontext, return address, and the FPU's registers with their end mark.
static uint64_t signal_frame_size(void) {
    const uint64_t fixed = 8 + 304 + 128;
    return ALIGN_UP(fixed + 63 + fpu_area_size + 4, 16) + 16;
}

static void add_auxv(struct stack_params *s, uint64_t type, uint64_t value) {
    s->auxv[s->auxv_count++] = (struct auxv_entry){type, value};
}

// In Linux's order.
static void fill_auxv(const struct load *l, struct stack_params *s, const struct program *main,
                      const struct program *interp, uaddr_t vdso) {
    const struct exec_image *img = l->out;
    const struct credentials *cred = &img->cred;

    if (vdso)
        add_auxv(s, AT_SYSINFO_EHDR, vdso);
    add_auxv(s, AT_MINSIGSTKSZ, signal_frame_size());
    add_auxv(s, AT_HWCAP, cpu_features.leaf1_edx);
    add_auxv(s, AT_PAGESZ, PAGE_SIZE);
    add_auxv(s, AT_CLKTCK, CLOCK_TICKS);
    add_auxv(s, AT_PHDR, main->info.phdr ? main->info.phdr + main->bias : 0);
    add_auxv(s, AT_PHENT, sizeof(Elf64_Phdr));
    add_auxv(s, AT_PHNUM, main->info.phnum);
    add_auxv(s, AT_BASE, interp->bias);
    add_auxv(s, AT_FLAGS, 0);
    add_auxv(s, AT_ENTRY, main->info.entry + main->bias);
    add_auxv(s, AT_UID, cred->uid);
    add_auxv(s, AT_EUID, cred->euid);
    add_auxv(s, AT_GID, cred->gid);
    add_auxv(s, AT_EGID, cred->egid);
    add_auxv(s, AT_SECURE, img->secure);
    add_auxv(s, AT_RANDOM, 0);
    add_auxv(s, AT_HWCAP2, cpu_features.fsgsbase ? HWCAP2_FSGSBASE : 0);
    add_auxv(s, AT_EXECFN, 0);
    add_auxv(s, AT_PLATFORM, 0);
}

static int make_stack(struct load *l, struct aspace *as, const struct program *main, const struct program *interp,
                      uaddr_t vdso) {
    struct stack_params *s = &l->stack;
    s->top = USER_END - l->layout.stack;
    s->jitter = (unsigned)l->layout.jitter;
    memcpy(s->random, l->layout.auxv_random, sizeof(s->random));
    fill_auxv(l, s, main, interp, vdso);

    uint64_t size = STACK_START + stack_size(s);
    unsigned prot = PROT_READ | PROT_WRITE | (main->info.exec_stack ? PROT_EXEC : 0);
    long r = aspace_map(as, s->top - size, size, prot,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_GROWSDOWN | MAP_STACK, NULL, 0,
                        PROT_READ | PROT_WRITE | PROT_EXEC, VMA_STACK);
    int err = r < 0 ? (int)r : stack_build(as, s, size, &l->out->stack);
    return err == -EEXIST ? refuse(l, "segments where the stack has to be") : err;
}

static int build_image(struct load *l, struct program *main, struct program *interp) {
    struct aspace *as = aspace_create();
    if (!as)
        return -ENOMEM;
    l->out->aspace = as;
    choose_layout(&l->layout, l->out);
    set_limits(as, process_current());
    place_mappings(as, &l->layout, as->limit_stack);

    int err = map_main(l, as, main);
    if (!err && interp->file)
        err = map_interpreter(l, as, interp);
    if (err)
        return err;
    uaddr_t vdso = vdso_map(as);
    if (!vdso)
        return -ENOMEM;
    const struct program *first = interp->file ? interp : main;
    l->out->entry = first->info.entry + first->bias;
    return make_stack(l, as, main, interp, vdso);
}

static int load(struct load *l, int at, const char *path, unsigned lookup_flags) {
    struct program main = {0}, interp = {0};
    struct exec_image *out = l->out;

    int err = open_program(l, at, path, lookup_flags, &main);
    if (!err) {
        l->stack.exec_name = l->exec_name;
        l->stack.argv = l->argv;
        l->stack.envp = l->envp;
        err = stack_measure(&l->stack, process_current()->limits[RLIMIT_STACK].rlim_cur);
    }
    if (!err)
        err = check_program(l, &main);
    if (!err && main.info.interp_size) {
        // The first file's program headers stand in the head that the second is read into.
        if (!main.allocated) {
            main.allocated = kmalloc(main.info.phnum * sizeof(Elf64_Phdr));
            if (main.allocated)
                main.ph = memcpy(main.allocated, main.ph, main.info.phnum * sizeof(Elf64_Phdr));
            else
                err = -ENOMEM;
        }
        if (!err)
            err = open_interpreter(l, &main, &interp);
        if (!err)
            err = read_head(l, interp.file);
        if (!err) {
            err = check_program(l, &interp);
            if (err == -ENOEXEC)
                err = -ELIBBAD; // the program itself is sound
        }
    }
    if (!err) {
        err = inode_deny_write(main.file->inode);
        out->denies_write = !err;
        out->file = file_ref(main.file);
    }
    if (!err)
        err = privileges_choose(out, main.file);
    if (!err)
        err = build_image(l, &main, &interp);
    if (!err) {
        const char *slash = strrchr(l->exec_name, '/');
        str_copy(out->name, slash ? slash + 1 : l->exec_name, sizeof(out->name));
        if (path_name(&main.file->path, out->path, sizeof(out->path)) < 0)
            out->path[0] = '\0';
    }
    program_release(&main);
    program_release(&interp);
    return err;
}

// What the program is told that it was called: a path, or the descriptor with what follows it.
static char *name_by_descriptor(int at, const char *path) {
    size_t size = strlen(path) + 32;
    char *name = kmalloc(size);
    if (name)
        snprintf(name, size, *path ? "/dev/fd/%d/%s" : "/dev/fd/%d%s", at, path);
    return name;
}

int loader_load(int at, const char *path, unsigned lookup_flags, const struct exec_args *args, struct exec_image *out) {
    static char empty[] = "", *no_arguments[] = {empty, NULL};
    bool by_descriptor = at != AT_FDCWD && path[0] != '/';
    struct load *l = kmalloc(sizeof(*l));
    char *made_name = by_descriptor ? name_by_descriptor(at, path) : NULL;
    int err = -ENOMEM;

    out->aspace = NULL;
    out->file = NULL;
    out->reason = NULL;
    out->denies_write = false;
    out->path[0] = out->name[0] = '\0';
    if (l && (made_name || !by_descriptor)) {
        l->out = out;
        l->exec_name = by_descriptor ? made_name : path;
        // A program without even a name is given an empty one, as Linux does.
        l->argv = args->argv[0] ? args->argv : no_arguments;
        l->envp = args->envp;
        l->chain = NULL;
        l->depth = 0;
        l->hidden = by_descriptor && fd_get_flags(at) == FD_CLOEXEC;
        l->stack.auxv_count = 0;
        err = load(l, at, path, lookup_flags);
        kfree(l->chain);
    }
    kfree(made_name);
    kfree(l);
    if (err)
        loader_image_release(out);
    return err;
}

void loader_image_release(struct exec_image *img) {
    if (img->aspace)
        aspace_unref(img->aspace);
    if (img->denies_write)
        inode_allow_write(img->file->inode);
    img->denies_write = false;
    if (img->file)
        file_unref(img->file);
    img->aspace = NULL;
    img->file = NULL;
}
