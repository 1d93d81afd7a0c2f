// The serial port as the machine's console, when there is no other. The log's use of it is serial_init's (drivers.h).
#ifndef DRIVERS_SERIAL_H
#define DRIVERS_SERIAL_H

void serial_register_console(void); // no effect without a port

#endif
