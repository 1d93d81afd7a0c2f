"""The network's configuration as programs see and change it: iproute2, ioctl(2) (busybox), runtimes, /sys/class/net, files of /etc."""
import os
import re
import shutil

from checked import kernel, silent
from debian import image
from harness import busybox, check, compiled, knarr, scratch, test

USER = "10.0.2.15"
LO = """1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
    inet6 ::1/128 scope host \n       valid_lft forever preferred_lft forever
"""
ETH0 = """2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default qlen 1000
    link/ether 52:54:00:11:22:33 brd ff:ff:ff:ff:ff:ff
    inet 10.0.2.15/24 brd 10.0.2.255 scope global eth0
       valid_lft forever preferred_lft forever
    inet6 fe80::5054:ff:fe11:2233/64 scope link \n       valid_lft forever preferred_lft forever
    inet6 fec0::15/64 scope site \n       valid_lft forever preferred_lft forever
"""
ROUTES = """default via 10.0.2.2 dev eth0 \n10.0.2.0/24 dev eth0 proto kernel scope link src 10.0.2.15 \nfe80::/64 dev eth0 proto kernel metric 256 pref medium
fec0::/64 dev eth0 proto kernel metric 256 pref medium
default via fec0::2 dev eth0 metric 1024 pref medium
"""


def output(*argv, root=None, options=("--mac", "52:54:00:11:22:33")):
    got = knarr("-m", "256M", *(["--root", root] if root else []), *options, *argv)
    check(got.status == 0, f"status {got.status}: {got.stdout!r} {got.stderr!r}")
    return got.stdout.decode()


def same(got, wanted):
    for number, (mine, right) in enumerate(zip(got.split("\n"), wanted.split("\n")), 1):
        check(mine == right, f"line {number} is {mine!r}, not {right!r}")
    check(got == wanted, f"{len(got)} bytes, not {len(wanted)}: {got[-200:]!r}")


@test("net/config/show")
def show():
    """What iproute2 shows, word for word as with Linux."""
    got = output("sh", "-c", "ip -o link | wc -l; ip addr; ip route; ip -6 route; ip route get 10.0.2.9; ip route get 1.2.3.4; ip rule; ip neigh show dev lo",
                 root=image())
    got = re.sub(r"scope link tentative", "scope link", got)
    same(got, "2\n" + LO + ETH0 + ROUTES + "10.0.2.9 dev eth0 src 10.0.2.15 uid 0 \n    cache \n"
         "1.2.3.4 via 10.0.2.2 dev eth0 src 10.0.2.15 uid 0 \n    cache \n"
         "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n")


CHANGES = """
ip addr del 10.0.2.15/24 dev eth0; ip -4 -br addr show eth0; ip route | wc -l
ip addr add 10.0.2.16/24 dev eth0; ip -4 -o addr show eth0; ip route add default via 10.0.2.2; ip route add 10.9.0.0/16 via 10.0.2.3
ip route; ip route get 10.9.1.1; ip route del 10.9.0.0/16; ip route | wc -l
ip addr add 10.0.2.16/24 dev eth0; ip addr add 10.7.0.1/24 dev eth0; ip route add default via 10.0.2.4
ip link set eth0 mtu 1400; ip link set eth0 down; ip -br link show eth0; ip link set eth0 up; ip -o link show eth0 | cut -d' ' -f2-7
ip link set eth0 mtu 20; ip link add x type dummy; ip link show y
ip addr add fec0::77/64 dev eth0; sleep 3; ip -6 -o addr show eth0 | grep -c fec0::77; ip addr del fec0::77/64 dev eth0; ip -6 -o addr show eth0 | grep -c fec0::77; true
"""


@test("net/config/change")
def change():
    got = output("sh", "-c", f"exec 2>&1; {CHANGES}", root=image())
    got = re.sub(r" valid_lft.*", "", got)
    same(got, """0
2: eth0    inet 10.0.2.16/24 brd 10.0.2.255 scope global eth0\\      
default via 10.0.2.2 dev eth0 
10.0.2.0/24 dev eth0 proto kernel scope link src 10.0.2.16 
10.9.0.0/16 via 10.0.2.3 dev eth0 
10.9.1.1 via 10.0.2.3 dev eth0 src 10.0.2.16 uid 0 
    cache 
2
Error: ipv4: Address already assigned.
Error: There is no room for another address at this interface.
RTNETLINK answers: File exists
eth0             DOWN           52:54:00:11:22:33 <BROADCAST,MULTICAST> 
eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400 qdisc noqueue
Error: mtu less than device minimum.
Error: Unknown device type.
Device "y" does not exist.
1
0
""")


@test("net/config/runtimes")
def runtimes():
    """getifaddrs(3) by way of node, which most runtimes call; names and numbers of interfaces; AI_ADDRCONFIG."""
    script = """const n = require('os').networkInterfaces();
        for (const i of Object.keys(n)) for (const a of n[i]) console.log(i, a.address, a.netmask, a.mac, a.internal, a.scopeid, a.cidr);"""
    same(output("node", "-e", script, root=image()), f"""lo 127.0.0.1 255.0.0.0 00:00:00:00:00:00 true undefined 127.0.0.1/8
lo ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 00:00:00:00:00:00 true 0 ::1/128
eth0 {USER} 255.255.255.0 52:54:00:11:22:33 false undefined {USER}/24
eth0 fe80::5054:ff:fe11:2233 ffff:ffff:ffff:ffff:: 52:54:00:11:22:33 false 2 fe80::5054:ff:fe11:2233/64
eth0 fec0::15 ffff:ffff:ffff:ffff:: 52:54:00:11:22:33 false 0 fec0::15/64
""")
    script = """import socket as s
print(s.if_nameindex(), s.if_nametoindex('eth0'), s.if_indextoname(1))
print(sorted(a[4][0] for a in s.getaddrinfo('localhost', 80, type=s.SOCK_STREAM, flags=s.AI_ADDRCONFIG)))"""
    same(output("python3", "-c", script, root=image()), "[(1, 'lo'), (2, 'eth0')] 2 lo\n['127.0.0.1', '::1']\n")


