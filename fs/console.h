// Inside the console: what console.c (the channel to the host) offers to console_stdio.c (the files on it). Others use fs/tty.h.
#ifndef FS_CONSOLE_H
#define FS_CONSOLE_H

#include "fs/frame.h"
#include "fs/tty.h"

// A frame to send: FRAME_HEADER_SIZE bytes that console_send fills in, then the data. One on the stack has this size, one
// from kmalloc may have the other.
#define CONSOLE_FRAME 1024
#define CONSOLE_FRAME_MAX 8192

extern struct waitq console_write_wait, console_read_wait;

// Sends n bytes of data as a frame of this type, whole or not at all; in plain mode the bytes alone, as many as go.
// How many were taken; 0: full, console_write_wait is woken. Any context.
size_t console_send(uint8_t type, uint8_t *frame, size_t n);
size_t console_send_session(uint8_t session, uint8_t type, uint8_t *frame, size_t n); // of another session than the program's
bool console_send_ready(void);

// Who gets the frames of other sessions: bytes of R and I in any portions; R without bytes, and the others, when they are complete.
// Interrupt context, the console's input lock held.
struct console_sessions {
    void (*data)(uint8_t session, uint8_t type, const uint8_t *data, size_t n);
    void (*control)(uint8_t session, uint8_t type, const uint8_t *data, size_t n);
};
void console_set_sessions(const struct console_sessions *ops);

// Standard input as a stream. console_input_start asks the host to send; nothing is asked for before somebody reads.
int console_input_start(void); // 0 or -ENOMEM
size_t console_input_take(void *buf, size_t n);
size_t console_input_available(void);
bool console_input_ended(void);

// Opens descriptor `fd`'s kind of stream (fd 3: both directions, for /dev/console). ERR_PTR.
struct file *console_open_stream(int fd, unsigned flags);

#endif
