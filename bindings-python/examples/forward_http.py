"""Asks a pod or a service over HTTP, without a local port, over one connection for as long as the pod keeps it.

    python forward_http.py deploy/web 80 / /healthz

Each answer goes to standard output behind its status. It ends with 1 when an answer was cut or could not be had.
"""

from __future__ import annotations

import http.client
import sys

from kubectl_wsx import Client, WsxError


def main(target: str, port: str, paths: list[str]) -> int:
    with Client.connect() as client, client.port_forward(target, port, address=[]) as forward:
        connection = http.client.HTTPConnection(target.rpartition("/")[2])
        for path in paths:
            if connection.sock is None:  # at first, and when the last answer ended the connection
                connection.sock = forward.open(port)
            connection.request("GET", path)
            answer = connection.getresponse()
            print(f"{path}: {answer.status} {answer.read().decode(errors='replace')}")
        connection.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
    except (WsxError, http.client.HTTPException) as error:
        sys.exit(f"{error}")
