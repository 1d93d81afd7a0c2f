"""Networks that lose, double, delay and overtake frames, and cables that are pulled: what arrives is what was sent, and the rate comes back."""
import time

from debian import image
from harness import check, test
from net import Guest, Network
from net_servers import REDIS, noise


def both_ways(network, host, size, seed):
    """Sends and fetches `size` bytes in one value each; returns the seconds of both."""
    value = noise(size // 2, seed).hex().encode()
    start = time.monotonic()
    got = network.run("redis-cli", "-h", host, "-x", "set", "value", stdin=value, timeout=120)
    check(got.stdout == b"OK\n", f"{got.stdout!r}")
    there = time.monotonic()
    got = network.run("redis-cli", "-h", host, "get", "value", timeout=120)
    check(got.stdout.rstrip(b"\n") == value, "what comes back is not what was sent")
    return there - start, time.monotonic() - there


FAULTS = {
    "loss": ["loss=0.01", "delay=0.002"],
    "reorder": ["reorder=0.05", "delay=0.003"],
    "duplicate": ["duplicate=0.05", "reorder=0.02"],
    "all": ["loss=0.01", "duplicate=0.01", "reorder=0.02", "delay=0.005"],
}


def faulty(name, words):
    @test(f"net/faults/{name}")
    def function():
        with Network(wire=["seed=7"]) as network, Guest(network, 0, *REDIS, root=image()) as guest:
            guest.wait(6379)
            both_ways(network, guest.ip, 1 << 20, 1)
            network.change_wire(0, *words)
            slow = [both_ways(network, host, 1 << 20, 2) for host in [guest.ip, guest.ip6]]
            network.change_wire(0, "loss=0", "duplicate=0", "reorder=0", "delay=0")
            good = both_ways(network, guest.ip, 4 << 20, 3)
            check(max(good) < 20, f"4 MiB took {good[0]:.1f} and {good[1]:.1f} s after it was over")
            return "; ".join(f"{there:.1f} s in, {back:.1f} s out" for there, back in [*slow, good])


for each in FAULTS.items():
    faulty(*each)


BOTH_SHUT = r"""
import socket, sys, time
def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
stream, other = (socket.create_connection((sys.argv[1], 6379), 20) for _ in range(2))
big = bytes(100000)
other.sendall(command(b"set", b"k", big))
other.recv(10)
stream.sendall(command(b"get", b"k") * 60)  # more than our buffers and the guest's take
time.sleep(3)                                # it asks whether our window is open again
other.sendall(command(b"debug", b"sleep", b"1"))
time.sleep(0.3)
stream.sendall(command(b"set", b"j", big) * 40)
left = 60 * (len(big) + 11) + 40 * 5
while left:
    left -= len(stream.recv(min(left, 1 << 20))) or sys.exit("the end")
"""


@test("net/faults/both-windows-shut")
def both_windows_shut():
    """While the peer takes nothing, the guest's own window shuts and opens: the peer learns of that."""
    with Network() as network, Guest(network, 0, *REDIS, "--enable-debug-command", "yes", root=image()) as guest:
        guest.wait(6379)
        network.run("python3", "-c", BOTH_SHUT, guest.ip)


@test("net/faults/cable")
def cable():
    """A connection outlives a cable that is out for three seconds, with what was on its way."""
    with Network() as network, Guest(network, 0, *REDIS, root=image()) as guest:
        guest.wait(6379)
        value = noise(4 << 20).hex()
        script = f"(sleep 1; echo ping; sleep 6; echo ping) | redis-cli -h {guest.ip}"
        client = network.start("sh", "-c", script, stdout=-1)
        time.sleep(2)
        network.link(0, False)
        time.sleep(3)
        network.link(0, True)
        out, _ = client.communicate(timeout=60)
        check(out == b"PONG\nPONG\n", f"{out!r}")
        got = network.run("redis-cli", "-h", guest.ip, "-x", "set", "v", stdin=value.encode())
        check(got.stdout == b"OK\n", f"{got.stdout!r}")
