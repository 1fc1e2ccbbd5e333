"""What cannot be is a typed error, never a crash, never a hang."""

from __future__ import annotations

import asyncio
import io
import threading
from typing import Any

import pytest
from conftest import Cluster
from kubectl_wsx import (
    DEVNULL,
    PIPE,
    STDOUT,
    AsyncClient,
    Client,
    ClosedError,
    ConfigError,
    ExitError,
    InternalError,
    InvalidError,
    LocalIoError,
    Timeouts,
    WsxTimeoutError,
    _native,
)
from kubectl_wsx._options import ConnectOptions
from kubectl_wsx._session import exec_options

TRUE = ["true"]


@pytest.mark.parametrize("command", ["ls -l", b"ls", 5, None, ["ls", 5], ["ls", b"-l"], [None]])
def test_commands_of_wrong_types(client: Client, command: Any) -> None:
    with pytest.raises(TypeError):
        client.run("web-0", command)
    with pytest.raises(TypeError):
        client.exec("web-0", command)


@pytest.mark.parametrize(
    "options",
    [
        {"namespace": 5},
        {"container": b"app"},
        {"tty": "yes"},
        {"size": (1,)},
        {"size": ("a", "b")},
        {"size": 80},
        {"timeouts": 5},
        {"timeouts": Timeouts(total="1")},  # type: ignore[arg-type]
        {"preflight": 1},
        {"stdin": "text"},
        {"stdin": 7},
        {"stdin": io.StringIO("text")},
        {"stdout": "yes"},
        {"stdout": 7},
        {"nonsense": 1},
    ],
    ids=str,
)
def test_options_of_wrong_types(client: Client, options: Any) -> None:
    with pytest.raises(TypeError):
        client.exec("web-0", TRUE, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"protocol": "v6"},
        {"verify": "always"},
        {"timeouts": Timeouts(total=-1)},
        {"timeouts": Timeouts(total=float("nan"))},
        {"timeouts": Timeouts(total=1e300)},
        {"timeouts": Timeouts(stall=0)},
        {"stdout": STDOUT},
        {"stderr": STDOUT},
        {"stdout": DEVNULL, "stderr": DEVNULL},
        {"size": (0, 0), "tty": True},
        {"namespace": "a/b"},
    ],
    ids=str,
)
def test_options_of_wrong_values(client: Client, options: Any) -> None:
    with pytest.raises(InvalidError):
        client.exec("web-0", TRUE, **options)


def test_sizes_that_no_terminal_has(client: Client) -> None:
    with client.exec("web-0", ["cat"], stdin=PIPE, tty=True, size=(80, 24)) as process:
        for size in ((-1, 5), (70_000, 5)):
            with pytest.raises(OverflowError):
                process.resize(*size)
        with pytest.raises(TypeError):
            process.resize("a", 5)  # type: ignore[arg-type]
        process.resize(100, 30)


def test_text_where_bytes_are_due(client: Client) -> None:
    with pytest.raises(TypeError, match="encode"):
        client.run("web-0", ["cat"], input="text")  # type: ignore[call-overload]
    with client.exec("web-0", ["cat"], stdin=PIPE) as process:
        assert process.stdin
        with pytest.raises(TypeError, match="encode"):
            process.stdin.write("text")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            process.communicate("text")  # type: ignore[arg-type]


def test_encodings(client: Client) -> None:
    assert client.run("web-0", ["cat"], input="hä", encoding="utf-8").stdout == "hä"
    assert client.run("web-0", ["cat"], input=bytearray(b"x"), encoding="utf-8").stdout == "x"
    with pytest.raises(InvalidError):
        client.run("web-0", TRUE, encoding="no such")
    with pytest.raises(LocalIoError) as error:
        client.run("web-0", ["printf", "\\377"], encoding="utf-8")
    assert error.value.stdout == b"\xff"


def test_a_code_other_than_0_raises_only_when_asked(client: Client) -> None:
    command = ["sh", "-c", "echo out; echo err >&2; exit 3"]
    done = client.run("web-0", command)
    assert (done.returncode, done.stdout, done.stderr, done.args) == (3, b"out\n", b"err\n", command)
    with pytest.raises(ExitError) as error:
        client.run("web-0", command, check=True)
    seen = error.value
    assert (seen.returncode, seen.cmd, seen.stdout, seen.stderr) == (3, command, b"out\n", b"err\n")
    assert seen.output == b"out\n"


def test_limits_of_run(client: Client) -> None:
    with pytest.raises(WsxTimeoutError) as late:
        client.run("web-0", ["sh", "-c", "echo begun; sleep 60"], timeout=0.5)
    assert late.value.stdout == b"begun\n"
    with pytest.raises(ClosedError) as long:
        client.run("web-0", ["gen", "1M"], max_output=1000)
    assert len(long.value.stdout) == 1000
    wrongs: list[Any] = [-1, "1", 1.5]
    for wrong in wrongs:
        with pytest.raises((TypeError, OverflowError)):
            client.run("web-0", TRUE, max_output=wrong)


