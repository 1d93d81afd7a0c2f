"""TCP with a peer on the network: a guest on a tap in a namespace, this host's Linux as the peer (tests/guest/tcp_peer.c serves)."""
import pathlib
import subprocess
import textwrap

from harness import KNARR, TESTS, Test, check, compare, compiled
from net import Guest, Network

PORT = 7000

# What all clients begin with: `python3 -c` of this and a body, with the guest's addresses as arguments.
CLIENT = """
import errno, os, random, re, select, socket, struct, sys, threading, time
IP, IP6, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])

def connect(what=None, host=IP, timeout=20):
    s = socket.create_connection((host, PORT), timeout)
    if what:
        s.sendall(what.encode() + b"\\n")
    return s

def everything(s):
    parts = []
    while True:
        part = s.recv(1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)

def ask(what, host=IP):
    with connect(what, host) as s:
        return everything(s).decode()

def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()

def checksum(data):
    total = 0
    for byte in data:
        total = (total * 31 + byte) & 0xffffffff
    return total

def expect(found, wanted, what=""):
    if found != wanted:
        sys.exit(f"{what}: {str(found)[:300]!r} instead of {str(wanted)[:300]!r}")
"""


def client(network, guest, body, timeout=60):
    return network.run("python3", "-c", CLIENT + textwrap.dedent(body), guest.ip, guest.ip6, str(PORT), timeout=timeout)


def with_guest(body, cpus="1", wire=None, timeout=60, memory="128M"):
    def function():
        with Network(taps=1, wire=wire) as network, Guest(network, 0, compiled("tcp_peer"), str(PORT), cpus=cpus, memory=memory) as guest:
            guest.wait_output("ready")
            client(network, guest, body, timeout)
            check(guest.process.poll() is None, "the guest has ended")
    return function


def test(name, body, **how):
    for cpus in how.pop("cpu_counts", ["1"]):
        TESTS.append(Test(f"net_tcp/{name}" + (f"/{cpus}cpus" if cpus != "1" else ""), with_guest(body, cpus=cpus, **how)))


test("bytes", """
    pattern = bytes(i % 251 for i in range(251 * 4000))
    for host in IP, IP6:
        with connect("echo", host) as s:
            for n in 1, 100, 1460, 1461, 20000:
                s.sendall(pattern[:n])
                got = b""
                while len(got) < n:
                    got += s.recv(n)
                expect(got == pattern[:n], True, f"echo of {n}")
            s.shutdown(socket.SHUT_WR)
            expect(everything(s), b"", "the end")
        for what in "sink", "slow":
            data = os.urandom(600000 if what == "sink" else 300000)
            with connect(what, host) as s:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                expect(everything(s).decode(), f"{len(data)} {checksum(data)} end\\n", what)
        for n in 0, 1, 1460, 65536, 3000001:
            with connect(f"source {n}", host) as s:
                got = everything(s)
                expect(len(got), n, "source")
                expect(got, (pattern * (n // len(pattern) + 1))[:n], "source's bytes")
        # A reader that stops: the guest's sender waits, and goes on.
        with connect("source 2000000", host) as s:
            time.sleep(0.3)
            expect(len(everything(s)), 2000000, "late")
    """, cpu_counts=["2"])

test("sendfile", """
    pattern = bytes(i % 251 for i in range(251)) * 20000
    for host in IP, IP6:
        for start, n in (0, 1), (0, 4096), (4095, 2), (100, 511), (3, 100000), (4097, 262145), (65535, 3000001):
            for how in "plain", "corked":
                with connect(f"file {start} {n} {how}", host) as s:
                    got = everything(s)
                    wanted = pattern[start:start + n]
                    expect(len(got), n + 8 * (how == "corked"), f"{n} bytes from {start} on, {how}")
                    expect(got == (wanted if how == "plain" else b"head" + wanted + b"tail"), True, f"their contents, {how}")
    # A reader that stops, and small windows: all of it comes, and at once when the file's end is reached.
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 6000)
    s.connect((IP, PORT))
    s.sendall(b"file 11 400000 plain\\n")
    time.sleep(0.3)
    expect(everything(s) == pattern[11:400011], True, "a small window")
    # One that goes away in the middle: the guest goes on.
    for i in range(5):
        s = connect("file 0 3000000 plain")
        s.recv(1000)
        reset(s)
    with connect("file 0 100000 plain") as s:
        expect(len(everything(s)), 100000, "afterwards")
    """, cpu_counts=["1", "2"])

