"""The clusters that the tests talk to, and clients of theirs."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kubectl_wsx import Client

ROOT = Path(__file__).parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
EMBEDDED = TARGET / "debug/wsx-test-cluster"


class Arranged:
    """Something of the embedded cluster that changes on demand (tests/README.md)."""

    def __init__(self, url: str) -> None:
        self._url = url

    def run(self, **words: Any) -> Any:
        """Does what the words say, in the order of the table."""
        request = urllib.request.Request(self._url, json.dumps(words).encode())
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())[0]


class Log(Arranged):
    """A log."""

    def write(self, *lines: str) -> None:
        self.run(write=[{"text": line} for line in lines])


class Cluster:
    """A cluster that runs as a program."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.kubeconfig = self.process.stdout.readline().decode().strip()
        assert self.kubeconfig, f"{program} did not start"

    def sockets(self) -> int:
        """How many sockets it holds."""
        count = 0
        for entry in os.scandir(f"/proc/{self.process.pid}/fd"):
            try:
                count += os.readlink(entry.path).startswith("socket:")
            except FileNotFoundError:
                pass
        return count

    def log(self, pod: str, container: str = "app", namespace: str = "default") -> Log:
        """Leads to a log."""
        return Log(f"{self._server()}/__wsx/log/{namespace}/{pod}/{container}")

    def ports(self, pod: str, namespace: str = "default", **words: Any) -> Arranged:
        """Leads to the ports of a pod, after doing what the words say."""
        ports = Arranged(f"{self._server()}/__wsx/forward/{namespace}/{pod}")
        if words:
            ports.run(**words)
        return ports

    def _server(self) -> str:
        clusters = json.loads(Path(self.kubeconfig).read_text())["clusters"]
        server: str = next(each["cluster"]["server"] for each in clusters if each["name"] == "plain")
        return server

    def order(self, command: str) -> None:
        """Tells the real cluster what to do (tests/real/README.md), and waits for it."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        assert json.loads(self.process.stdout.readline())["done"] == command

    def end(self) -> None:
        self.process.communicate()


@contextmanager
def own_cluster() -> Iterator[Cluster]:
    cluster = Cluster(EMBEDDED)
    try:
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(EMBEDDED)
    yield cluster
    cluster.end()


@pytest.fixture
def pod(request: pytest.FixtureRequest) -> str:
    """A name for a pod that only this test has."""
    name = "".join(each if each.isalnum() else "-" for each in request.node.name.lower())
    return f"{name.removeprefix('test-')[:40]}-{zlib.crc32(request.node.name.encode())}"


@pytest.fixture
def ports(cluster: Cluster, pod: str) -> Arranged:
    """The ports of that pod, which runs."""
    return cluster.ports(pod, create={})


@pytest.fixture(scope="session")
def real() -> Iterator[Cluster]:
    program = Path(os.environ.get("WSX_REAL_BIN", ROOT / "tests/real/bin")) / "wsx-real"
    if not program.exists():
        pytest.skip("the real Kubernetes is not built (needs Go; `make judge` builds it)")
    cluster = Cluster(program)
    yield cluster
    cluster.end()


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with Client.connect(cluster.kubeconfig) as client:
        yield client
