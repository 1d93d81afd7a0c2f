"""UDP and ICMP with a peer on the network: a guest on a tap in a namespace, this host's Linux as the peer (tests/guest/udp_peer.c asks)."""
import re

from debian import image
from harness import check, compiled, knarr, tail, test
from net import Guest, Network

PORT = 7100

# Sends back what comes to PORT, does what PORT + 1 is told, is a member of the groups at PORT + 4.
PEER = """
import select, socket, struct, sys
PORT, index = int(sys.argv[1]), socket.if_nametoindex("br0")

def bound(family, port):
    s = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind(("" if family == socket.AF_INET else "::", port))
    return s

echo = [bound(family, PORT) for family in (socket.AF_INET, socket.AF_INET6)]
told = [bound(family, PORT + 1) for family in (socket.AF_INET, socket.AF_INET6)]
member = [bound(family, PORT + 4) for family in (socket.AF_INET, socket.AF_INET6)]
member[0].setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.77.77.77") + struct.pack("=4sI", b"", index))
member[1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, "ff02::7777") + struct.pack("=I", index))
told[0].setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4sI", b"", b"", index))
told[1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
print("ready", flush=True)
while True:
    for s in select.select(echo + told + member, [], [])[0]:
        data, sender = s.recvfrom(70000)
        if s in echo:
            s.sendto(data, sender)
        elif s in member:
            s.sendto(b"heard " + data, sender)
        elif data.startswith(b"group"):
            _, address, port = data.decode().split()
            s.sendto(b"to the group", (address, int(port)))
"""

CLIENT = """
import errno, os, socket, sys
IP, IP6, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
for host, family in ((IP, socket.AF_INET), (IP6, socket.AF_INET6)):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect((host, PORT))
    for size in (0, 1, 100, 600, 1472, 1473, 4000, 30000, 65487):
        data = os.urandom(size)
        s.send(data)
        if s.recv(70000) != data:
            sys.exit(f"{host}: {size} bytes come back otherwise")
    s.connect((host, PORT + 9))
    s.settimeout(1)
    for turn in range(10): # errors are limited: garbage may have had some
        try:
            s.send(b"x")
            s.recv(10)
            sys.exit(f"{host}: an answer from a closed port")
        except TimeoutError:
            pass
        except ConnectionRefusedError:
            break
    else:
        sys.exit(f"{host}: nothing tells of a closed port")
s.connect((IP6, PORT))
s.send(b"end")
"""

WANTED_BOTH = r"""-- IPv%s
(\d+: sent (\d+), got \2, same, from there
){14}2000 turns, 0 wrong
connect\(fd, &to.sa, size_of\(to.sa.sa_family\)\) = 0
send\(fd, "x", 1, 0\) = 1
poll\(&p, 1, 5000\) = 1
events 8
recv\(fd, buf, sizeof buf, 0\) = -1 errno 111
recv\(fd, buf, sizeof buf, MSG_DONTWAIT\) = -1 EAGAIN
4 bytes
eth0 %s
hops 64
.*? = 0
connect\(fd, &to.sa, size_of\(to.sa.sa_family\)\) = 0
.*? = 0
MTU 1500
send\(fd, big, 1473, 0\) = -1 EMSGSIZE
send\(fd, big, v6 \? 1453 : 1472, 0\) = %s
send\(fd, big, 1452, 0\) = 1452
recv\(fd, big, sizeof big, 0\) = \d+
"""


@test("net_udp/peer")
def peer():
    with Network() as network:
        other = network.start("python3", "-c", PEER, str(PORT), stdout=-1)
        try:
            check(other.stdout.readline() == b"ready\n", "the peer does not start")
            with Guest(network, 0, compiled("udp_peer"), "192.168.77.1", "fd77::1", str(PORT), memory="64M") as guest:
                guest.wait_output("\nready\n")
                network.run("python3", "-c", CLIENT, guest.ip, guest.ip6, str(PORT))
                check(guest.process.wait(20) == 0, "the guest's status")
                text = guest.output()
                for version, ip, most in (("4", guest.ip, "1472"), ("6", guest.ip6, "-1 EMSGSIZE")):
                    check(re.search(WANTED_BOTH % (version, re.escape(ip), most), text), f"IPv{version}: {text}")
                for line in ("to the group", "heard to all"):
                    check(text.count(f"\n{line}\n") == 2, f"{line}: {text}")
                check(text.count("recv(fd, buf, sizeof buf, 0) = -1 EAGAIN") == 2, f"left groups: {text}")
                check(text.count("= -1 EACCES") == 2 and text.count("\nall\n") == 2, f"broadcast: {text}")
        finally:
            other.kill()
            other.wait()


