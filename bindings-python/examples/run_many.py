"""Runs one command in many pods at once and prints each exit code.

    python run_many.py web-0 deploy/web -- sh -c 'df -h / | tail -n1'

Ends with 1 when a command ended with another code than 0 or its outcome is not known.
"""

from __future__ import annotations

import asyncio
import sys

from kubectl_wsx import AsyncClient, CompletedProcess, WsxError


async def main(targets: list[str], command: list[str]) -> int:
    async with await AsyncClient.connect() as client:
        runs = [client.run(target, command, timeout=60) for target in targets]
        results = await asyncio.gather(*runs, return_exceptions=True)

    failed = 0
    for target, result in zip(targets, results, strict=True):
        if isinstance(result, CompletedProcess):
            print(f"{target}: exit code {result.returncode}: {result.stdout.decode(errors='replace').strip()}")
            failed += result.returncode != 0
        elif isinstance(result, WsxError):
            started = "may have run" if result.may_have_started else "did not run"
            print(f"{target}: {result.kind}, it {started}: {result.message}")
            failed += 1
        else:
            raise result
    return 1 if failed else 0


if __name__ == "__main__":
    separator = sys.argv.index("--")
    sys.exit(asyncio.run(main(sys.argv[1:separator], sys.argv[separator + 1 :])))