test("calls", """
    for host, any in (("192.168.77.1", "0.0.0.0"), ("fd77::1", "::")):
        l = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        l.bind((any, 0))
        port = l.getsockname()[1]
        expect(ask(f"call {host} {port} plain"), "connect errno 111\\n", "refused")
        expect(ask(f"call {host} {port} nonblock"), "connect errno 115\\npoll 1 0x1c, SO_ERROR errno 111\\n", "refused, non-blocking")
        l.listen(5)
        for what, first in ("plain", "connect 0\\n"), ("nonblock", "connect errno 115\\npoll 1 0x4, SO_ERROR "):
            s = connect(f"call {host} {port} {what}")
            c, _ = l.accept()
            expect(everything(c), b"hello\\n", "from the guest")
            c.sendall(b"answer")
            c.close()
            found = everything(s).decode()
            expect(found.startswith(first) and found.endswith("got answer then end\\n"), True, found)
        # RST instead of an answer.
        s = connect(f"call {host} {port} plain")
        c, _ = l.accept()
        everything(c)
        reset(c)
        expect(everything(s).decode(), "connect 0\\ngot  then errno 104\\n", "reset")
        l.close()
    # Nobody answers, and there is no way.
    expect(ask("call 192.168.77.99 9 timeout"), "connect errno 115\\n", "timeout")
    """)

test("ends", """
    # RST in the middle, with data on its way in both directions; half-open ones; connections that only come and go.
    for host in IP, IP6:
        for what in "echo", "sink", "source 1000000", "slow":
            for i in range(5):
                s = connect(what, host)
                try:
                    s.sendall(b"x" * 50000)
                except OSError:
                    pass
                time.sleep(0.01 * i)
                reset(s)
        s = connect("source 5000000", host)
        s.recv(1000)
        s.close() # with unread data: a RST from here, too
        # The guest closes with bytes unread, and so with a RST.
        s = connect("stats", host)
        s.sendall(b"y" * 1000)
        try:
            everything(s)
        except ConnectionResetError:
            pass
        # Nobody listens.
        try:
            socket.create_connection((host, PORT + 1), 5)
            sys.exit("somebody listens")
        except ConnectionRefusedError:
            pass
    # A backlog of SYNs whose handshakes never end: a raw socket's.
    def checksum16(b):
        total = sum(struct.unpack(f"!{len(b) // 2}H", b))
        total = (total & 0xffff) + (total >> 16)
        return ~(total + (total >> 16)) & 0xffff
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    source, target = socket.inet_aton("192.168.77.200"), socket.inet_aton(IP)
    raw.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
    for i in range(600):
        tcp = struct.pack("!HHIIBBHHH", 1024 + i, PORT, i * 7919, 0, 0x50, 2, 1000, 0, 0)
        pseudo = source + target + struct.pack("!HH", 6, len(tcp))
        tcp = tcp[:16] + struct.pack("!H", checksum16(pseudo + tcp)) + tcp[18:]
        raw.sendto(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source, target) + tcp, (IP, 0))
    time.sleep(0.2)
    print(ask("stats"))
    """)

test("many", """
    # Many connections at a time, each with some bytes; then many short ones; then nothing is left of them.
    socks = [connect("echo") for i in range(1500)]
    for i, s in enumerate(socks):
        s.sendall(b"%06d" % i)
    for i, s in enumerate(socks):
        got = b""
        while len(got) < 6:
            got += s.recv(6)
        expect(got, b"%06d" % i, "echo")
    for s in socks:
        s.close()
    time.sleep(0.5)
    def free():
        return int(re.search(r"MemFree: +(\\d+)", ask("stats"))[1])
    before = free()
    end, count = time.monotonic() + 4, 0
    while time.monotonic() < end:
        s = connect("sink" if count % 3 else "source 10")
        try: # a guest that does not read what was sent answers with a RST
            s.sendall(b"data")
            if count % 2:
                s.shutdown(socket.SHUT_WR)
            if count % 10 == 4:
                reset(s)
            elif count % 3 == 0 or count % 2:
                everything(s)
        except OSError as error:
            expect(error.errno in (errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE), True, error)
        s.close()
        count += 1
    time.sleep(0.5)
    after = free()
    # What stays for a minute are connections in TIME-WAIT, of less than 500 bytes each; a page each would be more.
    expect(count > 100 and before - after < max(count, 1000), True, f"{before} kB free before, {after} after {count}")
    """, timeout=90)


