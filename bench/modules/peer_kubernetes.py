"""The official Python client: `stream`, in the fastest way its interface has.

KUBECONFIG lines|capture TOTAL FRAME
KUBECONFIG follow TOTAL
"""

from kubernetes import client, config
from kubernetes.stream import stream

from measure import CONTEXT, Measure, arguments


def lines(socket):
    # Not readline_stdout: it copies all that waits for each line, and loses what waits at the end.
    items, size, rest = 0, 0, b""
    while socket.is_open():
        socket.update(timeout=None)
        *whole, rest = (rest + (socket.read_stdout(timeout=0) or b"")).split(b"\n")
        for line in whole:
            items += 1
            size += len(line) + 1
    return items, size


def capture(socket):
    socket.run_forever()
    return 1, len(socket.read_all())


def follow(pods, measure):
    items, size = 0, 0
    log = pods.read_namespaced_pod_log("lines-0", "default", container="100m", follow=True, _preload_content=False)
    for line in log:
        items += 1
        size += len(line)
    measure.finish(items, size)


def main():
    kubeconfig, work, (total, *frame) = arguments()
    config.load_kube_config(kubeconfig, context=CONTEXT)
    pods = client.CoreV1Api()
    measure = Measure()
    if work == "follow":
        return follow(pods, measure)
    name, consume = {"lines": ("lines", lines), "capture": ("gen", capture)}[work]
    socket = stream(
        pods.connect_get_namespaced_pod_exec,
        "web-0",
        "default",
        container="app",
        command=[name, str(total), *map(str, frame)],
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
        binary=True,
        _preload_content=False,
    )
    measure.finish(*consume(socket))


main()