@test("net_udp/ping")
def ping():
    """Echo requests from outside, of one frame and of several."""
    with Network() as network, Guest(network, 0, compiled("udp_peer"), "192.168.77.1", "fd77::1", str(PORT), memory="64M") as guest:
        for address in (guest.ip, guest.ip6):
            for size in ("56", "4000"):
                done = network.run("busybox", "ping", "-c", "3", "-i", "0.2", "-s", size, address)
                check(b"3 packets received" in done.stdout, tail(done.stdout))


# Frames to the guest that are wrong somewhere: each a good one with some bytes changed, cut off or added; most with good checksums of
# the changed contents, or they would not come far.
GARBAGE = """
import random, socket, struct, sys, time
random.seed(int(sys.argv[1]))
mac, IP, IP6, PORT = bytes.fromhex(sys.argv[2]), socket.inet_aton(sys.argv[3]), socket.inet_pton(socket.AF_INET6, sys.argv[4]), int(sys.argv[5])
own, own6 = socket.inet_aton("192.168.77.1"), socket.inet_pton(socket.AF_INET6, "fd77::1")
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("br0", 0))

def total(data):
    data += bytes(len(data) % 2)
    n = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while n >> 16:
        n = (n & 0xffff) + (n >> 16)
    return struct.pack("!H", ~n & 0xffff)

def ip4(protocol, data, source=own, to=IP, offset=0):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(data), random.getrandbits(16), offset, random.choice([64, 1]), protocol, 0, source, to)
    return head[:10] + total(head) + head[12:] + data

def ip6(protocol, data, source=own6, to=IP6):
    return struct.pack("!IHBB16s16s", 6 << 28, len(data), protocol, 64, source, to) + data

def udp(n, v6):
    data = struct.pack("!HHHH", random.randrange(1, 65536), random.choice([PORT, PORT, 68, 53, 9]), n + 8, 0) + bytes(n)
    source, to = (own6, IP6) if v6 else (own, IP)
    return data[:6] + (total(source + to + struct.pack("!IHBB", len(data), 0, 0, 17) + data) if v6 or random.random() < .5 else bytes(2)) + data[8:]

def icmp(v6):
    kind = random.choice([1, 2, 3, 4, 128, 129, 130, 131, 134, 135, 136, 137] if v6 else [0, 3, 4, 5, 8, 11, 12, 13, 17])
    quoted = (ip6(17, udp(8, True), IP6, own6) if v6 else ip4(17, udp(8, False), IP, own)) if random.random() < .8 else random.randbytes(40)
    body = struct.pack("!BBHI", kind, random.randrange(16), 0, random.getrandbits(32)) + change(quoted, .5)
    return body[:2] + (total(own6 + IP6 + struct.pack("!IHBB", len(body), 0, 0, 58) + body) if v6 else total(body)) + body[4:]

def change(data, chance):
    data = bytearray(data)
    while random.random() < chance:
        what = random.randrange(3)
        if what == 0 and data:
            data[random.randrange(min(len(data), 64))] = random.choice([0, 1, 255, random.randrange(256)])
        elif what == 1:
            del data[random.randrange(len(data) + 1):]
        else:
            data += random.randbytes(random.randrange(30))
    return bytes(data)

end = time.monotonic() + float(sys.argv[6])
while time.monotonic() < end:
    for _ in range(20):
        v6 = random.random() < .5
        protocol, data = random.choice([(17, udp(random.randrange(600), v6)), (58 if v6 else 1, icmp(v6))])
        data = change(data, .3)
        if v6 and random.random() < .3: # a header between
            data = random.choice([struct.pack("!BBHI", protocol, 0, 0x0104, 0), struct.pack("!BBHI", protocol, random.randrange(256), random.getrandbits(16), 7)]) + data
            protocol = random.choice([0, 60, 43, 44])
        packet = ip6(protocol, data) if v6 else ip4(protocol, data, offset=random.choice([0, 0, 0, 0x2000, 0x1fff, 5]))
        packet = change(packet, .3)
        s.send((mac + bytes.fromhex("020000000001") + (b"\\x86\\xdd" if v6 else b"\\x08\\x00") + packet)[:1514])
    time.sleep(0.002)
"""


