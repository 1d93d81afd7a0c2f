"""Servers on a tap in a network namespace: Debian's root image under Knarr and under Debian's Linux kernel, in the same QEMU with the same
devices. What is measured is the machine of the guest together with its clients, on the CPUs that there are: only the ratio says something."""
import pathlib
import re
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "system"))

from harness import BUILD, busybox, check, execute, scratch, tail
import debian
import net
import net_servers

WORK = BUILD / "bench"
SECONDS = 4    # of each run of load
REPEATS = 3    # runs, of which the median counts
IDLE = 10000   # connections

INIT = """#!/busybox sh
b=/busybox
for d in proc sys dev lower upper root; do $b mkdir -p /$d; done
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs dev /dev
for m in %(modules)s; do $b insmod /m/$m.ko; done
$b mount -t erofs -o ro /dev/vda /lower; $b mount -t tmpfs -o size=90%% upper /upper; $b mkdir /upper/u /upper/w
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/u,workdir=/upper/w overlay /root
$b ifconfig lo up; $b ifconfig eth0 %(ip)s netmask 255.255.255.0 up; $b ip route add default via 192.168.77.1
$b ip -6 addr add %(ip6)s/64 dev eth0 nodad 2>/dev/null
for d in proc sys dev; do $b mkdir -p /root/$d; $b mount --move /$d /root/$d; done
$b mkdir -p /root/dev/pts /root/dev/shm; $b mount -t devpts devpts /root/dev/pts; $b mount -t tmpfs shm /root/dev/shm
cd /; exec $b chroot /root /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -c "$($b cat /command)"
"""


class LinuxGuest(net.Guest):
    """The same guest under Linux: kernel, initrd with modules, and what Knarr's boot does by hand."""

    def __init__(self, bench, network, number, script, root, memory="256M", cpus="1"):
        super().__init__(network, number, "sh", "-c", script, root=root, memory=memory, cpus=cpus)
        init = INIT % {"modules": " ".join(str(i) for i in range(len(bench.MODULES))), "ip": self.ip, "ip6": self.ip6}
        archive = self.archive(bench, init, script)
        # Without a clock to measure its own by, Linux is told the rate.
        rate = execute([WORK / "netload", "tsc"]).stdout.decode().strip()
        words = f"{bench.LINUX_SMP_WORDS} tsc=reliable tsc_early_khz={rate}"
        self.argv = [*bench.QEMU, "-M", "microvm", "-smp", cpus, "-m", memory, "-global", "virtio-mmio.force-legacy=off",
                     "-kernel", bench.linux_kernel()[1], "-initrd", archive, "-append", words, "-serial", "stdio",
                     "-drive", f"if=none,id=root,format=raw,readonly=on,file={root}", "-device", "virtio-blk-device,drive=root",
                     "-device", "virtio-rng-device",
                     "-netdev", f"tap,id=net0,ifname=tap{number},script=no,downscript=no,vhost=off",
                     "-device", f"virtio-net-device,netdev=net0,mac=02:00:00:00:00:{number + 1:02x}"]

    @staticmethod
    def archive(bench, init, script):
        tree = WORK / "linux-net"
        subprocess.run(["rm", "-rf", tree], check=True)
        (tree / "m").mkdir(parents=True)
        for i, module in enumerate(bench.MODULES):
            (tree / "m" / f"{i}.ko").write_bytes((WORK / "modules" / f"{module}.ko").read_bytes())
        (tree / "busybox").write_bytes(pathlib.Path(busybox()).read_bytes())
        (tree / "init").write_text(init)
        (tree / "command").write_text(script)
        for name in ["busybox", "init"]:
            (tree / name).chmod(0o755)
        archive = WORK / "linux-net.cpio"
        subprocess.run(f"cd {tree} && find . | cpio -o -H newc --quiet >{archive}", shell=True, check=True)
        return archive


NGINX = ("mkdir -p /srv/www; head -c 10485760 /dev/urandom >/srv/www/big; head -c 600 /dev/zero | tr '\\0' x >/srv/www/index.html; "
         "cat >/srv/nginx.conf <<'END'\n"
         "user www-data; worker_processes %(cpus)s; worker_rlimit_nofile 30000; daemon off; error_log /dev/null; pid /tmp/nginx.pid;\n"
         "events { worker_connections 14000; }\n"
         "http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; keepalive_timeout 600s; client_header_timeout 600s;\n"
         "server { listen 80 backlog=4096 reuseport; root /srv/www; } }\nEND\n"
         "chmod -R a+rX /srv; ulimit -n 30000; "
         "while :; do sleep 1; grep -E '^Mem(Free|Available)' /proc/meminfo | tr -d '\\n'; echo; done & exec nginx -c /srv/nginx.conf")
SERVERS = {"redis": (" ".join(f"'{w}'" for w in net_servers.REDIS), 6379, "256M"), "nginx": (NGINX, 80, "512M"),
           "iperf3": ("exec iperf3 -s", 5201, "256M")}


