"""Debian's servers, unmodified, in the root of debian.py, with real clients on the host: on a tap with IPv4 and IPv6, and through published ports
of user networking. `make test` runs a few of them; `make servers` (SERVERS_TESTS=all) all."""
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import time

from debian import image
from harness import BUILD, TOP, Failure, Outcome, Skipped, check, execute, once, scratch, tail, test
from net import Guest, Local, Network

EVERYTHING = os.environ.get("SERVERS_TESTS") == "all"


def server(name, always=False):
    """Decorator: a test that is part of `make servers`, of `make test` only with `always`."""
    return test(f"net/servers/{name}") if EVERYTHING or always else lambda function: function


@contextlib.contextmanager
def one_guest(*argv, ports=(), **how):
    """A network with one guest on it that serves these ports."""
    with Network() as network, Guest(network, 0, *argv, root=image(), **how) as guest:
        guest.wait(*ports)
        yield network, guest


def fetch(place, url, *options, status=0):
    return place.run("curl", "-sS", "-g", "--fail", "--max-time", "30", *options, url, status=status).stdout


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


# ---- HTTP in Python --------------------------------------------------------------------------------------------------

PAGES = "cp -r /in/. /srv && exec python3 -m http.server --bind :: --directory /srv 8000"


def pages(directory):
    pathlib.Path(directory, "small").write_text("hello from the volume\n")
    pathlib.Path(directory, "big").write_bytes(noise(3 << 20))


def serves_pages(place, guest, host, port):
    check(fetch(place, f"http://{host}:{port}/small") == b"hello from the volume\n", "the small file")
    check(fetch(place, f"http://{host}:{port}/big") == noise(3 << 20), "the big file differs")
    fetch(place, f"http://{host}:{port}/none", status=22)


@server("python", always=True)
def python_on_tap():
    with scratch() as directory:
        pages(directory)
        with one_guest("sh", "-c", PAGES, ports=[8000], options=["-v", f"{directory}:/in:ro"]) as (network, guest):
            for host in [guest.ip, f"[{guest.ip6}]"]:
                serves_pages(network, guest, host, 8000)


@server("python-user", always=True)
def python_on_user_network():
    with scratch() as directory:
        pages(directory)
        with Guest(None, 0, "sh", "-c", PAGES, root=image(), ports=[8000], options=["-v", f"{directory}:/in:ro"]) as guest:
            # QEMU accepts before the guest does.
            guest.network.run("sh", "-c", "until curl -s http://$0/ >/dev/null; do sleep 0.05; done", f"{guest.ip}:{guest.port[8000]}")
            serves_pages(guest.network, guest, guest.ip, guest.port[8000])


# ---- redis and memcached ---------------------------------------------------------------------------------------------

REDIS = ["redis-server", "--protected-mode", "no", "--bind", "0.0.0.0", "::", "--save", "", "--dir", "/tmp"]


def redis_benchmark(network, host, *words, requests=20000, timeout=120):
    """Requests per second by operation."""
    text = network.run("redis-benchmark", "-h", host, "-n", requests, "-q", "--csv", *words, timeout=timeout).stdout.decode()
    rates = {name.lower(): float(rate) for name, rate in re.findall(r'^"(\w+)[^"]*","([\d.]+)"', text, re.M)}
    check(rates and all(rate > 0 for rate in rates.values()), f"redis-benchmark: {text}")
    return rates


@server("redis", always=True)
def redis():
    with one_guest(*REDIS, ports=[6379]) as (network, guest):
        def cli(*argv, host=guest.ip, stdin=b""):
            return network.run("redis-cli", "-h", host, *argv, stdin=stdin).stdout.decode()

        check(cli("ping") == "PONG\n" and cli("ping", host=guest.ip6) == "PONG\n", "no PONG")
        value = noise(600000).hex()
        check(cli("-x", "set", "large", stdin=value.encode()) == "OK\n" and cli("get", "large") == value + "\n", "a large value differs")
        check(cli("eval", "for i=1,1000 do redis.call('rpush','l',i) end return redis.call('llen','l')", "0") == "1000\n", "eval")
        notes = []
        for host, words in [(guest.ip, ["-c", "50", "-t", "set,get"]), (guest.ip6, ["-c", "50", "-P", "16", "-t", "set,get,lrange_100"])]:
            notes.append(", ".join(f"{name} {rate:.0f}/s" for name, rate in redis_benchmark(network, host, *words).items()))
        check("connected_clients:1\r" in cli("info", "clients"), cli("info", "clients"))
        check(guest.stop() == 0, "status at the end")
        return "; at pipeline 16: ".join(notes)