@test("net_udp/garbage")
def garbage():
    """Malformed packets of UDP and ICMP: the guest drops them and goes on."""
    with Network() as network, Guest(network, 0, compiled("udp_peer"), "-", "-", str(PORT), memory="64M") as guest:
        guest.wait_output("\nready\n")
        network.run("busybox", "ping", "-c", "1", guest.ip)
        mac = re.search(r"lladdr (\S+)", network.run("ip", "neigh", "show", guest.ip).stdout.decode()).group(1).replace(":", "")
        network.run("python3", "-c", GARBAGE, "7", mac, guest.ip, guest.ip6, str(PORT), "4")
        network.run("python3", "-c", CLIENT, guest.ip, guest.ip6, str(PORT))
        check(guest.process.wait(20) == 0 and "lwIP" not in guest.errors(), guest.errors())


# Answers A and AAAA of NAME.test, of `big.test` truncated over UDP and whole over TCP.
NAMES = """
import socket, struct, threading
def answer(query, tcp):
    end = query.index(b"\\0", 12)
    name, kind = query[13:end], struct.unpack_from("!H", query, end + 1)[0]
    records = []
    if query[12:13] == b"\\3" and name.startswith(b"one"):
        records = [(1, socket.inet_aton("192.0.2.1"))] if kind == 1 else [(28, socket.inet_pton(socket.AF_INET6, "2001:db8::1"))]
    elif name.startswith(b"big") and kind == 1:
        records = [(1, bytes([192, 0, 2, 100 + i])) for i in range(60)] if tcp else []
    flags = 0x8580 | (0x200 if name.startswith(b"big") and not tcp else 0) | (0 if name[:3] in (b"one", b"big") else 3)
    head = query[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
    return head + query[12:end + 5] + b"".join(b"\\xc0\\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data for kind, data in records)

def over_tcp():
    s = socket.create_server(("", 53))
    while True:
        c = s.accept()[0]
        while head := c.recv(2):
            data = answer(c.recv(struct.unpack("!H", head)[0]), True)
            c.sendall(struct.pack("!H", len(data)) + data)

u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("", 53))
threading.Thread(target=over_tcp, daemon=True).start()
print("ready", flush=True)
while True:
    query, sender = u.recvfrom(2000)
    u.sendto(answer(query, False), sender)
"""


@test("net_udp/names")
def names():
    """The C library's resolver, over UDP and, where an answer is cut, over TCP; Debian's ping."""
    script = """
import socket
for name in ("one.test", "big.test", "none.test"):
    try:
        print(name, sorted({a[4][0] for a in socket.getaddrinfo(name, 80)}))
    except socket.gaierror as error:
        print(name, error.args[0] == socket.EAI_NONAME)
"""
    root = image()
    with Network() as network:
        server = network.start("python3", "-c", NAMES, stdout=-1)
        try:
            check(server.stdout.readline() == b"ready\n", "the server of names does not start")
            argv = ["sh", "-c", f"python3 -c '{script}'; ping -c 2 -i 0.2 192.168.77.1; ping -c 2 -i 0.2 -s 3000 fd77::1; ping -c 1 -W 1 192.168.77.99"]
            with Guest(network, 0, *argv, root=root, memory="512M", options=["--dns", "192.168.77.1"]) as guest:
                guest.process.wait(60)
                text = guest.output()
                check("one.test ['192.0.2.1', '2001:db8::1']" in text, text)
                check(all(f"'192.0.2.{100 + i}'" in text for i in range(60)), text)
                check("none.test True" in text, text)
                check(text.count("2 received, 0% packet loss") == 2 and text.count("1 packets transmitted, 0 received") == 1, text)
        finally:
            server.kill()
            server.wait()


@test("net_udp/python")
def python():
    """CPython's own tests of UDP sockets."""
    kinds = ["BasicUDPTest", "UDPTimeoutTest", "InterruptedRecvTimeoutTest", "InterruptedSendTimeoutTest"]
    kinds += [f"{call}{what}" for call in ("Sendmsg", "Recvmsg", "RecvmsgInto") for what in ("UDPTest", "UDP6Test")]
    kinds += [f"{call}RFC3542AncillaryUDP6Test" for call in ("Recvmsg", "RecvmsgInto")]
    done = knarr("--root", image(), "-m", "512M", "python3", "-m", "unittest", *(f"test.test_socket.{kind}" for kind in kinds), timeout=120)
    check(done.status == 0 and re.search(rb"Ran 1[0-9][0-9] tests", done.stderr), f"status {done.status}: {tail(done.stderr, 20)}")
