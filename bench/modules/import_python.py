"""What `import kubectl_wsx` costs a program that has asyncio already."""

import asyncio
import time

begin, cpu = time.perf_counter(), time.process_time()
import kubectl_wsx

wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
assert asyncio and kubectl_wsx
print(f'{{"items": 1, "bytes": 0, "wall": {wall}, "cpu": {cpu}}}')