# What they expect of a server on their own machine.
NOT_THE_HOST = [
    "CONFIG SET rollback on apply error",  # takes a port of its own machine for the server's
    # The server's clock is the client's, to the millisecond, to a tenth of a second: a guest's is behind by what QEMU takes to start.
    "GETEX PXAT option",
    "RESTORE can set an absolute expire",
]


@server("redis-own-tests")
def redis_own_tests():
    """What redis's source package tests of a server somewhere else, as its authors run it."""
    place = BUILD / "third-party"
    with once(place):
        done = execute([TOP / "scripts/fetch-source.sh", "redis", place], timeout=600)
        check(done.status == 0, tail(done.stderr))
        for name in ["redis-cli", "redis-benchmark"]:
            program = place / "redis/src" / name
            if not program.exists():
                program.symlink_to(shutil.which(name))
    server_words = ["--enable-protected-configs", "yes", "--enable-debug-command", "yes", "--enable-module-command", "yes"]
    # They put files into the server's directory.
    with scratch() as directory, one_guest(*REDIS, "--dir", directory, *server_words, ports=[6379], memory="1G", cpus="2",
                                           options=["-v", f"{directory}:{directory}"]) as (network, guest):
        done = network.run("tclsh", "tests/test_helper.tcl", "--host", guest.ip, "--port", "6379", "--tags", "-slow",
                           *(word for name in NOT_THE_HOST for word in ["--skiptest", name]), status=None, timeout=1500, cwd=place / "redis", stdin=b"")
        text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode("utf-8", "replace"))
        good, bad = len(re.findall(r"^\[ok\]", text, re.M)), sorted(set(re.findall(r"^\[(?:err|exception)\]: .*", text, re.M)))
        skipped = len(re.findall(r"^\[(?:ignore|skip)\]", text, re.M))
        (BUILD / "system" / "redis-own-tests.log").write_text(text)
        check(done.status == 0 and good > 400 and not bad, f"{good} passed, {len(bad)} failed: {bad} {tail(done.stdout, 8)}")
        return f"{good} passed, {skipped} are not for a server somewhere else"


MEMCACHED_CLIENT = r"""
import socket, sys
c = socket.create_connection((sys.argv[1], 11211), 10)
f = c.makefile("rwb")
def ask(line, *more):
    f.write(line.encode() + b"\r\n" + b"".join(more)); f.flush()
    return f.readline().rstrip().decode()
big = bytes(range(256)) * 2000
assert ask(f"set big 0 0 {len(big)}", big, b"\r\n") == "STORED"
for i in range(2000):
    f.write(b"set k%d 7 0 5 noreply\r\n%05d\r\n" % (i, i))
assert ask("get big") == f"VALUE big 0 {len(big)}" and f.read(len(big)) == big and f.readline() + f.readline() == b"\r\nEND\r\n"
for i in range(0, 2000, 100):
    got = ask("get " + " ".join(f"k{n}" for n in range(i, i + 100)))
    for n in range(i, i + 100):
        assert got == f"VALUE k{n} 7 5", got
        assert f.readline() == b"%05d\r\n" % n
        got = f.readline().rstrip().decode()
    assert got == "END"
many = [socket.create_connection((sys.argv[1], 11211), 10) for _ in range(200)]
for n, s in enumerate(many):
    s.sendall(b"incr n 1\r\nset n 0 0 1\r\n0\r\n" if n == 0 else b"incr n 1\r\n")
for s in many:
    assert s.recv(100)
u = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
u.settimeout(10)
u.sendto(b"\0\1\0\0\0\1\0\0get k77\r\n", (sys.argv[1], 11211))
assert u.recv(2000)[8:] == b"VALUE k77 7 5\r\n00077\r\nEND\r\n"
print(ask("version"))
"""


