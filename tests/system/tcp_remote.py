"""The peer of tests/guest/tcp_remote.c: does what the first line of each connection says. Prints its port and one that refuses."""
import socket
import struct
import threading
import time

last = {"said": "nothing"}
changed = threading.Condition()


def say(what):
    with changed:
        last["said"] = what
        changed.notify()


def report(s):
    time.sleep(0.15)  # the connection before has begun
    with changed:
        changed.wait_for(lambda: last["said"], 20)
        s.sendall(f"{last['said']}\n".encode())


def drain(s, pause=0, piece=1 << 16):
    count, chunks = 0, []
    try:
        while True:
            time.sleep(pause)
            data = s.recv(piece)
            if not data:
                return count, "end"
            count += len(data)
    except OSError as error:
        return count, type(error).__name__


def serve(s):
    line = b""
    while not line.endswith(b"\n"):
        part = s.recv(1)
        if not part:
            s.close()
            return
        line += part
    what = line.decode().strip()
    if what != "report":
        with changed:
            last["said"] = None
    if what == "report":
        report(s)
    elif what == "fin":
        s.sendall(b"bye")
        say("fin")
    elif what in ("rst", "data and rst"):
        if what != "rst":
            s.sendall(b"data")
            time.sleep(0.05)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif what == "echo":
        try:
            while True:
                data = s.recv(1000)
                if not data:
                    break
                s.sendall(data)
            say("end")
        except OSError as error:
            say(type(error).__name__)
    elif what in ("sink", "greet"):
        if what == "greet":
            s.sendall(b"hello")
        say("%d bytes, %s" % drain(s))
    elif what == "slow":
        time.sleep(0.3)
        say("%d bytes, %s" % drain(s, 0.001))
    elif what == "source":
        for _ in range(10):
            s.sendall(b"x" * 100000)
    elif what == "pieces":
        first = s.recv(10)
        s.sendall(first + b"!")
    s.close()


listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=50)
refusing = socket.socket(socket.AF_INET6)
refusing.bind(("::", 0))
print(listener.getsockname()[1], refusing.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
