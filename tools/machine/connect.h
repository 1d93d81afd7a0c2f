/*
 * Speaking with a machine's monitor.
 */
#pragma once

#include "tools/frame.h"
#include "tools/machine/state.h"

/* A connection, or -1 when the machine does not run. */
int monitor_connect(const struct machine *machine);

/* The same; dies when it does not run. */
int monitor_need(const struct machine *machine, const char *word);

/* Sends a frame; false when the monitor has gone. */
bool monitor_say(int fd, uint8_t type, const void *payload, uint16_t size);

/* Waits for the next frame; false at the end. Other frames may follow in the decoder. */
bool monitor_hear(int fd, struct frame_decoder *decoder, struct frame *frame);

/* Waits for the exit frame and gives its exit status; when the monitor goes without one, what the state says. */
int monitor_wait_exit(int fd, struct machine *machine);