@server("memcached", always=True)
def memcached():
    with one_guest("memcached", "-u", "memcache", "-l", "0.0.0.0,::", "-U", "11211", "-t", "4", ports=[11211], cpus="2") as (network, guest):
        for host in [guest.ip, guest.ip6]:
            got = network.run("python3", "-c", MEMCACHED_CLIENT, host)
            check(got.stdout.startswith(b"VERSION 1."), f"{got.stdout!r}")


# ---- nginx -----------------------------------------------------------------------------------------------------------

NGINX = """
user www-data; worker_processes %d; daemon off; error_log stderr; pid /tmp/nginx.pid;
events { worker_connections 8192; }
http {
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type text/plain;
    server {
        listen 80 backlog=4096 reuseport; listen [::]:80 backlog=4096 reuseport; listen 443 ssl; listen [::]:443 ssl;
        ssl_certificate /srv/cert.pem; ssl_certificate_key /srv/key.pem; root /srv/www;
        location /status { stub_status; }
        location /worker { return 200 "$pid\\n"; }
    }
}
"""


def nginx_files(directory, workers=2, big=10 << 20):
    www = pathlib.Path(directory, "www")
    www.mkdir()
    (www / "index.html").write_text("<html>" + "x" * 600 + "</html>\n")
    (www / "big").write_bytes(noise(big))
    pathlib.Path(directory, "nginx.conf").write_text(NGINX % workers)
    done = execute(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=guest",
                    "-addext", "subjectAltName=IP:192.168.77.2,IP:fd77::2", "-keyout", f"{directory}/key.pem", "-out", f"{directory}/cert.pem"])
    check(done.status == 0, tail(done.stderr))


def nginx_command():
    return ["sh", "-ec", "cp -r /in/. /srv; chmod -R a+rX /srv; exec nginx -c /srv/nginx.conf"]


def wrk(network, url, connections, seconds, *words):
    """Requests per second; any error fails."""
    text = network.run("wrk", "-t", "1", "-c", connections, "-d", f"{seconds}s", "--timeout", "10s", *words, url,
                       timeout=seconds + 60).stdout.decode()
    found = re.search(r"Requests/sec: +([\d.]+)", text)
    check(found and float(found.group(1)) > 0 and "errors" not in text and "Non-2xx" not in text, f"wrk: {text}")
    return float(found.group(1))


@server("nginx", always=True)
def nginx():
    with scratch() as directory:
        nginx_files(directory)
        with one_guest(*nginx_command(), ports=[80, 443], cpus="2", options=["-v", f"{directory}:/in:ro"]) as (network, guest):
            index = pathlib.Path(directory, "www/index.html").read_bytes()
            for host in [guest.ip, f"[{guest.ip6}]"]:
                check(fetch(network, f"http://{host}/") == index, "the page differs")
                check(fetch(network, f"http://{host}/big") == noise(10 << 20), "the big file differs")
                secure = ["--cacert", f"{directory}/cert.pem"]
                check(fetch(network, f"https://{host}/big", *secure) == noise(10 << 20), "the big file differs over TLS")
                check(fetch(network, f"http://{host}/big", "-r", "5000000-5999999") == noise(10 << 20)[5000000:6000000], "a range differs")
            notes = []
            for what, url, words in [("keep-alive", f"http://{guest.ip}/", []), ("close", f"http://{guest.ip}/", ["-H", "Connection: close"]),
                                     ("IPv6", f"http://[{guest.ip6}]/", []), ("TLS", f"https://{guest.ip}/", []),
                                     ("10 MB", f"http://{guest.ip}/big", [])]:
                big = what == "10 MB"
                notes.append(f"{what} {wrk(network, url, 1 if big else 50, 10 if EVERYTHING else 3 if big else 1, *words):.0f}/s")
            workers = {fetch(network, f"http://{guest.ip}/worker") for _ in range(30)}
            check(len(workers) == 2, f"{len(workers)} workers answered 30 connections, not 2")
            status = fetch(network, f"http://{guest.ip}/status").decode()
            check("Active connections: 1 " in status, status)
            check(guest.stop(3) == 0, "status after SIGQUIT")  # it finishes what it serves
            return ", ".join(notes)


