"""Networks for tests: a namespace of the host's own with a bridge, taps for guests and addresses of both families, and guests on it.

    with Network(taps=2) as network, Guest(network, 0, "redis-server", root=image) as guest:
        guest.wait(6379)
        network.run("redis-cli", "-h", guest.ip, "ping")

The namespace has no name and no files: it lives as long as a process that reads a pipe of ours, so nothing is left behind however the tests end.
Where the machine does not allow such things Network raises Skipped.
"""
import ctypes
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

from harness import KNARR, TOP, Failure, Skipped, check, execute, tail

HERE = pathlib.Path(__file__).resolve().parent
WAIT = 60  # seconds for a server to answer; a JVM on a busy machine takes a third of it

# Connects until somebody accepts: HOST PORT SECONDS.
CONNECT = """
import socket, sys, time
host, port, end = sys.argv[1], int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
while True:
    try:
        socket.create_connection((host, port), 2).close()
        break
    except OSError as error:
        if time.monotonic() > end:
            sys.exit(f"{host} {port}: {error}")
        time.sleep(0.05)
"""


def die_with_us():
    """In a child: it is killed when the tests are."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Local:
    """The host as it is: what Guest needs of a Network when it is on user networking."""

    def run(self, *argv, stdin=b"", timeout=WAIT, status=0, **kwargs):
        """Runs a command of the host where the guests can be reached, and returns its Outcome; any other status fails (None: none does)."""
        done = execute(self.inside(argv), stdin, timeout, preexec_fn=die_with_us, **kwargs)
        check(status is None or done.status == status,
              f"{' '.join(map(str, argv[:8]))}: status {done.status}: {tail(done.stdout)} {tail(done.stderr)}")
        return done

    def start(self, *argv, **kwargs):
        """Starts a command in the same place: a Popen."""
        return subprocess.Popen([str(a) for a in self.inside(argv)], preexec_fn=die_with_us, **kwargs)

    def inside(self, argv):
        return argv


class Network(Local):
    """A bridge with the addresses .1 and ::1 and TAPS taps for guests, number K of which has .2+K and ::2+K. `wire` are words for
    netwire.py: then each guest is behind such a wire."""

    def __init__(self, taps=1, wire=None, mtu=1500):
        self.count, self.wire, self.mtu = taps, wire, mtu
        self.wires, self.holder = [], None

    def __enter__(self):
        unshare = ["unshare", "--net", *([] if os.getuid() == 0 else ["--user", "--map-root-user"])]
        self.holder = subprocess.Popen([*unshare, "sh", "-c", "echo ready; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
        if self.holder.stdout.readline() != b"ready\n":
            why = tail(self.holder.stderr.read(), 1)
            self.close()
            raise Skipped(f"no network namespaces here: {why}")
        try:
            self.make()
        except BaseException:
            self.close()
            raise
        return self

    def make(self):
        tried = execute(self.inside(["ip", "tuntap", "add", "tap0", "mode", "tap"]))
        if tried.status:
            raise Skipped(f"no taps here: {tail(tried.stderr, 1)}")
        script = ["ip link set lo up", f"ip link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                  "ip addr add 192.168.77.1/24 dev br0", "ip -6 addr add fd77::1/64 dev br0 nodad", "ip link set br0 up",
                  "sysctl -qw net.ipv4.ip_forward=0 net.core.somaxconn=16384 net.ipv4.tcp_max_syn_backlog=16384 "
                  "net.ipv4.ip_local_port_range='1024 65535' net.ipv4.tcp_tw_reuse=1 2>/dev/null || true"]
        for i in range(self.count):
            if i:
                script.append(f"ip tuntap add tap{i} mode tap")
            script.append(f"ip link set tap{i} mtu {self.mtu}")
            if self.wire is not None:
                script.append(f"sysctl -qw net.ipv6.conf.tap{i}.disable_ipv6=1 || true; ip link set tap{i} up")
            else:
                script.append(f"ip link set tap{i} master br0 up")
        self.run("sh", "-ec", "\n".join(script))
        for i in range(self.count if self.wire is not None else 0):
            wire = self.start("python3", "-B", HERE / "netwire.py", f"tap{i}", f"wire{i}", *self.wire, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
            self.wires.append(wire)
            check(wire.stdout.readline() == b"ready\n", "the wire does not start")
            self.run("ip", "link", "set", f"wire{i}", "mtu", self.mtu, "master", "br0", "up")

    def change_wire(self, number, *words):
        """Other qualities for a guest's wire from now on."""
        self.wires[number].stdin.write((" ".join(words) + "\n").encode())
        self.wires[number].stdin.flush()

    def link(self, number, up):
        """Pulls a guest's cable out, or puts it in. (The guest's device does not see it: see Guest.monitor.)"""
        self.run("ip", "link", "set", f"wire{number}" if self.wire is not None else f"tap{number}", "up" if up else "down")

    def inside(self, argv):
        user = [] if os.getuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", f"--target={self.holder.pid}", "--net", *user, "--", *argv]

    def ip(self, number):
        return f"192.168.77.{2 + number}"

    def ip6(self, number):
        return f"fd77::{2 + number:x}"

    def options(self, number):
        """knarr's options for the guest of that number. On a wire the frames are as long as on a real one."""
        words = ["--net", f"tap=tap{number},ip={self.ip(number)}/24,gw=192.168.77.1,ip6={self.ip6(number)}/64,gw6=fd77::1"]
        if self.wire is not None:
            for device in ["virtio-net-device", "virtio-net-pci"]:
                for what in ["host_tso4", "host_tso6", "host_ufo"]:
                    words += ["--qemu-arg", "-global", "--qemu-arg", f"{device}.{what}=off"]
        return words

    def close(self):
        for wire in self.wires:
            wire.kill()
            wire.wait()
        if self.holder:
            self.holder.stdin.close()
            self.holder.wait()

    def __exit__(self, *_):
        self.close()


