// link: drivers/virtio.c drivers/virtqueue.c drivers/virtio_console.c kernel/chardev.c
// flags: -DMULTIPORT
/* The console's driver on a device with several ports: the same tests. */
#include "tests/unit/virtio_console_tests.h"
