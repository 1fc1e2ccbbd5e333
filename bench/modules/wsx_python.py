"""Ours on asyncio.

KUBECONFIG lines|chunks|capture|slow TOTAL FRAME
KUBECONFIG follow TOTAL
KUBECONFIG cancel ITEMS CANCELLED
KUBECONFIG leave
KUBECONFIG many RUNS
"""

import asyncio
import time

from kubectl_wsx import PIPE, AsyncClient

from measure import CONTEXT, Measure, arguments, connections


async def lines(client, measure, total, frame):
    items, size = 0, 0
    async with await client.exec("web-0", ["lines", str(total), str(frame)], container="app") as process:
        async for line in process.stdout:
            items += 1
            size += len(line)
        assert await process.wait() == 0
    measure.finish(items, size)


async def follow(client, measure, total):
    items, size = 0, 0
    async with await client.logs("lines-0", container="100m", follow=True) as logs:
        async for line in logs:
            items += 1
            size += len(line)
        assert (await logs.wait()).exit_code == 0
    measure.finish(items, size)


async def chunks(client, measure, total, frame, pause=None):
    items, size = 0, 0
    async with await client.exec("web-0", ["gen", str(total), str(frame)], container="app") as process:
        async for chunk in process.stdout.chunks():
            items += 1
            size += len(chunk)
            if pause:
                await asyncio.sleep(pause)
        assert await process.wait() == 0
    measure.finish(items, size)


async def slow(client, measure, total, frame):
    await chunks(client, measure, total, frame, pause=0.001)


async def capture(client, measure, total, frame):
    done = await client.run("web-0", ["gen", str(total), str(frame)], container="app", check=True)
    measure.finish(1, len(done.stdout))


async def cancel(client, measure, items, wanted):
    """An echo for each item; reads are cancelled while they wait, from at once to after it has come."""
    seen, cancelled = [], 0
    async with await client.exec("web-0", ["cat"], container="app", stdin=PIPE) as process:
        for index in range(items):
            reading = asyncio.create_task(process.stdout.readline())
            await asyncio.sleep(0)
            process.stdin.write(b"%d\n" % index)
            if cancelled < wanted:
                for _ in range(index % 16):
                    await asyncio.sleep(0)
                reading.cancel()
            try:
                seen.append(await reading)
            except asyncio.CancelledError:
                cancelled += 1
                seen.append(await process.stdout.readline())
        process.stdin.close()
        seen += [line async for line in process.stdout]
        assert await process.wait() == 0
    lost = items - len(set(seen))
    in_order = seen == [b"%d\n" % index for index in range(items)]
    measure.finish(len(seen), sum(map(len, seen)), cancelled=cancelled, lost=lost, in_order=in_order)


async def leave(client, measure):
    """The time from leaving in the middle of a flood until the server's kernel knows."""
    kubeconfig = arguments()[0]
    await client.run("web-0", ["true"], container="app", check=True)  # what is kept open is open now
    latest = {}
    for way in ("break", "aclose", "cancel"):
        before = connections(kubeconfig)
        process = await client.exec("web-0", ["lines", "64G"], container="app")
        ours = connections(kubeconfig) - before
        assert ours and await process.stdout.readline()
        if way == "break":
            async with process:
                async for _ in process.stdout:
                    begin = time.perf_counter()
                    break
        elif way == "aclose":
            begin = time.perf_counter()
            await process.aclose()
        else:

            async def read():
                async with process:
                    async for _ in process.stdout:
                        await asyncio.sleep(0)

            task = asyncio.create_task(read())
            await asyncio.sleep(0.05)
            begin = time.perf_counter()
            task.cancel()
            await asyncio.wait([task])
        while ours & connections(kubeconfig) and time.perf_counter() - begin < 10:
            await asyncio.sleep(0.001)
        latest[f"{way}_s"] = time.perf_counter() - begin
    measure.finish(len(latest), 0, slowest_s=max(latest.values()), **latest)


async def many(client, measure, runs):
    ended = await asyncio.gather(
        *(client.run("web-0", ["true"], container="app", check=True) for _ in range(runs)), return_exceptions=True
    )
    failed = [repr(one) for one in ended if isinstance(one, BaseException)]
    measure.finish(len(ended), 0, errors=len(failed), first_error=failed[0] if failed else None)


async def main():
    kubeconfig, work, numbers = arguments()
    async with await AsyncClient.connect(kubeconfig, context=CONTEXT) as client:
        await globals()[work](client, Measure(), *numbers)


asyncio.run(main())