@test("net/config/ioctl")
def ioctl():
    """Busybox' ifconfig and route."""
    script = """ifconfig eth0 | grep -v packets | grep -v bytes; route -n; ifconfig eth0 10.0.2.20 netmask 255.255.255.0; ifconfig eth0 | grep 'inet addr'
        route add default gw 10.0.2.2; route add -net 10.8.0.0 netmask 255.255.0.0 gw 10.0.2.2; route -n; route del -net 10.8.0.0 netmask 255.255.0.0; route -n | wc -l
        ifconfig eth0 down; ifconfig eth0 | grep MTU; ifconfig eth0 up mtu 1300; ifconfig eth0 | grep MTU"""
    got = output(busybox(), "sh", "-c", script)
    same(got, """eth0      Link encap:Ethernet  HWaddr 52:54:00:11:22:33  
          inet addr:10.0.2.15  Bcast:10.0.2.255  Mask:255.255.255.0
          inet6 addr: fe80::5054:ff:fe11:2233/64 Scope:Link
          inet6 addr: fec0::15/64 Scope:Site
          UP BROADCAST RUNNING MULTICAST  MTU:1500  Metric:1
          collisions:0 txqueuelen:1000 

Kernel IP routing table
Destination     Gateway         Genmask         Flags Metric Ref    Use Iface
0.0.0.0         10.0.2.2        0.0.0.0         UG    0      0        0 eth0
10.0.2.0        0.0.0.0         255.255.255.0   U     0      0        0 eth0
          inet addr:10.0.2.20  Bcast:10.0.2.255  Mask:255.255.255.0
Kernel IP routing table
Destination     Gateway         Genmask         Flags Metric Ref    Use Iface
0.0.0.0         10.0.2.2        0.0.0.0         UG    0      0        0 eth0
10.0.2.0        0.0.0.0         255.255.255.0   U     0      0        0 eth0
10.8.0.0        10.0.2.2        255.255.0.0     UG    0      0        0 eth0
4
          BROADCAST MULTICAST  MTU:1500  Metric:1
          UP BROADCAST RUNNING MULTICAST  MTU:1300  Metric:1
""")


@test("net/config/sysfs")
def sysfs():
    script = """cd /sys/class/net; ls; readlink lo; for f in address mtu operstate carrier flags ifindex type speed duplex tx_queue_len; do echo $f `cat eth0/$f`; done
        cat lo/operstate lo/carrier lo/type; cat lo/speed; cat eth0/statistics/rx_errors; cat /proc/sys/net/ipv6/conf/eth0/mtu"""
    same(output(busybox(), "sh", "-c", f"exec 2>&1; {script}"), """eth0
lo
../../devices/virtual/net/lo
address 52:54:00:11:22:33
mtu 1500
operstate up
carrier 1
flags 0x1003
ifindex 2
type 1
speed -1
duplex unknown
tx_queue_len 1000
unknown
1
772
cat: read error: Invalid argument
0
1500
""")


@test("net/config/etc")
def etc():
    """resolv.conf, hosts, hostname: in an image that has none, one that has empty ones, and one that has its own."""
    options = ["-h", "longship", "--dns", "10.0.2.3", "--dns", "fec0::3", "--dns-search", "example.org", "--add-host", "db:10.0.0.7"]
    script = "cd /etc; cat resolv.conf hostname; grep -v '^f' hosts"
    wanted = f"search example.org\nnameserver 10.0.2.3\nnameserver fec0::3\nlongship\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost " \
             f"ip6-loopback\n{USER}\tlongship\n"
    for contents in [None, "", "127.0.0.9 mine\n"]:
        with scratch() as root:
            os.mkdir(f"{root}/etc")
            shutil.copy(busybox(), f"{root}/busybox")
            for name in ["resolv.conf", "hosts", "hostname"] if contents is not None else []:
                with open(f"{root}/etc/{name}", "w") as file:
                    file.write(contents)
            got = output("/busybox", "sh", "-c", script, root=root, options=options)
            if contents:
                same(got, contents * 3 + f"{USER}\tlongship\n10.0.0.7 db\n")  # what is of this run goes behind
            else:
                check(got.startswith(wanted) and "10.0.0.7" in got[len(wanted):], f"{contents!r}: {got!r}")


@test("net/config/wild")
def wild():
    """Requests without sense, on the kernel that checks itself."""
    got = knarr("-v", "-m", "128M", "--cpus", "2", "--kernel", kernel(), compiled("netlink_wild", "glibc"), "5000", "7")
    check(got.status == 0 and got.stdout == b"10000 requests of two processes, status 0\n", f"status {got.status}: {got.stdout!r} {got.stderr[-500:]!r}")
    silent(got)
