#!/usr/bin/env python3
"""port-forward: wsx beside kubectl, on a real API server and kubelet (tests/real) and on the embedded cluster.

Both take turns round by round; every round starts a client, fetches one large body, makes short
requests one after the other (a connection each) and then 200 at once. Prints a table of medians and
writes one JSON line a run to target/bench.jsonl. Compare the ratios of one run, never two runs.

Options: --rounds N (default 5), --size BYTES of the large body (default 500 MB), --gate (exit 1 when a
target is missed), --only real|embedded.
"""

import argparse
import concurrent.futures
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
REAL = os.environ.get("WSX_REAL_BIN") or os.path.join(ROOT, "tests/real/bin")
WSX = os.path.join(TARGET, "release/kubectl-wsx")
CLUSTER = os.path.join(TARGET, "release/wsx-test-cluster")
# Short requests one after the other, and how many at once.
SHORT, AT_ONCE = 1000, 200


class Fixture:
    """A cluster that runs until its standard input ends."""

    def __init__(self, argv):
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.kubeconfig = self.child.stdout.readline().strip()
        if not self.kubeconfig:
            sys.exit(f"{argv[0]} did not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait()


class Client:
    """A port-forward that runs, stripped as it is shipped."""

    def __init__(self, program, kubeconfig, pod):
        argv = [*program, "port-forward", f"--kubeconfig={kubeconfig}", "--address=127.0.0.1", pod, ":8080"]
        self.child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.child.stdout.readline()
        self.port = int(line.split("127.0.0.1:")[1].split(" ")[0])
        # "Handling connection for …": nobody reads it, but the pipe must not fill.
        threading.Thread(target=lambda: [None for _ in self.child.stdout], daemon=True).start()

    def cpu(self):
        with open(f"/proc/{self.child.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self):
        with open(f"/proc/{self.child.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

    def fetch(self, size):
        """One request on a connection of its own, which the client closes once it has all."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(f"GET /bytes?n={size} HTTP/1.1\r\nHost: pod\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536) or sys.exit("an answer was cut")
            missing = size - len(head.partition(b"\r\n\r\n")[2])
            buffer = bytearray(1 << 20)
            while missing > 0:
                missing -= connection.recv_into(buffer) or sys.exit("an answer was cut")
            if missing < 0:
                sys.exit("more came than was promised")

    def measure(self, size):
        self.fetch(100)
        figures = {}

        def timed(name, work):
            cpu, begin = self.cpu(), time.perf_counter()
            work()
            figures[name] = time.perf_counter() - begin
            figures[f"{name}_cpu"] = self.cpu() - cpu

        def latencies():
            def one(_):
                begin = time.perf_counter()
                self.fetch(100)
                return time.perf_counter() - begin

            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                times = sorted(pool.map(one, range(AT_ONCE)))
            figures["p50"], figures["p99"] = times[len(times) // 2], times[len(times) * 99 // 100]

        timed("body", lambda: self.fetch(size))
        timed("short", lambda: [self.fetch(100) for _ in range(SHORT)])
        figures["rss"] = self.rss_mib()
        timed("at_once", latencies)
        self.child.terminate()
        self.child.wait()
        figures["cpu"] = figures["body_cpu"] + figures["short_cpu"]
        return figures


def stripped(folder):
    path = os.path.join(folder, "kubectl-wsx")
    shutil.copy(WSX, path)
    subprocess.run(["strip", path], check=True)
    return path


def compare(name, fixture, pod, programs, options, results):
    samples = {who: [] for who in programs}
    with fixture:
        for _ in range(options.rounds):
            for who, program in programs.items():
                sample = Client(program, fixture.kubeconfig, pod).measure(options.size)
                samples[who].append(sample)
                results.write(json.dumps({"what": f"forward {name}", "who": who, "load": os.getloadavg()[0], **sample}) + "\n")
    return {who: {key: statistics.median(one[key] for one in all) for key in all[0]} for who, all in samples.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=500_000_000)
    parser.add_argument("--only", choices=["real", "embedded"])
    parser.add_argument("--gate", action="store_true")
    options = parser.parse_args()
    kubectl = os.path.join(REAL, "kubectl")
    missed = False
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(TARGET, "bench.jsonl"), "a") as results:
        programs = {"wsx": [stripped(folder)], "kubectl": [kubectl if os.path.exists(kubectl) else shutil.which("kubectl")]}
        clusters = {"real": ([os.path.join(REAL, "wsx-real"), "--base", os.path.join(folder, "real")], "server-0"), "embedded": ([CLUSTER], "web-0")}
        for name, (argv, pod) in clusters.items():
            if options.only not in (None, name):
                continue
            if not os.path.exists(argv[0]):
                print(f"SKIPPED: the {name} cluster, {argv[0]} is not built")
                continue
            medians = compare(name, Fixture(argv), pod, programs, options, results)
            wsx, other = medians["wsx"], medians["kubectl"]
            print(f"\n{name} cluster, {options.rounds} rounds, {options.size / 1e6:.0f} MB body, {SHORT} short requests\n")
            print("| work | wsx | kubectl | ratio | target |\n|---|---|---|---|---|")
            rows = [
                ("body, s (speed)", "body", other["body"] / wsx["body"], 1.05, True),
                ("short requests, s (rate)", "short", other["short"] / wsx["short"], 1.7, True),
                ("CPU of both, s", "cpu", wsx["cpu"] / other["cpu"], 0.6, False),
                ("RSS, MiB", "rss", wsx["rss"] / other["rss"], 0.25, False),
                (f"{AT_ONCE} at once, p50, s", "p50", wsx["p50"] / other["p50"], None, False),
                (f"{AT_ONCE} at once, p99, s", "p99", wsx["p99"] / other["p99"], None, False),
            ]
            for words, key, ratio, bound, higher in rows:
                gated = name == "real" and bound is not None
                bad = gated and (ratio < bound if higher else ratio > bound)
                missed |= bad
                target = f"{'≥' if higher else '≤'} {bound}{' MISSED' if bad else ''}" if gated else ""
                print(f"| {words} | {wsx[key]:.3f} | {other[key]:.3f} | {ratio:.2f} | {target} |")
    if options.gate and missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
