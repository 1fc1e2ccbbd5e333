"""The examples run."""

from __future__ import annotations

import os
import subprocess
import sys

from conftest import ROOT, Cluster

EXAMPLES = ROOT / "bindings-python/examples"


def test_run_many(cluster: Cluster) -> None:
    command = [sys.executable, str(EXAMPLES / "run_many.py"), "web-0", "deploy/web", "nope", "done-0", "--"]
    environment = {**os.environ, "KUBECONFIG": cluster.kubeconfig}
    script = "echo $POD_NAME; test $POD_NAME = web-0"
    ended = subprocess.run([*command, "sh", "-c", script], env=environment, capture_output=True, timeout=20)
    assert ended.stdout.decode().splitlines()[:2] == ["web-0: exit code 0: web-0", "deploy/web: exit code 1: deploy-c"]
    assert [line.split(":")[1] for line in ended.stdout.decode().splitlines()[2:]] == [
        " not_found, it did not run",
        " not_started, it did not run",
    ]
    assert (ended.returncode, ended.stderr) == (1, b"")
