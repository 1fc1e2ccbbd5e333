"""Follows the logs of all pods that a selector finds, those to come too, and prints each line behind its pod.

    python follow_many.py app=web

What happens to the logs goes to standard error. Ctrl-C ends it with 0, or with 65 when lines may be missing.
"""

from __future__ import annotations

import asyncio
import sys

from kubectl_wsx import AsyncClient, LogEvent, WsxError


def tell(event: LogEvent) -> None:
    facts = {"why": event.why, "reason": event.reason, "error": event.error, "exit code": event.exit_code}
    told = ", ".join(f"{name} {value!r}" for name, value in facts.items() if value is not None)
    print(f"{event.source.pod} {event.source.container}: {event.kind} {told}".strip(), file=sys.stderr, flush=True)


async def main(selector: str) -> int:
    async with await AsyncClient.connect() as client:
        following = client.logs(selector=selector, all_containers=True, follow=True, ignore_errors=True, on_event=tell)
        async with await following as logs:
            try:
                async for batch in logs.batches():
                    for line in batch:
                        prefix = f"{line.source.pod} {line.source.container}| ".encode() if line.begins else b""
                        sys.stdout.buffer.write(prefix + line.data)
                    sys.stdout.buffer.flush()
            except asyncio.CancelledError:  # Ctrl-C
                pass
            return 65 if logs.report().gaps else 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1])))
    except WsxError as error:
        sys.exit(str(error))
