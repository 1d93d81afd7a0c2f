// Brings up the devices: who comes first is the console, and the serial port is it when nothing better was found.
#include "drivers/drivers.h"

#include "drivers/serial.h"
#include "drivers/virtio.h"
#include "kernel/chardev.h"

const struct virtio_driver *const virtio_drivers[] = {&virtio_console_driver, &virtio_rng_driver, &virtio_blk_driver,
                                                     &virtio_9p_driver, &virtio_net_driver, NULL};

void drivers_init(void) {
    virtio_mmio_probe();
    virtio_pci_probe();
    if (!chardev_console())
        serial_register_console();
}