@server("haproxy")
def haproxy():
    """One machine in front of two others."""
    with scratch() as directory, scratch() as front:
        nginx_files(directory, workers=1)
        pathlib.Path(front, "haproxy.cfg").write_text("""
global
    maxconn 2000
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend www
    bind :::80 v4v6
    default_backend guests
backend guests
    balance roundrobin
    option httpchk GET /
    server one 192.168.77.3:80 check inter 500
    server two [fd77::4]:80 check inter 500
listen raw
    mode tcp
    bind *:8080
    server one 192.168.77.3:443
""")
        with contextlib.ExitStack() as stack:
            network = stack.enter_context(Network(taps=3))
            behind = [stack.enter_context(Guest(network, n, *nginx_command(), root=image(), options=["-v", f"{directory}:/in:ro"])) for n in [1, 2]]
            guest = stack.enter_context(Guest(network, 0, "haproxy", "-db", "-f", "/in/haproxy.cfg", root=image(), options=["-v", f"{front}:/in:ro"]))
            for machine in [*behind, guest]:
                machine.wait(80)
            check(fetch(network, f"http://{guest.ip}/big") == noise(10 << 20), "the big file differs")
            check(fetch(network, f"https://{guest.ip}:8080/big", "-k") == noise(10 << 20), "the big file differs over TLS")
            rates = [wrk(network, f"http://{host}/", 20, 5) for host in [guest.ip, f"[{guest.ip6}]"]]
            counts = [int(re.search(r"\n (\d+) \d+ (\d+)", fetch(network, f"http://{machine.ip}/status").decode()).group(2)) for machine in behind]
            check(min(counts) > max(counts) / 3, f"the machines behind were asked {counts} times")
            behind[0].stop()
            network.run("sleep", "3")  # three checks
            for _ in range(10):
                fetch(network, f"http://{guest.ip}/")
            return f"{rates[0]:.0f}/s, IPv6 {rates[1]:.0f}/s"


# ---- runtimes --------------------------------------------------------------------------------------------------------

def http_server(argv, ports, path="/", memory="512M", cpus="2", options=(), connections=20, closes=True):
    with one_guest(*argv, ports=ports, memory=memory, cpus=cpus, options=options) as (network, guest):
        rates = []
        for host in [guest.ip, f"[{guest.ip6}]"]:
            url = f"http://{host}:{ports[0]}{path}"
            check(fetch(network, url) == b"hello\n", "the page differs")
            sent = noise(2 << 20, 7).hex().encode()
            check(network.run("curl", "-sS", "-g", "--fail", "--data-binary", "@-", url, stdin=sent).stdout == sent, "what was sent does not come back")
            rates.append(wrk(network, url, connections, 5))
        if closes:
            rates.append(wrk(network, url, connections, 3, "-H", "Connection: close"))
        return ", ".join(f"{what} {rate:.0f}/s" for what, rate in zip(["IPv4", "IPv6", "close"], rates))


@server("node")
def node():
    return http_server(["node", "-e", """
        require("http").createServer((q, r) => q.method == "POST" ? q.pipe(r) : r.end("hello\\n")).listen(8000, "::");"""], [8000])


@server("node-cluster")
def node_cluster():
    with scratch() as directory:
        pathlib.Path(directory, "cluster.js").write_text("""
            const c = require("cluster");
            if (c.isPrimary) { c.fork(); c.fork(); }
            else require("http").createServer((q, r) => q.method == "POST" ? q.pipe(r) : r.end("hello\\n")).listen(8000);""")
        return http_server(["node", "/in/cluster.js"], [8000], options=["-v", f"{directory}:/in:ro"])


GO = """package main
import ("io"; "log"; "net/http")
func main() {
    log.Fatal(http.ListenAndServe(":8000", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
        if r.Method == "POST" { b, _ := io.ReadAll(r.Body); w.Write(b) } else { io.WriteString(w, "hello\\n") }
    })))
}
"""


