#!/usr/bin/env python3
"""wsx beside kubectl on the embedded cluster, in one interleaved run.

Prints a table of medians and writes one JSON line a run to target/bench.jsonl. Figures of different
runs must not be compared: machines are noisy and shared, only the ratios of one run mean something.

Options: --rounds N (default 5), --size BYTES (default 1 GiB), --kubectl PATH, --gate (exit 1 when a
target of the table is missed).
"""

import argparse
import array
import base64
import hashlib
import json
import os
import shutil
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
WSX = os.path.join(TARGET, "release/kubectl-wsx")
CLUSTER = os.path.join(TARGET, "release/wsx-test-cluster")
GIB = 1 << 30
FRAME = 32768
# Logs that are followed at once, and how many of their lines are awaited.
MANY, MANY_LINES = 50, 200_000


def find_kubectl(given):
    """The real binary: a dispatcher may stand on PATH."""
    folder = "/usr/lib/google-cloud-sdk/bin"
    versions = sorted(name for name in os.listdir(folder) if name.startswith("kubectl.1.")) if os.path.isdir(folder) else []
    return given or os.environ.get("WSX_KUBECTL") or (os.path.join(folder, versions[-1]) if versions else shutil.which("kubectl"))


def run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, reader=None, left=False):
    """Runs a program; returns wall and CPU seconds, the highest VmHWM seen, and its output's check.

    With `left` it goes on for ever and is ended once the reader has enough.
    """
    begin = time.perf_counter()
    child = subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE if reader else stdout, stderr=subprocess.PIPE)
    peak = [0]

    def watch():
        while True:
            try:
                with open(f"/proc/{child.pid}/status") as status:
                    lines = [line for line in status if line.startswith("VmHWM")]
            except OSError:
                return
            if not lines:
                return
            peak[0] = max(peak[0], int(lines[0].split()[1]))
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = reader(child.stdout) if reader else None
    if left:
        child.terminate()
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begin
    watcher.join()
    if child.returncode != 0 and not left:
        sys.exit(f"{argv[0]}: exit {child.returncode}: {errors.decode(errors='replace')}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss_mib": peak[0] / 1024, "result": result}


