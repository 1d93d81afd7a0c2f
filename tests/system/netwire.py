"""A wire between two interfaces that loses, delays, doubles and overtakes frames as netem does, for kernels without netem:
    netwire.py GUEST_TAP OWN_TAP WORD=NUMBER...

GUEST_TAP is the interface that a machine has open, reached through a packet socket; OWN_TAP is the other end, made and held here. The words
are loss, duplicate and reorder (shares of the frames), delay (seconds, both ways), seed, and queue (frames that wait at most). What a
word says can be changed while it runs by a line of such words on standard input; at the end of standard input the wire ends.
A frame that overtakes goes at once while the others wait: without a delay, one that is chosen waits three milliseconds instead.
"""
import fcntl
import heapq
import os
import random
import select
import socket
import struct
import sys
import time

TUNSETIFF, TUNSETOFFLOAD, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 0x400454D0, 2, 0x1000, 0x4000
SOL_PACKET, PACKET_VNET_HDR, PACKET_OUTGOING, ETH_P_ALL = 263, 15, 4, 3
OFFLOADS = 0x1F  # checksums and segments as the sender left them: they are made where the frame ends


def main():
    guest_name, own_name = sys.argv[1:3]
    settings = {"loss": 0.0, "duplicate": 0.0, "reorder": 0.0, "delay": 0.0, "seed": 1, "queue": 1000}

    def change(words):
        settings.update((name, float(value)) for name, value in (word.split("=") for word in words))

    change(sys.argv[3:])
    chance = random.Random(settings["seed"])
    guest = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    guest.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    guest.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE, for root
    guest.bind((guest_name, 0, 0, 0, b""))
    own = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(own, TUNSETIFF, struct.pack("16sH22x", own_name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(own, TUNSETOFFLOAD, OFFLOADS if settings.get("gso") else 1)
    print("ready", flush=True)
    waiting, number = [], 0

    def deliver(to_guest, frame):
        try:
            if to_guest:
                guest.send(frame)
            else:
                os.write(own, frame)
        except OSError:  # the interface is down, its queue is full, or it is of another opinion: that is loss, too
            pass

    def take(to_guest, frame):
        nonlocal number
        if chance.random() < settings["loss"] or len(waiting) >= settings["queue"]:
            return
        for _ in range(2 if chance.random() < settings["duplicate"] else 1):
            delay, overtakes = settings["delay"], chance.random() < settings["reorder"]
            if overtakes:
                delay = 0 if delay else 0.003
            if delay:
                number += 1
                heapq.heappush(waiting, (time.monotonic() + delay, number, to_guest, frame))
            else:
                deliver(to_guest, frame)

    poll = select.epoll()
    for fd in [guest.fileno(), own, 0]:
        poll.register(fd, select.EPOLLIN)
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            deliver(*heapq.heappop(waiting)[2:])
        for fd, _ in poll.poll(max(0, waiting[0][0] - now) if waiting else -1):
            if fd == 0:
                line = sys.stdin.readline()
                if not line:
                    return
                change(line.split())
                continue
            try:
                for _ in range(64):
                    if fd == own:
                        take(True, os.read(own, 1 << 17))
                    else:
                        frame, address = guest.recvfrom(1 << 17, socket.MSG_DONTWAIT)
                        if address[2] != PACKET_OUTGOING:
                            take(False, frame)
            except OSError:  # nothing more
                pass


main()