@server("go")
def go():
    program = BUILD / "guest" / "go-http" / "server"
    with once(program):
        program.parent.mkdir(parents=True, exist_ok=True)
        source = program.with_name("server.go")
        if not program.exists() or source.read_text() != GO:
            source.write_text(GO)
            done = execute(["go", "build", "-o", program, source], timeout=300,
                           env={**os.environ, "GOCACHE": str(BUILD / "go-cache"), "GOFLAGS": "-mod=mod", "GO111MODULE": "off"})
            check(done.status == 0, "go build: " + tail(done.stderr))
    return http_server([program], [8000], memory="256M")


JAVA = """
import com.sun.net.httpserver.*; import java.net.*; import java.util.concurrent.*;
public class Server {
    public static void main(String[] a) throws Exception {
        HttpServer s = HttpServer.create(new InetSocketAddress("::", 8000), 1000);
        s.setExecutor(Executors.newFixedThreadPool(8));
        s.createContext("/", x -> {
            byte[] b = x.getRequestMethod().equals("POST") ? x.getRequestBody().readAllBytes() : "hello\\n".getBytes();
            x.sendResponseHeaders(200, b.length); x.getResponseBody().write(b); x.close(); });
        s.start();
    }
}
"""


@server("java")
def java():
    with scratch() as directory:
        pathlib.Path(directory, "Server.java").write_text(JAVA)
        return http_server(["java", "-XX:+UseSerialGC", "-Dsun.net.httpserver.nodelay=true", "/in/Server.java"], [8000], memory="1G",
                           options=["-v", f"{directory}:/in:ro"], closes=False)  # it does, but does not say so


# ---- postgresql ------------------------------------------------------------------------------------------------------

POSTGRES = """
    b=/usr/lib/postgresql/15/bin; d=/data/db
    mkdir -p $d; chown postgres:postgres $d; chmod 700 $d; cd /tmp
    if ! [ -e $d/PG_VERSION ]; then
        su postgres -c "$b/initdb --no-instructions -A trust -D $d" >/tmp/initdb.log || { cat /tmp/initdb.log; exit 1; }
        echo "host all all all trust" >> $d/pg_hba.conf
    fi
    mkdir -p /var/run/postgresql; chown postgres /var/run/postgresql
    exec su postgres -c "exec $b/postgres -D $d -c listen_addresses='*' -c max_connections=50"
"""


def pgbench():
    """Debian has it in the server's package, which would start a server on this machine: it is only unpacked."""
    directory = BUILD / "system" / "pgbench"
    found = [shutil.which("pgbench"), "/usr/lib/postgresql/15/bin/pgbench", directory / "usr/lib/postgresql/15/bin/pgbench"]
    with once(directory):
        if not any(path and os.access(path, os.X_OK) for path in found):
            directory.mkdir(parents=True, exist_ok=True)
            done = execute(["sh", "-ec", "apt-get -o APT::Sandbox::User=root download postgresql-15; dpkg-deb -x postgresql-15_*.deb ."],
                           cwd=directory, timeout=300)
            check(done.status == 0, tail(done.stderr))
    return next(path for path in found if path and os.access(path, os.X_OK))