test("small", """
    # Segments of a few bytes that nobody reads yet hold about as much memory as they have bytes.
    def free():
        return int(re.search(r"MemFree: +(\\d+)", ask("stats"))[1])
    before = free()
    socks = [connect("slow") for i in range(10)]
    sent = [bytearray() for s in socks]
    for s in socks:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    end, size = time.monotonic() + 0.4, 0
    while time.monotonic() < end:
        for s, data in zip(socks, sent):
            size = size % 5 + 1
            piece = os.urandom(size)
            s.sendall(piece)
            data += piece
        time.sleep(0.0002) # so that they do not wait for each other in Linux, which would put them together
    held = before - free()
    for s, data in zip(socks, sent):
        s.shutdown(socket.SHUT_WR)
        expect(everything(s).decode(), f"{len(data)} {checksum(data)} end\\n", "slow")
    count = sum(map(len, sent)) // 3
    expect(held < 2000, True, f"{count} segments hold {held} kB") # most of it the threads that serve
    """)


test("info", '''
    def info(host, bytes):
        with connect(f"info {bytes}", host) as s:
            words = everything(s)[bytes:].decode().split()
        return dict(zip(words[::2], map(int, words[1::2])))
    for host, mss in (IP, 1448), (IP6, 1428):
        i = info(host, 1000000)
        expect(30000 <= i["least"] <= i["rtt"] < 1000000, True, i)
        expect((i["mss"], i["lost"], i["bytes"], i["unacked"]), (mss, 0, 1000000, 0), i)
        expect(i["acked"] - 1000000 in (0, 1) and i["received"] == len("info 1000000\\n"), True, i)
        expect(i["out"] >= i["data"] >= 1000000 // mss and i["in"] > 10 and i["cwnd"] > 10, True, i)
    ''', wire=["delay=0.015"])

test("info_loss", '''
    with connect("info 400000") as s:
        words = everything(s)[400000:].decode().split()
    i = dict(zip(words[::2], map(int, words[1::2])))
    expect(i["lost"] > 0 and i["bytes"] == 400000, True, i)
    ''', wire=["loss=0.03"])

test("waits", '''
    def listening(*words):
        s = connect("wait " + " ".join(map(str, words)))
        f = s.makefile("r")
        expect(f.readline(), "listening\\n", "wait")
        return f
    def report(f):
        waiting = int(f.readline().split()[0])
        return waiting, [(int(line.split()[1]), int(line.split()[4])) for line in f]
    # Three at the same time. Handshakes that end when the queue is full do not overfill it.
    full = listening(PORT + 3, 0, 1, 600)
    socks = [socket.socket() for _ in range(12)]
    for s in socks:
        s.setblocking(False)
        s.connect_ex((IP, PORT + 3))
    # TCP_DEFER_ACCEPT: with the first bytes, at once when they are there; or when the time is over. One that is reset is never seen.
    over = listening(PORT + 2, 1, 10, 0)
    d = socket.create_connection((IP, PORT + 2))
    f = listening(PORT + 1, 7, 10, 0)
    a, b, c = (socket.create_connection((host, PORT + 1)) for host in (IP, IP6, IP))
    reset(c)
    time.sleep(0.7)
    a.send(b"hello")
    time.sleep(0.7)
    b.shutdown(socket.SHUT_WR)
    waiting, found = report(f)
    expect((waiting, [n for _, n in found]), (0, [5, 0]), found)
    expect(600 <= found[0][0] < 1300 <= found[1][0] < 2200, True, found)
    waiting, found = report(over)
    expect(len(found) == 1 and 900 < found[0][0] < 2400, True, found)
    waiting, found = report(full)
    expect(waiting, 2, found)
    expect(len(found) >= 2, True, found)
    ''')

