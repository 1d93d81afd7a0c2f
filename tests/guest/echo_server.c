// Gives back what comes in: one connection at TCP port 7 and every datagram at UDP port 9, until the connection ends.
// runner: none
#include "check.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

static int bound(int type, uint16_t port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, type, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof(name)))
        exit(1);
    return fd;
}

int main(void)
{
    int listener = bound(SOCK_STREAM, 7), datagrams = bound(SOCK_DGRAM, 9), stream = -1;
    static char data[65536];

    if (listen(listener, 5))
        return 1;
    for (;;) {
        struct pollfd fds[] = {{datagrams, POLLIN, 0}, {stream < 0 ? listener : stream, POLLIN, 0}};
        struct sockaddr_storage from;
        socklen_t size = sizeof(from);

        poll(fds, 2, -1);
        if (fds[0].revents) {
            ssize_t n = recvfrom(datagrams, data, sizeof(data), 0, (struct sockaddr *)&from, &size);
            if (n < 0 || sendto(datagrams, data, (size_t)n, 0, (struct sockaddr *)&from, size) != n)
                return 2;
        }
        if (fds[1].revents && stream < 0) {
            stream = accept(listener, NULL, NULL);
        } else if (fds[1].revents) {
            ssize_t n = read(stream, data, sizeof(data));
            if (n <= 0)
                return 0;
            if (write(stream, data, (size_t)n) != n)
                return 3;
        }
    }
}