def test_a_closed_client(cluster: Cluster) -> None:
    client = Client.connect(cluster.kubeconfig)
    process = client.exec("web-0", ["sleep", "60"])
    client.close()
    client.close()
    assert "closed" in repr(client)
    with pytest.raises(ClosedError):
        process.wait()
    with pytest.raises(ClosedError):
        process.stdout.read()  # type: ignore[union-attr]
    for use in (lambda: client.exec("web-0", TRUE), lambda: client.run("web-0", TRUE), client.version):
        with pytest.raises(ClosedError):
            use()
    with pytest.raises(ClosedError):
        _ = client.namespace
    process.close()


@pytest.mark.filterwarnings("always::ResourceWarning")
def test_what_is_left_open_is_announced(cluster: Cluster) -> None:
    with pytest.warns(ResourceWarning, match="unclosed process: web-0"):
        with Client.connect(cluster.kubeconfig) as client:
            process = client.exec("web-0", ["sleep", "60"])
            del process
    client = Client.connect(cluster.kubeconfig)
    with pytest.warns(ResourceWarning, match="unclosed client"):
        del client


def test_files_as_input(client: Client) -> None:
    data = bytes(range(256)) * 4096
    assert _read(client, io.BytesIO(data)) == data
    assert _read(client, data) == data
    assert _read(client, memoryview(data)) == data

    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError("the disk is on fire")

    with client.exec("web-0", ["cat"], stdin=Broken()) as process:  # type: ignore[arg-type]
        with pytest.raises(LocalIoError, match="on fire"):
            process.wait()


def _read(client: Client, stdin: Any) -> bytes:
    with client.exec("web-0", ["cat"], stdin=stdin) as process:
        assert process.stdin is None
        return process.communicate()[0]


def test_input_without_stdin(client: Client) -> None:
    with client.exec("web-0", TRUE) as process:
        with pytest.raises(InvalidError):
            process.communicate(b"x")


def test_kubeconfigs_that_cannot_be_used(tmp_path: Any) -> None:
    (tmp_path / "broken").write_text("clusters: [")
    for path in (tmp_path / "broken", tmp_path / "none", str(tmp_path)):
        with pytest.raises(ConfigError):
            Client.connect(path)
    with pytest.raises(TypeError):
        Client.connect(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidError):
        Client.connect(request_timeout=-1)


def test_notices_are_told(cluster: Cluster) -> None:
    told: list[tuple[str, str]] = []
    with Client.connect(cluster.kubeconfig, on_notice=lambda *notice: told.append(notice)) as client:
        client.run("web-0", TRUE)
    assert told == [("note", 'Defaulted container "app" out of: app, sidecar')]

    async def main() -> list[tuple[str, str]]:
        arrived = asyncio.get_running_loop().create_future()
        notify = lambda *notice: arrived.set_result(notice)  # noqa: E731
        async with await AsyncClient.connect(cluster.kubeconfig, on_notice=notify) as client:
            await client.run("web-0", TRUE)
            return [await arrived]

    assert asyncio.run(main()) == told


def finish(operation: _native.Operation) -> object:
    waiter = _native.Waiter()
    while not (operation.arm(waiter) or waiter.wait(50)):
        pass
    return operation.result()


def test_notices_are_waited_for(cluster: Cluster) -> None:
    """They come by another thread, which may be late: what was given before the end of a call is told by then."""
    go, told = threading.Event(), list[str]()

    def late(level: str, text: str) -> None:
        assert go.wait(10)
        told.append(level)

    client: Any = finish(_native.connect(ConnectOptions(kubeconfig=cluster.kubeconfig, on_notice=late)))
    options = exec_options(
        namespace=None,
        container=None,
        stdin=None,
        stdout=PIPE,
        stderr=PIPE,
        tty=False,
        size=None,
        protocol="auto",
        timeouts=None,
    )
    finish(client.exec("web-0", TRUE, options))
    telling = threading.Thread(target=_native.flush)
    telling.start()
    telling.join(0.05)
    assert telling.is_alive() and told == []
    go.set()
    telling.join()
    assert told == ["note"]


def test_a_defect_is_an_error(client: Client) -> None:
    """A result can be taken once; asking again is a defect of the package, and says so."""
    operation = client._native.version()  # type: ignore[union-attr]
    finish(operation)
    with pytest.raises(InternalError):
        operation.result()


def test_a_panic_is_an_error(client: Client) -> None:
    """Builds for tests have a defect to ask for; it tells its words, and the module goes on."""
    defect = getattr(_native, "_defect")  # noqa: B009
    with pytest.raises(InternalError, match="it panicked\nwhy: in a call"):
        defect(False)
    with pytest.raises(InternalError, match="it panicked\nwhy: in what was begun"):
        finish(defect(True))
    assert client.run("web-0", TRUE).returncode == 0
