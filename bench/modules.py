#!/usr/bin/env python3
"""The Python and Node modules beside today's clients, on the embedded cluster, in one interleaved run.

Every program of bench/modules runs as a process of its own and prints one JSON line about itself. This
prints medians and ratios with their targets, and appends the lines to target/bench.jsonl. Figures of
different runs must not be compared. bench/README.md says what each work is.

Options: --rounds N (default 5), --only WORD (works whose name holds it), --gate (exit 1 when a target
is missed).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
CLUSTER = os.path.join(TARGET, "release/wsx-test-cluster")
PYTHON = [os.path.join(TARGET, "bench-venv/bin/python"), os.path.join(ROOT, "bench/modules")]
NODE = [os.path.join(TARGET, "bench-node/node_modules/.bin/node"), os.path.join(TARGET, "bench-node")]
MB, GB, FRAME = 1 << 20, 1 << 30, 32768
#: Lines of 100 bytes; clients whose time grows with the square of the size get few.
LINES, FEW = 100_000_000, 2_000_000
#: What the log of lines-0 has, in lines of 100 bytes.
LOG = 104_857_600

# Work, then each contender with its program and arguments.
WORKS = {
    "py lines, 100 B frames": {
        "wsx": ("wsx_python.py", "lines", LINES, 100),
        "aiohttp": ("peer_aiohttp.py", "lines", LINES, 100),
        "kr8s": ("peer_kr8s.py", "lines", FEW, 100),
        "kubernetes": ("peer_kubernetes.py", "lines", FEW, 100),
    },
    "py lines, 32 KiB frames": {
        "wsx": ("wsx_python.py", "lines", LINES, FRAME),
        "aiohttp": ("peer_aiohttp.py", "lines", LINES, FRAME),
    },
    "py logs, followed": {
        "wsx": ("wsx_python.py", "follow", LOG),
        "wsx, exec": ("wsx_python.py", "lines", LOG, 100),
        "kubernetes": ("peer_kubernetes.py", "follow", LOG),
    },
    "py chunks, 32 KiB": {
        "wsx": ("wsx_python.py", "chunks", GB, FRAME),
        "aiohttp": ("peer_aiohttp.py", "chunks", GB, FRAME),
    },
    "node lines, 100 B frames": {
        "wsx": ("wsx_node.mjs", "lines", LINES, 100),
        "client-node": ("peer_client_node.mjs", "lines", LINES, 100),
        "ws": ("peer_ws.mjs", "lines", LINES, 100),
    },
    "node chunks, 32 KiB": {
        "wsx": ("wsx_node.mjs", "chunks", GB, FRAME),
        "client-node": ("peer_client_node.mjs", "chunks", GB, FRAME),
        "ws": ("peer_ws.mjs", "chunks", GB, FRAME),
        "net": ("peer_net.mjs", "chunks", GB, FRAME),
        "net, 1 buffer": ("peer_net.mjs", "chunks", GB, FRAME, 1),
        "memory": ("floor_readable.mjs", "chunks", GB, FRAME),
    },
    "py run, 64 MB": {
        "wsx": ("wsx_python.py", "capture", 64 * MB, FRAME),
        "kr8s": ("peer_kr8s.py", "capture", 64 * MB, FRAME),
        "kubernetes": ("peer_kubernetes.py", "capture", 64 * MB, FRAME),
    },
    "py run, 1 GB": {"wsx": ("wsx_python.py", "capture", GB, FRAME)},
    "node run, 64 MB": {
        "wsx": ("wsx_node.mjs", "capture", 64 * MB, FRAME),
        "client-node": ("peer_client_node.mjs", "capture", 64 * MB, FRAME),
    },
    "node run, 1 GB": {"wsx": ("wsx_node.mjs", "capture", GB, FRAME)},
    "py slow reader, 256 MB": {"wsx": ("wsx_python.py", "slow", 256 * MB, FRAME)},
    "node slow reader, 256 MB": {"wsx": ("wsx_node.mjs", "slow", 256 * MB, FRAME)},
    "py cancelled reads": {"wsx": ("wsx_python.py", "cancel", 5000, 3000)},
    "node aborted reads": {"wsx": ("wsx_node.mjs", "cancel", 5000, 3000)},
    "py leaving": {"wsx": ("wsx_python.py", "leave")},
    "node leaving": {"wsx": ("wsx_node.mjs", "leave")},
    "py 1000 runs at once": {"wsx": ("wsx_python.py", "many", 1000)},
    "node 1000 runs at once": {"wsx": ("wsx_node.mjs", "many", 1000)},
    "py import": {"wsx": ("import_python.py", "import")},
    "node import": {"wsx": ("import_node.cjs", "import"), "wsx, require": ("import_node.cjs", "require")},
}
#: They take a minute for what takes us a tenth of a second.
ONCE = {("py run, 64 MB", "kr8s"), ("py run, 64 MB", "kubernetes")}


class Failed(Exception):
    """A program did not do its work."""


def spent(process):
    """The CPU seconds of a process that runs."""
    with open(f"/proc/{process.pid}/stat") as stat:
        user, system = stat.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def run(cluster, kubeconfig, program, work, *numbers):
    """Runs one program; returns what it says of itself, and what the cluster spent on it."""
    before = spent(cluster)
    interpreter, folder = PYTHON if program.endswith(".py") else NODE
    argv = [interpreter, os.path.join(folder, program), kubeconfig, work, *map(str, numbers)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=900)
    if done.returncode != 0 or not done.stdout.startswith("{"):
        raise Failed(f"{program} {work}: exit {done.returncode}: {done.stdout[-500:]}{done.stderr[-2000:]}")
    sample = json.loads(done.stdout) | {"server_cpu": spent(cluster) - before}
    if work in ("lines", "follow", "chunks", "capture", "slow") and sample["bytes"] != numbers[0]:
        raise Failed(f"{program} {work}: {sample['bytes']} of {numbers[0]} bytes")
    return sample


class Figures:
    """What was measured, and its medians."""

    def __init__(self):
        self.samples = {}

    def add(self, work, who, sample):
        sample["items_s"] = sample["items"] / sample["wall"]
        sample["mb_s"] = sample["bytes"] / sample["wall"] / 1e6
        sample["us_item"] = sample["cpu"] / sample["items"] * 1e6
        self.samples.setdefault(work, {}).setdefault(who, []).append(sample)

    def all(self, work, who, key):
        return [sample[key] for sample in self.samples[work][who]]

    def __call__(self, work, who, key):
        return statistics.median(self.all(work, who, key))

    def ratio(self, work, peer, key):
        return self(work, "wsx", key) / self(work, peer, key)

    def worst(self, work, key):
        return max(self.all(work, "wsx", key))


def best(f):
    """How fast two cores were for Node if receiving, memory to hand out and the server overlapped without a gap, and nothing else were done."""
    work = "node chunks, 32 KiB"
    whole = f(work, "net, 1 buffer", "cpu") + f(work, "memory", "cpu") + f(work, "wsx", "server_cpu")
    return f(work, "client-node", "wall") / (whole / 2)


# What, how it is computed, and its bound. Ratios are of one run; these make up the gate.
TARGETS = [
    ("py lines, 100 B frames: rate, × aiohttp", lambda f: f.ratio("py lines, 100 B frames", "aiohttp", "items_s"), ">=", 0.7),
    ("py lines, 100 B frames: rate, × kubernetes", lambda f: f.ratio("py lines, 100 B frames", "kubernetes", "items_s"), ">=", 20),
    ("py chunks: rate, × aiohttp", lambda f: f.ratio("py chunks, 32 KiB", "aiohttp", "mb_s"), ">=", 0.7),
    ("node lines: rate, × client-node", lambda f: f.ratio("node lines, 100 B frames", "client-node", "items_s"), ">=", 1),
    ("node chunks: rate, × client-node", lambda f: f.ratio("node chunks, 32 KiB", "client-node", "mb_s"), ">=", 2),
    ("py run: time of 1 GB / 64 MB", lambda f: f("py run, 1 GB", "wsx", "wall") / f("py run, 64 MB", "wsx", "wall"), "<=", 18),
    ("node run: time of 1 GB / 64 MB", lambda f: f("node run, 1 GB", "wsx", "wall") / f("node run, 64 MB", "wsx", "wall"), "<=", 18),
    ("py run, 64 MB: CPU, × kubernetes", lambda f: f.ratio("py run, 64 MB", "kubernetes", "cpu"), "<=", 0.05),
    ("node run, 64 MB: CPU, × Python's kubernetes", lambda f: f("node run, 64 MB", "wsx", "cpu") / f("py run, 64 MB", "kubernetes", "cpu"), "<=", 0.05),
    ("py slow reader: growth, MiB, worst", lambda f: f.worst("py slow reader, 256 MB", "growth_mib"), "<=", 32),
    ("node slow reader: growth, MiB, worst", lambda f: f.worst("node slow reader, 256 MB", "growth_mib"), "<=", 32),
    ("py cancelled reads: lost, worst", lambda f: f.worst("py cancelled reads", "lost"), "<=", 0),
    ("py cancelled reads: cancelled", lambda f: min(f.all("py cancelled reads", "wsx", "cancelled")), ">=", 3000),
    ("node aborted reads: lost, worst", lambda f: f.worst("node aborted reads", "lost"), "<=", 0),
    ("node aborted reads: aborted", lambda f: min(f.all("node aborted reads", "wsx", "cancelled")), ">=", 3000),
    ("py leaving: slowest, s, worst", lambda f: f.worst("py leaving", "slowest_s"), "<=", 1),
    ("node leaving: slowest, s, worst", lambda f: f.worst("node leaving", "slowest_s"), "<=", 1),
    ("py 1000 runs at once: errors, worst", lambda f: f.worst("py 1000 runs at once", "errors"), "<=", 0),
    ("node 1000 runs at once: errors, worst", lambda f: f.worst("node 1000 runs at once", "errors"), "<=", 0),
    ("py import above asyncio, ms", lambda f: f("py import", "wsx", "wall") * 1e3, "<=", 50),
]

# The bars of the reference bindings.md F: they depend on the machine, and are only told.
BARS = [
    ("py lines, 100 B frames: thousand/s", lambda f: f("py lines, 100 B frames", "wsx", "items_s") / 1e3, ">=", 300),
    ("py lines, 100 B frames: CPU µs/line", lambda f: f("py lines, 100 B frames", "wsx", "us_item"), "<=", 2),
    ("py lines, 32 KiB frames: rate, × aiohttp", lambda f: f.ratio("py lines, 32 KiB frames", "aiohttp", "items_s"), ">=", 0.7),
    ("py logs: rate, × exec's lines", lambda f: f.ratio("py logs, followed", "wsx, exec", "items_s"), ">=", 1),
    ("py chunks: GB/s", lambda f: f("py chunks, 32 KiB", "wsx", "mb_s") / 1e3, ">=", 1),
    ("node lines: thousand/s", lambda f: f("node lines, 100 B frames", "wsx", "items_s") / 1e3, ">=", 700),
    ("node chunks: rate of a bare socket (net), × client-node", lambda f: f("node chunks, 32 KiB", "net", "mb_s") / f("node chunks, 32 KiB", "client-node", "mb_s"), ">=", 2),
    ("node chunks: rate, × ws", lambda f: f.ratio("node chunks, 32 KiB", "ws", "mb_s"), ">=", 1),
    ("node chunks: most that two cores could do, × client-node", best, ">=", 2),
    ("node chunks: GB/s", lambda f: f("node chunks, 32 KiB", "wsx", "mb_s") / 1e3, ">=", 1),
    ("py run, 64 MB: s", lambda f: f("py run, 64 MB", "wsx", "wall"), "<=", 0.5),
    ("node run, 64 MB: s", lambda f: f("node run, 64 MB", "wsx", "wall"), "<=", 0.5),
    ("node import, ms", lambda f: f("node import", "wsx", "wall") * 1e3, "<=", 50),
    ("node require, ms", lambda f: f("node import", "wsx, require", "wall") * 1e3, "<=", 50),
]


def table(figures):
    print(f"\n{'work':25} {'client':13} {'n':>2} {'wall s':>8} {'(min–max)':>16} {'items/s':>10} {'MB/s':>7} {'CPU s':>8} {'µs/item':>9} {'RSS MiB':>8} {'growth':>7}")
    for work, clients in figures.samples.items():
        for who in clients:
            walls = figures.all(work, who, "wall")
            spread = f"({min(walls):.3f}–{max(walls):.3f})"
            wall, items, rate, cpu, each = (figures(work, who, key) for key in ("wall", "items_s", "mb_s", "cpu", "us_item"))
            memory = ""
            if "import" not in work:
                memory = f" {figures(work, who, 'rss_mib'):8.1f} {figures(work, who, 'growth_mib'):7.1f}"
            print(f"{work:25} {who:13} {len(walls):2} {wall:8.3f} {spread:>16} {items:10.0f} {rate:7.0f} {cpu:8.3f} {each:9.2f}{memory}")


def compare(figures, title, bounds):
    """Prints figures beside their bounds; returns those that miss."""
    print(f"\n{title:45} {'is':>9}   bound")
    missed = []
    for name, compute, sign, bound in bounds:
        try:
            value = compute(figures)
        except KeyError:  # left out by --only
            continue
        good = value <= bound if sign == "<=" else value >= bound
        print(f"{name:45} {value:9.3f}   {sign} {bound:g}{'' if good else '   MISSED'}")
        if not good:
            missed.append(f"{name}: {value:.3f}")
    return missed


def load():
    return os.getloadavg()[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--gate", action="store_true")
    options = parser.parse_args()
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    versions = [subprocess.run([tool[0], "--version"], capture_output=True, text=True).stdout.strip() for tool in (PYTHON, NODE)]
    print(f"commit {commit}; {versions[0]}; Node {versions[1]}; {os.cpu_count()} cores; {options.rounds} rounds, interleaved, medians; load {load():.1f}")

    cluster = subprocess.Popen([CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    kubeconfig = cluster.stdout.readline().strip()
    figures, failed = Figures(), []
    try:
        with open(os.path.join(TARGET, "bench.jsonl"), "a") as log:
            for round_ in range(options.rounds):
                for work, clients in WORKS.items():
                    if options.only not in work:
                        continue
                    for who, call in list(clients.items())[:: -1 if round_ % 2 else 1]:
                        if round_ and (work, who) in ONCE:
                            continue
                        began = load()
                        try:
                            sample = run(cluster, kubeconfig, *call)
                        except Failed as failure:
                            if who.startswith("wsx"):
                                sys.exit(str(failure))
                            failed.append(f"{work}, {who}: {str(failure).splitlines()[-1]}")
                            continue
                        figures.add(work, who, sample)
                        print(json.dumps({"commit": commit, "what": work, "who": who, "load": began, **sample}), file=log, flush=True)
    finally:
        cluster.stdin.close()
        cluster.wait()

    table(figures)
    missed = compare(figures, "target (issue 5)", TARGETS)
    compare(figures, "bar (bindings.md F), not gated", BARS)
    for failure in failed:
        print(f"\na peer failed, and its round is left out: {failure}")
    print(f"\nload at the end {load():.1f}" + (f"; missed: {'; '.join(missed)}" if missed else ""))
    sys.exit(1 if (missed or failed) and options.gate else 0)


main()
