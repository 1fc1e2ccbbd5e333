"""Connections of a port-forward for threads: what `http.client` and others take for a socket."""

from __future__ import annotations

import gc
import http.client
import http.server
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import Arranged
from kubectl_wsx import (
    Client,
    ClosedError,
    ConnectionLostError,
    ForwardSocket,
    InvalidError,
    NotStartedError,
    PortForward,
    WsxTimeoutError,
)

HTTP, ECHO, RESET, SILENT, SLOW = 80, 7, 3000, 3001, 2001


@pytest.fixture
def forward(client: Client, ports: Arranged, pod: str) -> Iterator[PortForward]:
    with client.port_forward(pod, HTTP, ECHO, RESET, SILENT, SLOW, 9, 81, 9000, address=[]) as forward:
        yield forward


def over(forward: PortForward, port: int = HTTP) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("pod", timeout=20)
    connection.sock = forward.open(port)
    return connection


def test_requests_one_after_another(forward: PortForward, pod: str) -> None:
    connection = over(forward)
    for path, length in (("/", len(pod)), ("/bytes?n=3000000", 3_000_000), ("/bytes?n=0", 0), ("/uid", 36)):
        connection.request("GET", path)
        assert len(connection.getresponse().read()) == length
    connection.request("POST", "/echo", body=b"x" * 1_000_000)
    assert connection.getresponse().read() == b"x" * 1_000_000
    connection.close()
    assert forward.report().connections == 1


