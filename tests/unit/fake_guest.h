/*
 * A fake QEMU with a fake guest in it, for the tests of knarr: a program that is given QEMU's command line, finds the
 * console and the serial port in it, and speaks the guest's side of docs/boot-protocol.md. What it does is said by the
 * word fake=... on the kernel's command line.
 */
#pragma once

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/common.h"
#include "tools/frame.h"

static int fake_console, fake_log;

static void fake_send(uint8_t type, const void *payload, size_t length) {
    static uint8_t frame[FRAME_HEADER + FRAME_PAYLOAD_MAX];

    if (!write_all(fake_console, frame, frame_put(frame, type, 0, payload, (uint16_t)length)))
        _exit(3);
}

static void fake_exit(int kind, int code) {
    uint8_t payload[8] = {(uint8_t)kind, 0, 0, 0, (uint8_t)code, (uint8_t)(code >> 8)};

    fake_send(FRAME_EXIT, payload, sizeof(payload));
    pause(); /* knarr ends us */
    _exit(0);
}

static void fake_grant(uint32_t count) {
    uint8_t payload[4] = {(uint8_t)count, (uint8_t)(count >> 8), (uint8_t)(count >> 16), (uint8_t)(count >> 24)};

    fake_send(FRAME_WINDOW, payload, sizeof(payload));
}

/* Reads one frame from the host, which the decoder of the tool would refuse: it knows the other direction. */
static uint8_t fake_receive(uint8_t *payload, size_t *length) {
    uint8_t header[FRAME_HEADER];

    for (size_t got = 0; got < sizeof(header);) {
        ssize_t n = read(fake_console, header + got, sizeof(header) - got);
        if (n <= 0)
            _exit(4);
        got += (size_t)n;
    }
    *length = header[2] | (size_t)header[3] << 8;
    for (size_t got = 0; got < *length;) {
        ssize_t n = read(fake_console, payload + got, *length - got);
        if (n <= 0)
            _exit(4);
        got += (size_t)n;
    }
    return header[0];
}

/* Echoes the input, a little at a time, until its end; a signal ends it as it would a program. */
static void fake_echo(uint32_t window) {
    static uint8_t payload[FRAME_PAYLOAD_MAX];
    uint32_t granted = window;

    fake_grant(window);
    for (;;) {
        size_t length;
        switch (fake_receive(payload, &length)) {
        case FRAME_INPUT:
            if (length > granted) {
                fake_send(FRAME_MESSAGE, "more input than the window allows", 33);
                fake_exit(EXIT_KIND_KNARR, STATUS_FAILED);
            }
            granted -= (uint32_t)length;
            fake_send(FRAME_OUTPUT, payload, length);
            fake_grant((uint32_t)length);
            granted += (uint32_t)length;
            break;
        case FRAME_INPUT_END: fake_exit(EXIT_KIND_EXITED, 0); break;
        case FRAME_SIGNAL: fake_exit(EXIT_KIND_SIGNALED, payload[0]); break;
        case FRAME_SIZE: break;
        default: fake_exit(EXIT_KIND_KNARR, STATUS_FAILED);
        }
    }
}

/* Prints the records of .knarr/config, a line each. It is the last file of the initrd. */
static void fake_config(const char *initrd) {
    FILE *file = fopen(initrd, "re");
    static char image[1 << 20], text[1 << 16];
    size_t size = file ? fread(image, 1, sizeof(image), file) : 0;
    char *name = memmem(image, size, ".knarr/config", 13);
    char digits[9] = "";

    if (!name)
        fake_exit(EXIT_KIND_KNARR, STATUS_FAILED);
    memcpy(digits, name - CPIO_HEADER + 6 + 6 * 8, 8);
    size_t length = strtoul(digits, NULL, 16);
    size_t start = (size_t)(name + 14 - image + 3) & ~(size_t)3;
    for (size_t i = 0; i < length; i++)
        text[i] = image[start + i] ? image[start + i] : '\n';
    fake_send(FRAME_OUTPUT, text, length);
    fake_exit(EXIT_KIND_EXITED, 0);
}

static const char *fake_option(int argc, char **argv, const char *option) {
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], option) == 0)
            return argv[i + 1];
    }
    return "";
}

static int fake_fd(int argc, char **argv, const char *id) {
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], id, strlen(id)) == 0)
            return atoi(argv[i] + strlen(id));
    }
    return -1;
}

static int fake_main(int argc, char **argv) {
    const char *append = fake_option(argc, argv, "-append");
    const char *what = strstr(append, "fake=");
    int kind, code;

    fake_console = fake_fd(argc, argv, "socket,id=console,fd=");
    fake_log = fake_fd(argc, argv, "socket,id=log,fd=");
    if (!what || fake_console < 0 || fake_log < 0 || !strstr(append, "console=framed"))
        return 2;
    what += 5;
    write_all(fake_log, "a line of the log\n", 18);
    if (sscanf(what, "exit:%d:%d", &kind, &code) == 2) {
        fake_exit(kind, code);
    } else if (strncmp(what, "echo", 4) == 0) {
        fake_echo(777);
    } else if (strncmp(what, "config", 6) == 0) {
        fake_config(fake_option(argc, argv, "-initrd"));
    } else if (strncmp(what, "flood", 5) == 0) {
        static char block[60000];
        memset(block, 'f', sizeof(block));
        for (int i = 0; i < 100; i++) {
            uint8_t payload[8];
            size_t length;
            struct pollfd news = {.fd = fake_console, .events = POLLIN};
            if (poll(&news, 1, 0) > 0 && fake_receive(payload, &length) == FRAME_SIGNAL)
                fake_exit(EXIT_KIND_SIGNALED, payload[0]);
            fake_send(FRAME_OUTPUT, block, sizeof(block));
        }
        fake_exit(EXIT_KIND_EXITED, 0);
    } else if (strncmp(what, "both", 4) == 0) {
        fake_send(FRAME_OUTPUT, "out\0\n", 5);
        fake_send(FRAME_ERROR, "err\n", 4);
        fake_send(FRAME_MESSAGE, "a message\n", 10);
        fake_exit(EXIT_KIND_EXITED, 3);
    } else if (strncmp(what, "silent", 6) == 0) {
        dprintf(STDERR_FILENO, "qemu: something is wrong\n");
        return 1;
    } else if (strncmp(what, "garbage", 7) == 0) {
        write_all(fake_console, "SeaBIOS (version 1.16)\n", 23);
        pause();
    } else if (strncmp(what, "hang", 4) == 0) {
        printf("never seen\n");
        fake_send(FRAME_OUTPUT, "hanging\n", 8);
        pause();
    }
    return 2;
}
