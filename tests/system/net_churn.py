"""A million short connections leave nothing behind: within the machine (tests/guest/tcp_churn.c, of which `make test` makes 16,000), and
from the host for SECONDS each. Part of `make servers`."""
import os
import re
import time

from debian import image
from harness import check, compiled, knarr, scratch
from net import Guest, Network
from net_servers import nginx_command, nginx_files, server, wrk

COUNT = 1000000
SECONDS = int(os.environ.get("CHURN_SECONDS", "120"))
LEFT = 2048  # KiB: a page for each five hundredth connection of a million would be 8 MB


def within(cpus):
    @server(f"churn-within-{cpus}cpus")
    def function():
        done = knarr("-m", "128M", "--cpus", cpus, compiled("tcp_churn"), COUNT, timeout=600)
        text = done.stdout.decode()
        check(done.status == 0 and re.search(r"\d+ connections, 0 failed\n.*a second\n$", text, re.S), f"status {done.status}: {text}")
        return text.rstrip().replace("\n", "; ")


STATE = ("while :; do sleep 1; echo $(grep -E '^(MemFree|Slab)' /proc/meminfo) $(grep ^TCP: /proc/net/sockstat); done & ")


def state(guest):
    """What there is when no connection is left, not even in TIME-WAIT: KiB free, KiB in slabs, TCP sockets."""
    end = time.monotonic() + 180
    while True:
        time.sleep(2.5)
        lines = re.findall(r"MemFree: (\d+) kB Slab: (\d+) kB TCP: inuse (\d+) orphan (\d+) tw (\d+) alloc (\d+)", guest.output())
        free, slab, _, orphans, waiting, sockets = map(int, lines[-1])
        if orphans == waiting == 0:
            return free, slab, sockets
        check(time.monotonic() < end, f"{orphans} connections without a socket, {waiting} in TIME-WAIT for three minutes")


def from_the_host(cpus):
    @server(f"churn-tap-{cpus}cpus")
    def function():
        with scratch() as directory:
            nginx_files(directory, workers=int(cpus), big=1)
            *shell, script = nginx_command()
            with Network() as network, Guest(network, 0, *shell, STATE + script, root=image(), memory="256M", cpus=cpus,
                                             options=["-v", f"{directory}:/in:ro"]) as guest:
                guest.wait(80)
                wrk(network, f"http://{guest.ip}/", 50, 5, "-H", "Connection: close")
                before = state(guest)
                rate = wrk(network, f"http://{guest.ip}/", 50, SECONDS, "-H", "Connection: close")
                after = state(guest)
                text = (f"{rate * SECONDS:.0f} connections, {rate:.0f} a second; before: %d kB free, %d kB in slabs, %d sockets; "
                        "after: %d, %d, %d" % (*before, *after))
                check(before[0] - after[0] < LEFT and after[1] - before[1] < LEFT and after[2] == before[2], text)
                return text


for each in ["1", "2"]:
    within(each)
    from_the_host(each)