def postgres(options):
    """pgbench with eight clients; then another machine finds the data."""
    seconds = 10 if EVERYTHING else 3
    with Network() as network:
        def sql(query, host):
            return network.run("psql", "-h", host, "-U", "postgres", "-Atc", query).stdout.decode()

        with Guest(network, 0, "sh", "-ec", POSTGRES, root=image(), memory="512M", cpus="2", options=options) as guest:
            guest.wait(5432, timeout=180)
            network.run("sh", "-ec", "until psql -h $0 -U postgres -c 'select 1'; do sleep 0.2; done", guest.ip)
            network.run(pgbench(), "-h", guest.ip, "-U", "postgres", "-i", "-q", "-s", "2", "postgres", timeout=180)
            notes = []
            for host, words in [(guest.ip, ["-c", "8", "-j", "2"]), (guest.ip6, ["-c", "8", "-j", "2", "-S"]), (guest.ip, ["-c", "8", "-j", "2", "-S", "-C"])]:
                text = network.run(pgbench(), "-h", host, "-U", "postgres", "-T", seconds, *words, "postgres", timeout=seconds + 120).stdout.decode()
                found = re.search(r"number of failed transactions: 0 .*tps = ([\d.]+)", text, re.S)
                check(found and float(found.group(1)) > 0, f"pgbench: {text}")
                notes.append(f"{float(found.group(1)):.0f}")
            want = sql("select count(*) from pgbench_history", guest.ip)
            check(guest.stop(2, timeout=90) in [0, 130], "status after SIGINT")
        with Guest(network, 0, "sh", "-ec", POSTGRES, root=image(), memory="512M", cpus="1", options=options) as guest:
            guest.wait(5432, timeout=180)
            network.run("sh", "-ec", "until psql -h $0 -U postgres -c 'select 1'; do sleep 0.2; done", guest.ip)
            check(sql("select count(*) from pgbench_history", guest.ip6) == want, "the second machine finds other data")
            check(sql("select sum(abalance) = (select sum(tbalance) from pgbench_tellers) from pgbench_accounts", guest.ip) == "t\n", "the sums differ")
        return "transactions per second: %s, %s read only, %s with a connection each" % tuple(notes)


@server("postgres-volume")
def postgres_volume():
    with scratch() as directory:
        os.chmod(directory, 0o755)
        return postgres(["-v", f"{directory}:/data:mapped" if os.getuid() else f"{directory}:/data"])


@server("postgres-disk")
def postgres_disk():
    with scratch() as directory:
        disk = pathlib.Path(directory, "disk")
        with open(disk, "wb") as file:
            file.truncate(1 << 30)
        check(execute(["mkfs.ext4", "-q", disk]).status == 0, "mkfs.ext4")
        return postgres(["--disk", f"{disk}:/data"])


# ---- a login ---------------------------------------------------------------------------------------------------------

