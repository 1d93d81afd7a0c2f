// The first process.
#ifndef KERNEL_INIT_H
#define KERNEL_INIT_H

void init_run(void); // thread context, everything is up: starts what the initrd's configuration says; returns when it runs

#endif
