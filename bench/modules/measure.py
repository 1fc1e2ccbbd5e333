"""Measures one piece of work of this process and prints it as one JSON line.

Lives here: clock, CPU and memory of the process, and where the server is. Never here: a client.
"""

import json
import resource
import sys
import time
import urllib.parse

CONTEXT = "plain"


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def memory(key):
    """VmRSS (now) or VmHWM (highest so far) in MiB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key)) / 1024


class Measure:
    """From its making to `finish`; imports and the connection's settings come before."""

    def __init__(self):
        with open("/proc/self/clear_refs", "w") as peak:
            peak.write("5")  # the highest memory starts anew
        self.memory, self.cpu, self.begin = memory("VmRSS"), cpu(), time.perf_counter()

    def finish(self, items, size, **more):
        """Prints the line; `more` are figures of this work alone."""
        wall, spent, peak = time.perf_counter() - self.begin, cpu() - self.cpu, memory("VmHWM")
        sample = {"items": items, "bytes": size, "wall": wall, "cpu": spent, "rss_mib": peak, "growth_mib": peak - self.memory}
        print(json.dumps(sample | more), flush=True)


def server(kubeconfig):
    """The base URL of the cluster; its kubeconfig is JSON."""
    with open(kubeconfig) as text:
        clusters = json.load(text)["clusters"]
    return next(entry["cluster"]["server"] for entry in clusters if entry["name"] == CONTEXT)


def exec_url(kubeconfig, command):
    """The exec request for a client that knows nothing of Kubernetes."""
    query = [("command", word) for word in command] + [("container", "app"), ("stdout", "true"), ("stderr", "true")]
    base = server(kubeconfig).replace("http", "ws", 1)
    return f"{base}/api/v1/namespaces/default/pods/web-0/exec?{urllib.parse.urlencode(query)}"


def connections(kubeconfig):
    """Who is connected, as the server's kernel sees it: a peer that has sent its FIN is not."""
    port = urllib.parse.urlsplit(server(kubeconfig)).port
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return {row[2] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"}


def arguments():
    """KUBECONFIG WORK [TOTAL [FRAME]], as the driver gives them."""
    kubeconfig, work, *numbers = sys.argv[1:]
    return kubeconfig, work, [int(number) for number in numbers]