@server("ssh")
def ssh():
    with scratch() as directory, scratch() as volume:
        check(execute(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{directory}/key"]).status == 0, "ssh-keygen")
        shutil.copy(f"{directory}/key.pub", f"{volume}/keys")
        script = ("mkdir -p /run/sshd /root/.ssh; chmod 700 /root /root/.ssh; cp /in/keys /root/.ssh/authorized_keys; chmod 600 /root/.ssh/*;"
                  "ssh-keygen -A >/dev/null; exec /usr/sbin/sshd -D -e")
        with one_guest("sh", "-ec", script, ports=[22], options=["-v", f"{volume}:/in:ro"]) as (network, guest):
            words = ["-i", f"{directory}/key", "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={directory}/known", "-o", "BatchMode=yes",
                     "-F", "/dev/null"]
            for host in [guest.ip, guest.ip6]:
                got = network.run("ssh", *words, f"root@{host}", "id -un; hostname; exit 7", status=7)
                check(got.stdout == b"root\nknarr\n", f"{got.stdout!r} {got.stderr!r}")
            got = network.run("ssh", "-tt", *words, f"root@{guest.ip}", "tty; stty size; echo $SSH_TTY")
            check(re.match(rb"/dev/pts/\d\r\n\d+ \d+\r\n/dev/pts/\d\r\n", got.stdout), f"{got.stdout!r}")
            sent = noise(5 << 20)
            got = network.run("ssh", *words, f"root@{guest.ip}", "cat", stdin=sent)
            check(got.stdout == sent, "what went through cat differs")
            pathlib.Path(directory, "file").write_bytes(sent)
            network.run("scp", *words, f"{directory}/file", f"root@[{guest.ip6}]:/root/file")
            network.run("scp", *words, f"root@{guest.ip}:/root/file", f"{directory}/back")
            check(pathlib.Path(directory, "back").read_bytes() == sent, "the file differs")


# ---- clients in the guest --------------------------------------------------------------------------------------------

DNS = r"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("192.168.77.1", 53))
print("ready", flush=True)
while True:
    q, who = s.recvfrom(2000)
    end = q.index(b"\0", 12) + 1
    name, kind = q[12:end].lower(), q[end:end + 2]
    answer = {b"\0\1": bytes([192, 168, 77, 1]), b"\0\x1c": socket.inet_pton(socket.AF_INET6, "fd77::1")}.get(kind) if name == b"\3www\4test\0" else None
    known = name == b"\3www\4test\0"
    s.sendto(q[:2] + (b"\x85\x80" if known else b"\x85\x83") + b"\0\1" + (b"\0\1" if answer else b"\0\0") + b"\0\0\0\0" + q[12:end + 4] +
             (b"\xc0\x0c" + kind + b"\0\1\0\0\0\1" + len(answer).to_bytes(2, "big") + answer if answer else b""), who)
"""


@server("client-curl")
def curl():
    """Names by the name server that --dns says, files over IPv4 and IPv6, and what fails fails as on Linux."""
    with scratch() as directory, Network() as network:
        pages(directory)
        servers = [network.start("python3", "-c", DNS, stdout=subprocess.PIPE),
                   network.start("python3", "-m", "http.server", "--bind", "::", "--directory", directory, "8000", stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)]
        try:
            check(servers[0].stdout.readline() == b"ready\n", "no name server")
            network.run("sh", "-c", "until curl -s http://192.168.77.1:8000/ >/dev/null; do sleep 0.05; done")
            script = """
                curl -sS http://192.168.77.1:8000/small; curl -sSg 'http://[fd77::1]:8000/small'
                curl -sS4 http://www.test:8000/small; curl -sS6 http://www.test:8000/small; curl -sS http://www:8000/small
                curl -sS http://named:8000/small; curl -sS http://www.test:8000/big | sha256sum
                curl -sS http://192.168.77.1:8001/; echo $?; curl -sS http://nowhere.test/; echo $?; curl -sS --max-time 1 http://192.168.77.99/; echo $?
                ping -c 2 -i 0.2 192.168.77.1 >/dev/null; echo $?; ping -c 2 -i 0.2 fd77::1 >/dev/null; echo $?"""
            with Guest(network, 0, "sh", "-c", script, root=image(),
                       options=["--dns", "192.168.77.1", "--dns-search", "test", "--add-host", "named:192.168.77.1"]) as guest:
                check(guest.process.wait(60) == 0, f"{guest.output()} {guest.errors()}")
                sums = execute(["sha256sum"], stdin=noise(3 << 20)).stdout.decode()
                check(guest.output() == "hello from the volume\n" * 6 + sums + "7\n6\n28\n0\n0\n", f"{guest.output()} {guest.errors()}")
        finally:
            for process in servers:
                process.kill()
                process.wait()


def iperf3_rate(network, host, seconds, *words):
    """Mbit/s that arrived."""
    for _ in range(100):
        result = json.loads(network.run("iperf3", "-J", "-t", seconds, "-c", host, *words, status=None, timeout=seconds + 60).stdout)
        if not re.search("refused|busy|reset|route", result.get("error", "")): # it begins anew after each client
            break
        time.sleep(0.2)
    check("error" not in result, f"iperf3 {' '.join(words)}: {result.get('error')}")
    rate = result["end"]["sum_received" if "sum_received" in result["end"] else "sum"]["bits_per_second"] / 1e6
    check(rate > 1, f"iperf3 {' '.join(words)}: {rate} Mbit/s")
    return rate


@server("iperf3")
def iperf3():
    with one_guest("iperf3", "-s", cpus="2") as (network, guest):
        notes = []
        for what, words in [("in", []), ("out", ["-R"]), ("4 in", ["-P", "4"]), ("IPv6 in", ["-6"]), ("IPv6 out", ["-6", "-R"]), ("UDP in", ["-u", "-b", "50M"]),
                            ("UDP out", ["-u", "-b", "50M", "-R"])]:
            notes.append(f"{what} {iperf3_rate(network, guest.ip6 if '-6' in words else guest.ip, 3, *words):.0f}")
        return ", ".join(notes) + " Mbit/s"
