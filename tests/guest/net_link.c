// Says when the link of eth0 goes down or up, and echoes what comes to PORT, one connection at a time. For tests/system/net_card.py.
// runner: none
#include "check.h"
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static char buf[65536];
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(argv[1]))};
    struct pollfd fds[2] = {{.fd = socket(AF_INET6, SOCK_STREAM, 0), .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    if (bind(fds[0].fd, (struct sockaddr *)&address, sizeof address) || listen(fds[0].fd, 5)) {
        perror("listen");
        return 1;
    }
    bool up = false;
    for (;;) {
        struct ifreq request = {0};
        strcpy(request.ifr_name, "eth0");
        if (ioctl(fds[0].fd, SIOCGIFFLAGS, &request)) {
            perror("eth0");
            return 1;
        }
        if (up != !!(request.ifr_flags & IFF_RUNNING)) {
            up = !up;
            printf("link %s\n", up ? "up" : "down");
            fflush(stdout);
        }
        if (poll(fds, 2, 20) <= 0)
            continue;
        if (fds[1].fd < 0 && fds[0].revents) {
            fds[1].fd = accept(fds[0].fd, NULL, NULL);
        } else if (fds[1].fd >= 0 && fds[1].revents) {
            ssize_t n = read(fds[1].fd, buf, sizeof buf);
            if (n <= 0 || write(fds[1].fd, buf, (size_t)n) != n) {
                close(fds[1].fd);
                fds[1].fd = -1;
            }
        }
    }
}
