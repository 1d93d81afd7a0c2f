// Sessions: programs that the host starts beside the first one (docs/boot-protocol.md).
#ifndef LOADER_SESSION_H
#define LOADER_SESSION_H

void session_init(void); // the console hands over their frames from now on; costs nothing until the first

#endif
