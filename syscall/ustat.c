// ustat(2), vhangup(2): old calls about file systems and terminals.
#include "fs/tty.h"
#include "kernel/memory/usercopy.h"
#include "syscall/path.h"
#include "syscall/syscall.h"
#include <linux/capability.h>

struct ustat { // ustat(2): in no header any more
    int32_t free;
    uint64_t inodes;
    char name[6], pack[6];
};
_Static_assert(sizeof(struct ustat) == 32, "the ABI's");

long sys_ustat(uint64_t dev, uint64_t out) {
    struct fs_statistics st = {.magic = 0};
    bool found = false;
    for (struct mount *m = mount_next(NULL); m; m = mount_next(m)) {
        if (m->sb->dev == (uint32_t)dev && !found) {
            m->sb->ops->statistics(m->sb, &st);
            found = true;
        }
    }
    struct ustat u = {.free = (int32_t)st.blocks_free, .inodes = st.files_free};
    return found ? copy_out_obj(out, &u) : -EINVAL;
}

long sys_vhangup(void) {
    if (!capable(CAP_SYS_TTY_CONFIG))
        return -EPERM;
    struct tty *t = tty_current();
    if (t) {
        tty_hangup(t);
        tty_unref(t);
    }
    return 0;
}
