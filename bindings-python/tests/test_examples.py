"""The examples run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from conftest import ROOT, Arranged, Cluster

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


def test_follow_many(cluster: Cluster) -> None:
    labels = {"create": {"labels": {"app": "py-example"}}}
    first, second = cluster.log("py-first"), cluster.log("py-second-0")
    first.run(**labels, write=[{"text": "one"}])
    command = [sys.executable, str(EXAMPLES / "follow_many.py"), "app=py-example"]
    environment = {**os.environ, "KUBECONFIG": cluster.kubeconfig}
    running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout and running.stdout.readline() == b"py-first app| one\n"
    second.run(**labels, write=[{"text": "two"}])  # it joins
    assert running.stdout.readline() == b"py-second-0 app| two\n"
    first.run(write=[{"text": "three"}], exit=3)
    assert running.stdout.readline() == b"py-first app| three\n"
    assert running.stderr and running.stderr.readline() == b"py-first app: started\n"
    assert running.stderr.readline() == b"py-second-0 app: started\n"
    assert running.stderr.readline() == b"py-first app: ended exit code 3\n"
    running.send_signal(signal.SIGINT)
    assert running.communicate(timeout=10) == (b"", b"")
    assert running.returncode == 0


def test_forward_http(cluster: Cluster, ports: Arranged, pod: str) -> None:
    environment = {**os.environ, "KUBECONFIG": cluster.kubeconfig}
    command = [sys.executable, str(EXAMPLES / "forward_http.py"), pod, "http", "/", "/nothing", "/bytes?n=0"]
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=20)
    lines = ended.stdout.decode().splitlines()
    assert lines[0] == f"/: 200 {pod}" and lines[1] == "/nothing: 404 not here" and lines[-1] == "/bytes?n=0: 200 "
    assert (ended.returncode, ended.stderr) == (0, b"")
    ended = subprocess.run([*command[:-2], "/reset?n=9&of=99"], env=environment, capture_output=True, timeout=20)
    assert ended.returncode == 1 and ended.stderr.startswith(b"the connection to port http was cut\nwhy: ")