def pattern_hash(size):
    """SHA-256 of what `gen` prints: each 8-byte little-endian word is its own index."""
    digest = hashlib.sha256()
    step = 1 << 20
    for first in range(0, size // 8, step):
        digest.update(array.array("Q", range(first, min(first + step, size // 8))).tobytes())
    return digest.hexdigest()


def hash_all(stream):
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


class Raw:
    """A reader and writer in Python that only counts: what the embedded cluster gives at least."""

    def __init__(self, kubeconfig, context):
        config = subprocess.check_output([KUBECTL, f"--kubeconfig={kubeconfig}", f"--context={context}", "config", "view", "--minify", "--raw", "-o", "json"])
        config = json.loads(config)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        url = urllib.parse.urlsplit(cluster["server"])
        self.address, self.token, self.tls = (url.hostname, url.port), user["token"], None
        if url.scheme == "https":
            self.tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())

    def open(self, command, stdin):
        query = "&".join("command=" + urllib.parse.quote(word) for word in command)
        query += f"&container=app&stdout=true&stderr=true&stdin={'true' if stdin else 'false'}"
        connection = socket.create_connection(self.address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            connection = self.tls.wrap_socket(connection, server_hostname=self.address[0])
        protocol = "v5.channel.k8s.io" if stdin else "v4.channel.k8s.io"
        head = f"GET /api/v1/namespaces/default/pods/web-0/exec?{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocol}\r\nAuthorization: Bearer {self.token}\r\n\r\n"
        connection.sendall(head.encode())
        return connection

    def output(self, size):
        connection, buffer, seen = self.open(["gen", str(size)], False), bytearray(1 << 20), 0
        while count := connection.recv_into(buffer):
            seen += count
        if seen < size:
            sys.exit(f"raw reader: {seen} of {size} bytes")

    def input(self, size):
        connection = self.open(["sink"], True)
        key = b"\x01\x02\x03\x04"
        payload = bytes(byte ^ key[index % 4] for index, byte in enumerate(b"\x00" + bytes(FRAME)))
        frame = b"\x82\xfe" + struct.pack(">H", FRAME + 1) + key + payload
        for _ in range(size // FRAME // 16):
            connection.sendall(frame * 16)
        connection.sendall(b"\x82\x82" + key + bytes([0xFF ^ 1, 0 ^ 2]))
        tail = b""
        while block := connection.recv(65536):
            tail += block
        if str(size).encode() not in tail:
            sys.exit(f"raw writer: the server did not receive {size} bytes: {tail[-200:]!r}")

    def measure(self, work, size):
        begin, cpu = time.perf_counter(), time.process_time()
        work(size)
        return {"wall": time.perf_counter() - begin, "cpu": time.process_time() - cpu, "rss_mib": 0, "result": None}


def main():
    global KUBECTL
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=GIB)
    parser.add_argument("--kubectl")
    parser.add_argument("--gate", action="store_true")
    options = parser.parse_args()
    KUBECTL = find_kubectl(options.kubectl)
    if not KUBECTL:
        sys.exit("kubectl is not on PATH, and the bench compares with it")
    size = options.size // (16 * FRAME) * 16 * FRAME
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    version = subprocess.run([KUBECTL, "version", "--client"], capture_output=True, text=True).stdout.split("\n")[0]
    print(f"kubectl: {KUBECTL} ({version}); commit {commit}; {os.cpu_count()} cores; {size} bytes; {options.rounds} rounds, interleaved, medians")

    cluster = subprocess.Popen([CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    kubeconfig = cluster.stdout.readline().strip()
    rows, sizes = {}, {}
    log = open(os.path.join(TARGET, "bench.jsonl"), "a")

    def record(what, who, sample):
        rows.setdefault(what, {}).setdefault(who, []).append(sample)
        sample = {key: value for key, value in sample.items() if key != "result"}
        print(json.dumps({"commit": commit, "what": what, "who": who, "size": size, **sample}), file=log, flush=True)

    def programs(context):
        flags = [f"--kubeconfig={kubeconfig}", f"--context={context}"]
        return {
            "kubectl": lambda verb: [KUBECTL, *flags, *verb],
            "wsx": lambda verb: [WSX, *verb[:1], *flags, *verb[1:]],
        }

    try:
        source = tempfile.NamedTemporaryFile(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        source.write(os.urandom(1 << 20) * (size >> 20))
        source.flush()
        expected = pattern_hash(size)

        for who, program in programs("v1.35").items():
            argv = program(["exec", "web-0", "-c", "app", "--", "gen", str(size)])
            if run(argv, reader=hash_all)["result"] != expected:
                sys.exit(f"{who}: the bytes are not those that were sent")
            for _ in range(2):  # fill kubectl's discovery cache
                run(program(["exec", "web-0", "-c", "app", "--", "true"]))

        def count(stream):
            text = stream.read().decode()
            if text.strip() != str(size):
                sys.exit(f"the server received {text.strip()} of {size} bytes")

        def drain(stream):
            buffer, seen = bytearray(1 << 20), 0
            while got := stream.readinto(buffer):
                seen += got
            if seen != size:
                sys.exit(f"{seen} of {size} bytes")

        # Numbered lines of 100 bytes; the container has ended, so that a follow ends with it.
        lines = "1g" if size >= GIB else "100m"
        length = (GIB if size >= GIB else 100 << 20) // 100 * 100
        sizes["logs -f, TLS"] = sizes["logs -f into a pipe, TLS"] = length

        def drain_lines(stream):
            buffer, seen = bytearray(1 << 20), 0
            while got := stream.readinto(buffer):
                seen += got
            if seen != length:
                sys.exit(f"logs: {seen} of {length} bytes")

        def some_lines(stream):
            seen = 0
            while seen < MANY_LINES:
                seen += stream.read1(1 << 20).count(b"\n")

        plain = Raw(kubeconfig, "plain").address
        for number in range(MANY):
            words = json.dumps({"create": {"labels": {"app": "many"}}, "rate": 1000}).encode()
            urllib.request.urlopen(f"http://{plain[0]}:{plain[1]}/__wsx/log/default/many-{number}/app", words).read()

        for round_ in range(options.rounds):
            pairs = list(programs("v1.35").items())
            for who, program in pairs if round_ % 2 else pairs[::-1]:
                follow = program(["logs", "-f", "lines-0", "-c", lines])
                record("logs -f, TLS", who, run(follow))
                record("logs -f into a pipe, TLS", who, run(follow, reader=drain_lines))
                argv = program(["logs", "-f", "-l", "app=many", "--tail=0", f"--max-log-requests={MANY}"])
                record(f"{MANY} logs at once, TLS", who, run(argv, reader=some_lines, left=True))
            for context, label in (("v1.35", "TLS"), ("plain", "plain")):
                raw = Raw(kubeconfig, context)
                pairs = list(programs(context).items())
                for who, program in pairs if round_ % 2 else pairs[::-1]:
                    generate = program(["exec", "web-0", "-c", "app", "--", "gen", str(size)])
                    record(f"stdout, {label}", who, run(generate))
                    if label == "TLS":
                        record(f"stdout into a pipe, {label}", who, run(generate, reader=drain))
                    with open(source.name, "rb") as stdin:
                        argv = program(["exec", "-i", "web-0", "-c", "app", "--", "sink"])
                        record(f"stdin, {label}", who, run(argv, stdin=stdin, reader=count))
                record(f"stdout, {label}", "raw socket", raw.measure(raw.output, size))
                record(f"stdin, {label}", "raw socket", raw.measure(raw.input, size))
        for _ in range(max(15, options.rounds)):
            for who, program in programs("v1.35").items():
                record("exec -- true", who, run(program(["exec", "web-0", "-c", "app", "--", "true"])))
        for who, argv in (("wsx, no preflight", [WSX, "exec", f"--kubeconfig={kubeconfig}", "web-0", "-c", "app", "--no-preflight", "--", "true"]),):
            for _ in range(15):
                record("exec -- true", who, run(argv))
    finally:
        cluster.stdin.close()
        cluster.wait()

    missed = report(rows, sizes, size)
    if missed:
        print("missed: " + "; ".join(missed))
    sys.exit(1 if missed and options.gate else 0)


# What, the figure, and the bound of wsx divided by kubectl: at most for CPU and memory, at least for speed.
TARGETS = [
    ("stdout, TLS", "cpu", "<=", 0.60),
    ("stdin, TLS", "cpu", "<=", 0.75),
    ("stdout, TLS", "speed", ">=", 1.25),
    ("stdin, TLS", "speed", ">=", 1.15),
    ("stdout, TLS", "rss_mib", "<=", 0.20),
    ("stdin, TLS", "rss_mib", "<=", 0.20),
    ("exec -- true", "cpu", "<=", 0.10),
    ("logs -f, TLS", "cpu", "<=", 0.60),
    ("logs -f, TLS", "speed", ">=", 1.00),
]

# What wsx may take in MiB, whatever kubectl takes.
MEMORY = [("logs -f, TLS", 25), (f"{MANY} logs at once, TLS", 60)]


def report(rows, sizes, usual):
    def median(what, who, key):
        return statistics.median(sample[key] for sample in rows[what][who])

    print(f"\n{'work':26} {'client':18} {'n':>3} {'wall s':>8} {'(min–max)':>15} {'GB/s':>6} {'CPU s':>8} {'CPU s/GiB':>10} {'RSS MiB':>8}")
    for what, clients in rows.items():
        for who in clients:
            walls = sorted(sample["wall"] for sample in clients[who])
            wall, cpu, rss = (median(what, who, key) for key in ("wall", "cpu", "rss_mib"))
            data = "std" in what or "logs" in what
            size = sizes.get(what, usual)
            if what.startswith(str(MANY)):
                size = MANY_LINES * 100
            rate = f"{size / wall / 1e9:6.2f}" if data else "     -"
            each = f"{cpu * GIB / size:10.3f}" if data else "         -"
            # A run of some milliseconds is over before its memory was looked at.
            memory = f"{rss:8.1f}" if data and rss else "       -"
            print(f"{what:26} {who:18} {len(walls):3} {wall:8.3f} {f'({walls[0]:.3f}–{walls[-1]:.3f})':>15} {rate} {cpu:8.4f} {each} {memory}")
    print(f"\n{'wsx / kubectl':26} {'ratio':>7}   target")
    missed = []
    for what, key, sign, bound in TARGETS:
        if key == "speed":
            ratio = median(what, "kubectl", "wall") / median(what, "wsx", "wall")
        else:
            ratio = median(what, "wsx", key) / median(what, "kubectl", key)
        good = ratio <= bound if sign == "<=" else ratio >= bound
        print(f"{what + ', ' + key:26} {ratio:7.3f}   {sign} {bound} {'' if good else '  MISSED'}")
        if not good:
            missed.append(f"{what} {key} {ratio:.3f}")
    for what, bound in MEMORY:
        rss = median(what, "wsx", "rss_mib")
        print(f"{what + ', MiB':26} {rss:7.1f}   <= {bound} {'' if rss <= bound else '  MISSED'}")
        if rss > bound:
            missed.append(f"{what} {rss:.1f} MiB")
    return missed


main()
