// A program as records describe it: see program.h. No locks: the caller's thread is the only one of its process.
#include "loader/program.h"

#include "fs/file.h"
#include "fs/vfs.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"
#include "kernel/string.h"

const char *program_error_text(int err) {
    switch (-err) {
    case ENOENT: return "no such file or directory";
    case EACCES: return "permission denied";
    case EPERM: return "not permitted";
    case ELIBBAD: return "its interpreter is damaged";
    case ENOEXEC: return "exec format error";
    case ENOMEM: return "not enough memory";
    case ENOTDIR: return "not a directory";
    case EISDIR: return "is a directory";
    case ELOOP: return "too many symbolic links";
    case E2BIG: return "argument list too long";
    case ENAMETOOLONG: return "file name too long";
    case EIO: return "input/output error";
    case ENODEV: return "no such file system";
    case ENXIO: return "no such device";
    case EBUSY: return "in use";
    case EINVAL: return "not understood";
    case ENOTBLK: return "not a block device";
    case EEXIST: return "there is something else";
    case ENOTEMPTY: return "directory not empty";
    case EROFS: return "read-only file system";
    case ENOSPC: return "no space left";
    case EFBIG: return "file too large";
    case EUCLEAN: return "the file system is damaged";
    default: return "cannot be started";
    }
}

int program_status(int err) {
    return err == -ENOENT || err == -ENOTDIR ? STATUS_NOT_FOUND : err == -ENOMEM ? STATUS_FAILED : STATUS_NOT_EXECUTABLE;
}

// --- Records ---

// Digits up to `end` (NUL stands for the string's), which is cut off. NULL: not a number that a user or group may have.
static char *take_id(char *s, const char *separators, uint32_t *id) {
    char *end = s;
    uint64_t value;
    while (*end && !strchr(separators, *end))
        end++;
    char was = *end;
    *end = '\0';
    if (!str_to_u64(s, &value) || value >= UINT32_MAX) // ~0 means "unchanged" everywhere
        return NULL;
    *id = (uint32_t)value;
    return was ? end + 1 : end;
}

// UID:GID[:GID,...]
static int take_user(struct program *p, char *s) {
    unsigned count = 0;
    char *at = take_id(s, ":", &p->uid);
    at = at && *at ? take_id(at, ":", &p->gid) : NULL;
    if (!at)
        return -EINVAL;
    for (const char *c = at; *c; c++)
        count += c == at || *c == ',';
    if (count > GROUPS_MAX)
        return -EINVAL;
    group_list_unref(p->groups);
    p->groups = NULL;
    p->has_user = true;
    if (count == 0)
        return 0;
    struct group_list *g = p->groups = group_list_alloc(count);
    if (!g)
        return -ENOMEM;
    for (g->count = 0; at && *at;) {
        uint32_t gid;
        at = take_id(at, ",", &gid);
        if (!at)
            return -EINVAL;
        unsigned i = g->count++;
        for (; i > 0 && g->gid[i - 1] > gid; i--) // ascending
            g->gid[i] = g->gid[i - 1];
        g->gid[i] = gid;
    }
    return 0;
}

int program_record(struct program *p, const char *name, char *value) {
    if (strcmp(name, "arg") == 0)
        p->argv[p->argc++] = value;
    else if (strcmp(name, "env") == 0)
        p->envp[p->envc++] = value;
    else if (strcmp(name, "exec") == 0)
        p->exec = value;
    else if (strcmp(name, "cwd") == 0)
        p->cwd = value;
    else if (strcmp(name, "user") == 0)
        return MIN(take_user(p, value), 0) ?: 1;
    else
        return 0;
    return 1;
}

// --- Surroundings ---

static int make_directory(const struct program *p, const char *name) {
    struct path made;
    int err = vfs_mkdir(AT_FDCWD, name, 0755);
    if (err || !p->has_user) // what is there stays as it is; of what cannot be made the lookup will speak
        return 0;
    err = path_lookup(AT_FDCWD, name, LOOKUP_DIRECTORY, &made);
    if (err)
        return err;
    err = vfs_chown(path_inode(&made), p->uid, p->gid);
    path_unref(&made);
    return err;
}

int program_enter_directory(const struct program *p) {
    struct path at;
    int err = 0;
    if (!p->cwd)
        return 0;
    size_t len = strlen(p->cwd);
    char *partial = kmalloc(len + 1);
    if (!partial)
        return -ENOMEM;
    for (size_t i = 1; i <= len && !err; i++) { // each parent, then the directory itself
        if (p->cwd[i] && p->cwd[i] != '/')
            continue;
        memcpy(partial, p->cwd, i);
        partial[i] = '\0';
        err = make_directory(p, partial);
    }
    kfree(partial);
    if (!err)
        err = path_lookup(AT_FDCWD, p->cwd, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &at);
    if (!err) {
        err = fs_set_cwd(&at);
        path_unref(&at);
    }
    return err;
}

int program_own_stdio(const struct program *p) {
    int err = 0;
    for (int fd = 0; fd < 3 && p->has_user && p->uid != 0 && !err; fd++) {
        struct file *f = fd_get(fd);
        if (!f)
            continue;
        if (f->inode->rdev != MAKE_DEV(1, 3)) // /dev/null is everybody's
            err = vfs_chown(f->inode, p->uid, ~0u);
        file_unref(f);
    }
    return err;
}

int program_become_user(struct program *p) {
    if (!p->has_user)
        return 0;
    struct credentials c = process_current()->cred;
    c.uid = c.euid = c.suid = c.fsuid = p->uid;
    c.gid = c.egid = c.sgid = c.fsgid = p->gid;
    if (p->uid != 0)
        c.cap_effective = c.cap_permitted = c.cap_inheritable = c.cap_ambient = 0;
    process_set_groups(p->groups);
    p->groups = NULL;
    credentials_commit(&c);
    return 0;
}

// --- The program ---

int program_load(const struct program *p, struct exec_image *image) {
    const struct exec_args args = {.argv = p->argv, .envp = p->envp, .argc = p->argc, .envc = p->envc};
    if (strchr(p->exec, '/'))
        return loader_load(AT_FDCWD, p->exec, LOOKUP_FOLLOW, &args, image);

    const char *dirs = PROGRAM_PATH;
    for (unsigned i = 0; i < p->envc; i++)
        if (strncmp(p->envp[i], "PATH=", 5) == 0)
            dirs = p->envp[i] + 5;
    int result = -ENOENT;
    char *path = kmalloc(4096);
    if (!path)
        return -ENOMEM;
    for (const char *end; *p->exec; dirs = end + 1) {
        end = dirs;
        while (*end && *end != ':')
            end++;
        int n = snprintf(path, 4096, "%.*s%s%s", (int)(end - dirs), dirs, end > dirs ? "/" : "", p->exec);
        int err = n < 4096 ? loader_load(AT_FDCWD, path, LOOKUP_FOLLOW, &args, image) : -ENAMETOOLONG;
        if (err != -ENOENT && err != -ENOTDIR)
            result = err;
        if (err != -ENOENT && err != -ENOTDIR && err != -EACCES)
            break;
        if (!*end)
            break;
    }
    kfree(path);
    return result;
}
