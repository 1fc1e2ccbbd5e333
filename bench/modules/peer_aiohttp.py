"""The bar: a WebSocket loop by hand on aiohttp, without any check.

KUBECONFIG lines|chunks TOTAL FRAME
"""

import asyncio

import aiohttp

from measure import Measure, arguments, exec_url


async def lines(socket):
    items, size, rest = 0, 0, b""
    while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
        data = message.data
        if data[0] != 1:
            continue
        *whole, rest = (rest + data[1:]).split(b"\n")
        for line in whole:
            items += 1
            size += len(line) + 1
    return items, size


async def chunks(socket):
    items, size = 0, 0
    while (message := await socket.receive()).type is aiohttp.WSMsgType.BINARY:
        data = message.data
        if data[0] == 1 and (chunk := data[1:]):
            items += 1
            size += len(chunk)
    return items, size


async def main():
    kubeconfig, work, (total, frame) = arguments()
    name, consume = {"lines": ("lines", lines), "chunks": ("gen", chunks)}[work]
    url = exec_url(kubeconfig, [name, str(total), str(frame)])
    async with aiohttp.ClientSession() as session:
        measure = Measure()
        async with session.ws_connect(url, protocols=["v4.channel.k8s.io"], max_msg_size=0, compress=0) as socket:
            measure.finish(*await consume(socket))


asyncio.run(main())