test("icmp", '''
    def sum16(data):
        total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
        total = (total & 0xffff) + (total >> 16)
        return ~(total + (total >> 16)) & 0xffff
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    def icmp(kind, code, packet, info=0):
        body = struct.pack("!BBHI", kind, code, 0, info) + packet[:28]
        raw.sendto(body[:2] + struct.pack("!H", sum16(body)) + body[4:], (IP, 0))
    def sniffer():
        s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        s.bind(("br0", 0x0800))
        s.settimeout(10)
        return s
    def next_packet(s, port, wanted):
        while True:
            p = s.recv(1 << 16)
            if p[9] == 6 and p[12:16] == socket.inet_aton(IP) and port in struct.unpack("!HH", p[20:24]) and wanted(p):
                return p
    def altered(p, offset):
        seq, = struct.unpack("!I", p[24:28])
        return p[:24] + struct.pack("!I", (seq + offset) & 0xffffffff) + p[28:]
    # Nobody has that address: three seconds, while the rest goes on.
    answers = []
    def ask_nobody(host):
        begin = time.monotonic()
        answers.append((host, ask(f"call {host} 9 plain"), time.monotonic() - begin))
    askers = [threading.Thread(target=ask_nobody, args=(host,)) for host in ("192.168.77.99", "fd77::99")]
    for a in askers:
        a.start()
    # On its way: each error ends it, if it quotes the SYN.
    port = 20000
    for kind, code, error in (3, 0, 101), (3, 1, 113), (3, 2, 92), (3, 3, 111), (3, 9, 101), (3, 13, 113), (11, 0, 113), (12, 0, 71):
        port += 1
        sniff = sniffer()
        with connect(f"call 10.9.9.9 {port} plain") as s:
            syn = next_packet(sniff, port, lambda p: p[33] & 2)
            begin = time.monotonic()
            icmp(kind, code, altered(syn, 1000)) # forged
            time.sleep(0.1)
            icmp(kind, code, syn)
            expect(everything(s).decode(), f"connect errno {error}\\n", (kind, code))
            expect(time.monotonic() - begin < 2.5, True, "soon")
        sniff.close()
    # One that stands goes on, and its segments become smaller.
    sniff = sniffer()
    with connect("source 3000000") as s:
        mine = s.getsockname()[1]
        synack = next_packet(sniff, mine, lambda p: p[33] & 2)
        data = next_packet(sniff, mine, lambda p: len(p) > 1000)
        icmp(3, 1, data)
        icmp(3, 3, data)
        icmp(3, 4, altered(data, 1 << 30), 600) # forged
        for mtu in 1300, 1000:
            icmp(3, 4, data, mtu)
        got = everything(s)
        pattern = bytes(i % 251 for i in range(251 * 4000))
        expect(got == (pattern * 3)[:3000000], True, "bytes")
    sniff = sniffer()
    s = socket.socket()
    s.connect((IP, PORT))
    mine = s.getsockname()[1]
    synack = next_packet(sniff, mine, lambda p: p[33] & 2)
    icmp(3, 4, altered(synack, 1), 1000)
    time.sleep(0.2)
    s.sendall(b"source 300000\\n")
    got = everything(s)
    mss = struct.unpack("I", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 24)[20:24])[0]
    expect((len(got), mss), (300000, 1000 - 52), "smaller segments")
    for a in askers:
        a.join()
    for host, answer, seconds in answers:
        expect(answer, "connect errno 113\\n", host)
        expect(2 < seconds < 5, True, f"{seconds} s")
    expect(len(answers), 2)
    ''')


def remote(address, cpus):
    """The same program on Linux and on Knarr, each with this host as the peer."""
    def function():
        with Network(taps=1) as network:
            peer = network.start("python3", "-B", pathlib.Path(__file__).with_name("tcp_remote.py"), stdout=subprocess.PIPE)
            try:
                ports = peer.stdout.readline().decode().split()
                program = compiled("tcp_remote")
                on_linux = network.run(program, address, *ports, status=None)
                on_knarr = network.run(KNARR, "run", *network.options(0), "--cpus", cpus, program, address, *ports, status=None)
                compare(on_linux, on_knarr)
            finally:
                peer.kill()
                peer.wait()
    return function


for address, cpus in ("192.168.77.1", "1"), ("fd77::1", "2"):
    TESTS.append(Test(f"net_tcp/remote/{'IPv6' if ':' in address else 'IPv4'}", remote(address, cpus)))
