"""The clusters that the tests talk to, and clients of theirs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubectl_wsx import Client

ROOT = Path(__file__).parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
EMBEDDED = TARGET / "debug/wsx-test-cluster"


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

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(EMBEDDED)
    yield cluster
    cluster.end()


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
