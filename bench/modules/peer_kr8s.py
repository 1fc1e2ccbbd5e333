"""kr8s: its `Exec`, into an object that splits lines, or captured.

KUBECONFIG lines|capture TOTAL FRAME
"""

import asyncio

import kr8s.asyncio
from kr8s._exec import Exec
from kr8s.asyncio.objects import Pod

from measure import CONTEXT, Measure, arguments


class Lines:
    def __init__(self):
        self.items, self.size, self.rest = 0, 0, b""

    def write(self, data):
        *whole, self.rest = (self.rest + data).split(b"\n")
        for line in whole:
            self.items += 1
            self.size += len(line) + 1


async def run(pod, command, **options):
    # What `pod.exec` does once the pod has the condition ContainersReady, which the embedded cluster does not tell.
    async with Exec(pod, command, container="app", **options).run() as process:
        return process.as_completed()


async def main():
    kubeconfig, work, (total, frame) = arguments()
    api = await kr8s.asyncio.api(kubeconfig=kubeconfig, context=CONTEXT)
    pod = await Pod.get("web-0", namespace="default", api=api)
    measure = Measure()
    if work == "lines":
        sink = Lines()
        await run(pod, ["lines", str(total), str(frame)], stdout=sink, capture_output=False)
        measure.finish(sink.items, sink.size)
    else:
        completed = await run(pod, ["gen", str(total), str(frame)])
        measure.finish(1, len(completed.stdout))


asyncio.run(main())
