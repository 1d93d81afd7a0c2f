// link: drivers/virtio.c drivers/virtqueue.c drivers/virtio_console.c kernel/chardev.c
/* The console's driver on a device with one port. */
#include "tests/unit/virtio_console_tests.h"
