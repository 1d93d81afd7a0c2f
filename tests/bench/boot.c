/*
 * /init of an initramfs on Linux: goes into the root image on the disk and runs the program there, as little as that takes. Knarr
 * does it itself.
 */
#define _GNU_SOURCE
#include "measure.h"

int main(void)
{
    load_modules();
    mount_disk("/dev/vda", "/img", "erofs", MS_RDONLY);
    if (chdir("/img") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot("."))
        fail("chroot");
    execl("/bin/hello", "hello", NULL);
    fail("exec");
}
