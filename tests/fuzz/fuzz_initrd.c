/* libFuzzer on the initrd's archives: whatever the bytes are, they are unpacked or refused, nothing is touched that is not theirs,
 * and no page is lost. The first byte chooses how the archive lies on its pages. */
#include "tests/unit/fs_fakes.h"

#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/string.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void remove_all(struct dentry *dir) {
    while (dentry_has_children(dir)) {
        struct dir_node *n = list_first(&dir->children->list, struct dir_node, link);
        struct dentry *d = dentry_ref(container_of(n, struct dentry, node));
        if (S_ISDIR(d->inode->mode))
            remove_all(d);
        ASSERT(tmpfs_remove(d) == 0);
        dentry_unref(d);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fake_start();
    fake_log[0] = 0;
    if (size < 2 || size > 64 * PAGE_SIZE)
        return 0;
    unsigned shift = data[0] % 2 ? 0 : data[0] * 4;
    data++;
    size--;
    unsigned pages = DIV_ROUND_UP(shift + size, PAGE_SIZE);
    phys_t start = fake_reserve(pages) + shift;
    memcpy(phys_to_virt(start), data, size);
    struct initrd_config config = {NULL, 0};
    initrd_find_config(start, start + size, &config);
    ASSERT(!config.data || (config.data >= (char *)phys_to_virt(start) && config.data + config.size <= (char *)phys_to_virt(start + size)));
    (void)initrd_find_image(start, start + size);
    int err = initrd_unpack(start, start + size);
    ASSERT(err == 0 || (err == -EINVAL && fake_log[0]) || err == -ENOMEM);
    remove_all(mount_root()->root);
    ASSERT(fake_pages_used == 0);
    fake_reset_reserved();
    return 0;
}