def middle(measure, *words):
    values = [measure(*words) for _ in range(REPEATS)]
    return {key: statistics.median(value[key] for value in values) for key in values[0]}


def load(network, guest, port, protocol, rate, connections=20):
    text = network.run(WORK / "netload", "rate", guest.ip, port, protocol, connections, rate, SECONDS, status=None, timeout=60).stdout.decode()
    found = re.search(r"p50 (\d+) p99 (\d+)", text)
    return {"p50": int(found.group(1)), "p99": int(found.group(2))} if found else {"p50": None, "p99": None}


def measure_redis(network, guest, rate=None):
    network.run("redis-cli", "-h", guest.ip, "set", "key", "x" * 100)
    got = {}
    for pipeline in [1, 16]:
        rates = middle(lambda: net_servers.redis_benchmark(network, guest.ip, "-c", "50", "-P", pipeline, "-t", "set,get",
                                                           requests=40000 * (1 if pipeline == 1 else 8)))
        got.update({f"redis {name}, pipeline {pipeline}": value for name, value in rates.items()})
    got["half"] = rate or got["redis get, pipeline 1"] / 2
    got["redis p99 at half of Linux' load, us"] = middle(load, network, guest, 6379, "REDIS", got["half"])["p99"]
    return got


def free_memory(guest):
    """KiB, when it has come to rest."""
    time.sleep(2.5)
    return int(re.findall(r"MemFree: +(\d+) kB", guest.output())[-1])


def measure_nginx(network, guest, rate=None):
    def rates(path, connections, *words):
        return lambda: {"rate": net_servers.wrk(network, f"http://{guest.ip}{path}", connections, SECONDS, *words)}

    got = {"nginx requests": middle(rates("/", 50))["rate"],
           "nginx requests, a connection each": middle(rates("/", 50, "-H", "Connection: close"))["rate"],
           "nginx MB/s of 10 MiB files": middle(rates("/big", 4))["rate"] * 10.48576}
    got["half"] = rate or got["nginx requests"] / 2
    got["nginx p99 at half of Linux' load, us"] = middle(load, network, guest, 80, "HTTP", got["half"])["p99"]
    before = free_memory(guest)
    held = network.start(WORK / "netload", "idle", guest.ip, 80, IDLE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        check(held.stdout.readline() == b"ready\n", "the idle connections are refused")
        got["memory per idle connection, bytes"] = (before - free_memory(guest)) * 1024 / IDLE
    finally:
        held.kill()
        held.wait()
    return got


def measure_iperf3(network, guest, rate=None):
    def one(words):
        return {"rate": net_servers.iperf3_rate(network, guest.ip, SECONDS, *words)}

    return {"iperf3 into the guest, Mbit/s": middle(one, [])["rate"], "iperf3 out of it, Mbit/s": middle(one, ["-R"])["rate"]}


MEASURES = {"redis": measure_redis, "nginx": measure_nginx, "iperf3": measure_iperf3}
LESS = ("p99", "memory")  # words of the rows where less is better


def column(bench, name, cpus, side, rate):
    script, port, memory = SERVERS[name]
    script = script % {"cpus": cpus} if name == "nginx" else script
    root = debian.image()
    with net.Network() as network:
        guest = (net.Guest(network, 0, "sh", "-c", script, root=root, memory=memory, cpus=cpus) if side == "Knarr" else
                 LinuxGuest(bench, network, 0, script, root, memory=memory, cpus=cpus))
        with guest:
            if name != "iperf3": # which ends a client that only looks in with trouble
                guest.wait(port)
            return MEASURES[name](network, guest, rate)


def rows(bench, words):
    execute(["gcc", "-O2", "-Wall", "-o", WORK / "netload", HERE / "netload.c"])
    bench.linux_kernel()
    for name in [word for word in SERVERS if word in words] or SERVERS:
        columns, halves = {}, {}
        for cpus in ["1", "2"]:
            for side in ["Linux", "Knarr"]: # Linux says what half the load is
                try:
                    columns[side, cpus] = column(bench, name, cpus, side, halves.get(cpus))
                    halves.setdefault(cpus, columns[side, cpus].pop("half", None))
                    columns[side, cpus].pop("half", None)
                except Exception as failure: # the others still count
                    print(f"{name} on {side}, {cpus} CPUs: {failure}", file=sys.stderr)
        keys = next((list(column) for column in columns.values() if column), [])
        table = []
        for key in keys:
            line = [key]
            for cpus in ["1", "2"]:
                knarr, linux = (columns.get((side, cpus), {}).get(key) for side in ["Knarr", "Linux"])
                ratio = "" if not knarr or not linux or min(knarr, linux) <= 0 else (linux / knarr if any(w in key for w in LESS) else knarr / linux)
                line += [knarr and round(knarr), linux and round(linux), ratio and f"{ratio:.2f} x"]
            table.append(line)
        bench.table([f"{name}: per second where nothing else is said", "Knarr, 1 CPU", "Linux", "ratio", "Knarr, 2 CPUs", "Linux", "ratio"], table)
