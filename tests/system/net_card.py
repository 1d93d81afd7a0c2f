"""Network cards as QEMU may offer them: both transports, without one or all of their features, one and two CPUs; the link goes down and up."""
import json
import re
import socket
import subprocess
import time

from harness import TESTS, Test, check, compiled, scratch
from net import Guest, Network
from net_tcp import client

# Bytes in both directions at once, in one piece and in small ones, over both families; pings that are longer than the MTU.
TRAFFIC = """
    def ping(size):
        data = os.urandom(size)
        def total(b):
            t = sum(struct.unpack(f"!{len(b) // 2}H", b))
            while t >> 16:
                t = (t & 0xffff) + (t >> 16)
            return ~t & 0xffff
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
            s.settimeout(5)
            s.connect((IP, 0))
            packet = lambda sum: struct.pack("!BBHHH", 8, 0, sum, 77, size & 0xffff) + data
            s.send(packet(total(packet(0))))
            while True:
                answer = s.recv(70000)[20:]
                if answer[:1] == b"\\0" and answer[4:8] == packet(0)[4:8]:
                    expect(answer[8:] == data, True, f"ping of {size}")
                    return

    for size in 56, 236, 1472, 1474, 20000, 60000:
        ping(size)
    for host in IP, IP6:
        data = os.urandom(1500000)
        with connect("echo", host) as s:
            sender = threading.Thread(target=s.sendall, args=(data,))
            sender.start()
            got = bytearray()
            while len(got) < len(data):
                part = s.recv(1 << 16)
                expect(len(part) > 0, True, "the end too soon")
                got += part
            sender.join()
            expect(bytes(got) == data, True, "echo")
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(100):
                s.sendall(data[i * 50:(i + 1) * 50])
                part = b""
                while len(part) < 50:
                    part += s.recv(50)
                expect(part == data[i * 50:(i + 1) * 50], True, "small echo")
    """

ALL = ["csum", "guest_csum", "mrg_rxbuf", "gso", "indirect_desc", "event_idx"]


def card_options(machine, without):
    device = "virtio-net-pci" if machine == "q35" else "virtio-net-device"
    return ["--machine", machine, *(word for name in without for word in ("--qemu-arg", "-global", "--qemu-arg", f"{device}.{name}=off"))]


def variant(machine, cpus, without):
    def function():
        with Network() as network, Guest(network, 0, compiled("tcp_peer"), "7000", cpus=cpus, memory="96M",
                                         options=card_options(machine, without)) as guest:
            guest.wait_output("ready")
            client(network, guest, TRAFFIC)
            check(guest.process.poll() is None, "the guest has ended")
    return function


for machine, cpus, without in [("microvm", "1", []), ("q35", "2", []), ("microvm", "1", ALL), ("q35", "1", ALL), ("microvm", "1", ["mrg_rxbuf"]),
                               ("microvm", "2", ["indirect_desc", "event_idx"]), ("q35", "1", ["csum"]), ("microvm", "1", ["guest_csum"])]:
    words = [machine, *([f"{cpus}cpus"] if cpus != "1" else []), *(["without_" + ("all" if without is ALL else "_".join(without))] if without else [])]
    TESTS.append(Test("/".join(["net_card", *words]), variant(machine, cpus, without)))


class Monitor:
    """QEMU's, at a socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self("qmp_capabilities")

    def __call__(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            check("error" not in answer, f"{command}: {answer}")
            if "return" in answer:
                return


def link(machine):
    def function():
        with scratch() as directory, Network() as network, Guest(network, 0, compiled("net_link"), "7000", memory="64M",
                                         options=[*card_options(machine, []), "--qemu-arg", "-qmp",
                                                  "--qemu-arg", f"unix:{directory}/monitor,server=on,wait=off"]) as guest:
            guest.wait_output("link up")
            monitor = Monitor(f"{directory}/monitor")
            script = ("import socket, sys; s = socket.create_connection((sys.argv[1], 7000), 20)\n"
                      "for line in sys.stdin:\n"
                      "    s.sendall(line.encode()); print(s.recv(100).decode(), end='', flush=True)")
            peer = network.start("python3", "-c", script, guest.ip, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            try:
                for i in range(3):
                    peer.stdin.write(b"hello %d\n" % i)
                    peer.stdin.flush()
                    check(peer.stdout.readline() == b"hello %d\n" % i, "no echo")
                    monitor("set_link", name="net0", up=False)
                    guest.wait_output("(link up\nlink down\n){%d}" % (i + 1), timeout=10)
                    if i == 1: # what is sent meanwhile arrives when the link is back
                        peer.stdin.write(b"meanwhile\n")
                        peer.stdin.flush()
                        time.sleep(0.1)
                    monitor("set_link", name="net0", up=True)
                    guest.wait_output("(link up\nlink down\n){%d}link up" % (i + 1), timeout=10)
                    if i == 1:
                        check(peer.stdout.readline() == b"meanwhile\n", "what was sent while the link was down is lost")
            finally:
                peer.kill()
                peer.wait()
            check(not re.search("error|warning", guest.errors()), guest.errors())
    return function


def flood(without):
    """More datagrams than the socket's buffer holds: nothing but what was sent makes room again."""
    def function():
        with Network() as network, Guest(network, 0, compiled("udp_flood"), "192.168.77.1", "3000", "1400", memory="64M",
                                         options=card_options("microvm", without)) as guest:
            check(guest.process.wait(40) == 0 and "0 failed" in guest.output(), f"{guest.output()} {guest.errors()}")
    return function


TESTS.append(Test("net_card/flood", flood([])))
TESTS.append(Test("net_card/flood/without_event_idx", flood(["event_idx"])))

for machine in ["microvm", "q35"]:
    TESTS.append(Test(f"net_card/link/{machine}", link(machine)))
