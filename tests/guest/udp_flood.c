// Sends COUNT datagrams of SIZE bytes to ADDRESS, port 9, as fast as they go, by a socket that waits and by one that polls. For
// tests/system/net_card.py.
// runner: none
#include "check.h"
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
    static char bytes[65000];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0), count = atoi(argv[2]), size = atoi(argv[3]), failed = 0;
    inet_pton(AF_INET, argv[1], &to.sin_addr);
    for (int i = 0; i < count; i++)
        failed += sendto(fd, bytes, (size_t)size, 0, (struct sockaddr *)&to, sizeof to) != size;
    for (int i = 0; i < count; i++) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        while (sendto(fd, bytes, (size_t)size, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to) != size)
            failed += errno != EAGAIN || poll(&p, 1, 5000) != 1;
    }
    printf("%d failed\n", failed);
    return 0;
}
