// The list of network devices, where their drivers and the stack meet. Devices are registered while the machine boots or later, and stay.
// Lock: devices_lock, a leaf, for the list alone.
#include "kernel/netdev.h"

#include "kernel/log.h"
#include "kernel/threads/lock.h"

#define DEVICES_MOST 32

static struct spinlock devices_lock = SPINLOCK_INIT;
static struct list devices = LIST_INIT(devices);

void (*net_device_wake)(struct net_device *dev);

int net_device_register(struct net_device *dev) {
    unsigned count = 0;
    const struct net_device *other;
    spin_lock(&devices_lock);
    list_for_each (other, &devices, link_all)
        count++;
    bool room = count < DEVICES_MOST;
    if (room) {
        snprintf(dev->name, sizeof(dev->name), "eth%u", count);
        list_push_back(&devices, &dev->link_all);
    }
    spin_unlock(&devices_lock);
    return room ? 0 : -ENOSPC;
}

struct net_device *net_device_next(struct net_device *dev) {
    spin_lock(&devices_lock);
    struct list *next = dev ? dev->link_all.next : devices.next;
    dev = next == &devices ? NULL : list_entry(next, struct net_device, link_all);
    spin_unlock(&devices_lock);
    return dev;
}

void net_device_interrupt(struct net_device *dev) {
    void (*wake)(struct net_device *) = load_acquire(&net_device_wake);
    WRITE_ONCE(dev->polling, true);
    if (wake)
        wake(dev);
}