class Guest:
    """`knarr run` in the background. Without a network it is on user networking, with `ports` of the guest published: guest.port[P] is where."""

    def __init__(self, network, number, *argv, root=None, memory="256M", cpus="1", options=(), ports=(), env=None):
        self.network = network or Local()
        self.ip, self.ip6 = (network.ip(number), network.ip6(number)) if network else ("127.0.0.1", None)
        words = ["-m", memory, "--cpus", cpus, *(["--root", root] if root else []), *options]
        words += network.options(number) if network else [word for port in ports for word in ("-p", f"127.0.0.1::{port}")]
        self.argv, self.env, self.published = [KNARR, "run", *words, *argv], env, list(ports)
        self.port = {}

    def __enter__(self):
        self.out, self.err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.process = self.network.start(*self.argv, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err,
                                          env={**os.environ, **(self.env or {})})
        end = time.monotonic() + WAIT
        while len(self.port) < len(self.published):
            found = re.findall(r"port (\d+)/\w+ of the guest is [\d.]+:(\d+)", self.errors())
            self.port = {int(guest): int(host) for guest, host in found}
            self.alive(end)
            time.sleep(0.01)
        return self

    def alive(self, end):
        check(self.process.poll() is None, f"the guest has ended with status {self.process.returncode}: {tail(self.errors().encode(), 10)} {tail(self.output().encode())}")
        check(time.monotonic() < end, f"nothing happens: {tail(self.errors().encode(), 10)}")

    @staticmethod
    def read(file):
        return os.pread(file.fileno(), 1 << 24, 0).decode("utf-8", "replace")

    def output(self):
        return self.read(self.out)

    def errors(self):
        return self.read(self.err)

    def wait(self, *ports, ip=None, timeout=WAIT):
        """Until the guest accepts connections at these ports."""
        end = time.monotonic() + timeout
        for port in ports:
            while True:
                done = execute(self.network.inside(["python3", "-c", CONNECT, ip or self.ip, str(self.port.get(port, port)), "2"]), timeout=timeout)
                if done.status == 0:
                    break
                try:
                    self.alive(end)
                except Failure as failure:
                    raise Failure(f"port {port}: {tail(done.stderr, 1)}: {failure}") from None

    def wait_output(self, pattern, timeout=WAIT):
        end = time.monotonic() + timeout
        while True:
            ended = self.process.poll() is not None
            found = re.search(pattern, self.output(), re.S)
            if found:
                return found
            if ended or time.monotonic() > end:
                self.alive(end)
            time.sleep(0.05)

    def stop(self, sig=signal.SIGTERM, timeout=30):
        """Ends the program by a signal; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"no end after signal {sig}: {tail(self.errors().encode(), 10)}") from None

    def __exit__(self, kind, error, _):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if isinstance(error, Failure) and self.errors():
            error.args = (f"{error.args[0]}\nthe guest's errors: {tail(self.errors().encode(), 10)}",)
        self.out.close()
        self.err.close()