class Chunked(http.server.BaseHTTPRequestHandler):
    """Echoes a body of chunks in chunks."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        size = 1
        while size:
            size = int(self.rfile.readline(), 16)
            data = self.rfile.read(size + 2)
            self.wfile.write(b"%x\r\n%s" % (size, data))

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_bodies_of_chunks(forward: PortForward, ports: Arranged) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Chunked) as server:
        threading.Thread(target=server.serve_forever).start()
        ports.run(ports={"9000": f"127.0.0.1:{server.server_port}"})
        try:
            connection = over(forward, 9000)
            for size in (10, 10_000):
                chunks = [bytes([each]) * size for each in range(100)]
                connection.request("POST", "/", body=iter(chunks), encode_chunked=True)
                assert connection.getresponse().read() == b"".join(chunks)
            connection.sock.abort()  # type: ignore[union-attr]
        finally:
            server.shutdown()


def test_a_body_up_to_the_end_of_the_connection(forward: PortForward) -> None:
    connection = over(forward)
    connection.request("GET", "/stream?n=300000")
    answer = connection.getresponse()
    assert connection.sock is None  # it was closed, and the answer goes on
    assert len(answer.read()) == 300_000


def test_a_body_that_is_cut_is_never_whole(forward: PortForward) -> None:
    connection = over(forward)
    connection.request("GET", "/cut?n=1000&of=2000")  # by its sender, with an end
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    connection.close()
    connection = over(forward)
    connection.request("GET", "/reset?n=100000&of=200000")
    answer = connection.getresponse()
    with pytest.raises(ConnectionLostError):
        while answer.read(10_000):
            pass
    connection.close()


def test_reading(forward: PortForward) -> None:
    with forward.open(ECHO) as connection:
        connection.sendall(memoryview(b"0123456789"))
        assert (connection.recv(0), connection.recv(3), connection.recv(100)) == (b"", b"012", b"3456789")
        assert connection.send(bytearray(b"abc")) == 3
        buffer = bytearray(10)
        assert connection.recv_into(buffer, 2) == 2 and buffer[:2] == b"ab"
        assert connection.recv_into(memoryview(buffer)[5:]) == 1 and buffer[5:6] == b"c"
        connection.shutdown(socket.SHUT_WR)
        with pytest.raises(ClosedError):
            connection.send(b"x")
        assert (connection.recv(10), connection.recv(10)) == (b"", b"")
    assert repr(connection) == f"<ForwardSocket of {forward!r} closed>"


def test_an_error_comes_behind_the_last_byte(forward: PortForward) -> None:
    with forward.open(RESET) as connection:
        connection.send(b"x")
        size = 0
        with pytest.raises(ConnectionLostError):
            while data := connection.recv(1000):
                size += len(data)
        assert size == 65536
        with pytest.raises(ConnectionLostError):
            connection.recv(1)
        with pytest.raises(ConnectionLostError):
            connection.sendall(b"x")
    with forward.open(81) as connection, pytest.raises(NotStartedError, match="port 81"):
        connection.recv(1)


def test_time_limits(forward: PortForward) -> None:
    with forward.open(SILENT) as connection:
        assert connection.gettimeout() is None
        connection.settimeout(0.1)
        begin = time.monotonic()
        with pytest.raises(WsxTimeoutError) as error:
            connection.recv(1)
        assert isinstance(error.value, TimeoutError) and 0.1 <= time.monotonic() - begin < 1
        with pytest.raises(WsxTimeoutError):
            connection.sendall(bytes(64 * 1024 * 1024))
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        with pytest.raises(BlockingIOError):
            while connection.send(bytes(100_000)):
                pass
        with connection.makefile("rb", buffering=0) as file:
            assert file.read(1) is None
        with pytest.raises(ValueError):
            connection.settimeout(-1)
        with pytest.raises(ValueError):
            connection.settimeout(float("nan"))
        connection.abort()


def test_a_late_read_loses_nothing(forward: PortForward) -> None:
    with forward.open(SLOW) as connection:
        connection.sendall(b"x")
        connection.settimeout(0.05)
        data, late = b"", 0
        while True:
            try:
                if not (piece := connection.recv(7)):
                    break
                data += piece
            except TimeoutError:
                late += 1
        assert data == b"".join(bytes([digit]) * 10 for digit in b"0123456789") and late > 5


def test_files(forward: PortForward) -> None:
    connection = forward.open(ECHO)
    with connection.makefile("rwb") as both:
        assert isinstance(both, io.BufferedRWPair)
        both.write(b"one\ntwo\n")
        both.flush()
        assert (both.readline(), both.read(4)) == (b"one\n", b"two\n")
    with connection.makefile("w", encoding="utf-8") as text:
        text.write("ä\n")
    with connection.makefile("r", encoding="utf-8") as text:
        assert text.readline() == "ä\n"
        connection.close()  # which the file outlives
        connection._native.write(b"more")
        connection._native.end()
        assert text.read() == "more"
    with pytest.raises(ClosedError):
        connection.recv(1)
    with pytest.raises(ClosedError):
        connection.makefile()


def test_a_file_that_was_late_reads_no_more(forward: PortForward) -> None:
    with forward.open(SILENT) as connection, connection.makefile("rb") as file:
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            file.read(10)
        connection.settimeout(None)
        with pytest.raises(OSError, match="timed out"):
            file.read(10)
        connection.abort()


@pytest.mark.parametrize("use", ["recv", "send", "abort", "close"])
def test_calls_that_wait_end_with_the_connection(forward: PortForward, use: str) -> None:
    connection = forward.open(SILENT)
    wait = (lambda: connection.sendall(bytes(64 * 1024 * 1024))) if use == "send" else lambda: connection.recv(1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        while not waiting.running():
            time.sleep(0)
        time.sleep(0.05)  # whether it waits by now cannot be asked; before it does, the answer is the same
        (connection.close if use == "close" else connection.abort)()
        with pytest.raises(ClosedError):
            waiting.result(timeout=10)


def test_close_does_not_wait_and_loses_nothing(client: Client, ports: Arranged, pod: str) -> None:
    with client.port_forward(pod, 9, address=[]) as forward:
        connection = forward.open()
        connection.sendall(bytes(3_000_000))
        begin = time.monotonic()
        connection.close()
        connection.close()
        assert time.monotonic() - begin < 0.5
    ports.run(await_open=0)
    assert ports.run()["counts"]["ports"]["9"]["to_pod"] == 3_000_000


def test_threads_share_a_port_forward(forward: PortForward) -> None:
    def echo(number: int) -> None:
        with forward.open(ECHO) as connection, connection.makefile("rb") as file:
            for _ in range(10):
                data = f"{number}".encode() * 10_000
                connection.sendall(data)
                assert file.read(len(data)) == data
            connection.abort()

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(echo, range(100))) == [None] * 100


def test_one_thread_writes_while_another_reads(forward: PortForward) -> None:
    data = bytes(range(256)) * 100_000
    with forward.open(ECHO) as connection, ThreadPoolExecutor(1) as pool, connection.makefile("rb") as file:
        writing = pool.submit(connection.sendall, data)
        assert file.read(len(data)) == data
        writing.result(timeout=10)


@pytest.mark.filterwarnings("default::ResourceWarning")
def test_what_is_dropped_ends(forward: PortForward, ports: Arranged) -> None:
    with pytest.warns(ResourceWarning, match="unclosed <ForwardSocket"):
        forward.open(ECHO)
        gc.collect()
    ports.run(await_open=0)


@pytest.mark.filterwarnings("default::ResourceWarning")
def test_a_dropped_port_forward_ends(client: Client, ports: Arranged, pod: str) -> None:
    forward = client.port_forward(pod, ECHO, address=[])
    connection = forward.open()
    del forward
    gc.collect()
    connection.sendall(b"still here")  # for as long as there is a connection
    assert connection.recv(10) == b"still here"
    connection.close()
    with pytest.warns(ResourceWarning, match="unclosed port-forward"):
        del connection
        gc.collect()
    ports.run(await_sessions=0)


# What cannot be.


def test_arguments_of_wrong_types_and_values(forward: PortForward) -> None:
    with forward.open(ECHO) as connection:
        for wrong in ("text", 5, None):
            with pytest.raises(TypeError):
                connection.send(wrong)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                connection.sendall(wrong)  # type: ignore[arg-type]
        for call in (connection.recv, lambda size: connection.recv_into(bytearray(5), size)):
            with pytest.raises(ValueError):
                call(-1)
        with pytest.raises(TypeError):
            connection.recv_into(b"read-only")  # type: ignore[arg-type]
        for mode in ("x", "", "b"):
            with pytest.raises(ValueError):
                connection.makefile(mode)
        with pytest.raises(ValueError):
            connection.makefile("r", buffering=0)
        with pytest.raises(InvalidError):
            connection.shutdown(3)
        assert connection.fileno() == -1
        connection.sendall(b"")
        connection.shutdown(socket.SHUT_RD)
        assert connection.recv(1) == b""
        connection.abort()


def test_a_closed_connection(forward: PortForward) -> None:
    connection: ForwardSocket = forward.open(ECHO)
    connection.abort()
    connection.close()
    uses: list[Callable[[], object]] = [
        lambda: connection.recv(1),
        lambda: connection.send(b"x"),
        lambda: connection.makefile("rb"),
        lambda: connection.shutdown(socket.SHUT_WR),
    ]
    for use in uses:
        with pytest.raises(ClosedError):
            use()
