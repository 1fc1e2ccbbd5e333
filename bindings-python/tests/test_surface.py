"""The surface against tests/vectors/api.json and error.json, in both directions."""

from __future__ import annotations

import builtins
import copy
import inspect
import json
import pickle
import subprocess
from typing import Any

import kubectl_wsx
import pytest
from conftest import ROOT
from kubectl_wsx import DEVNULL, PIPE, ExitError, Timeouts, WsxError, _native, errors

def read(name: str) -> Any:
    return json.loads((ROOT / "tests/vectors" / name).read_text())


API = read("api.json")
KINDS = [each["name"] for each in API["kinds"]]
#: Python has another name for `close` that contextlib.aclosing() calls, and context managers.
ALIASES = {"aclose"}
#: The same value where Python says it otherwise.
SAME = {("stdin", False): None, ("stdout", True): PIPE, ("stderr", True): PIPE}
Found = dict[str, Any]


def python(name: Any) -> str:
    return str(name["python"] if isinstance(name, dict) else name)


def members(cls: Any) -> Found:
    """The public names of a class."""
    instance = {*dir(cls), *getattr(cls, "__dataclass_fields__", ()), *getattr(cls, "__annotations__", ())}
    return dict.fromkeys(name for name in sorted(instance) if name[0] != "_" and name not in ALIASES)


def parameters(function: Any) -> Found:
    """The options of a method, with their defaults."""
    found = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in found if each.name not in ("self", "target", "command", "ports")}


def bases(name: Any) -> tuple[type, ...]:
    """The classes that an error of the table has to inherit from."""
    return (WsxError,) if name is None else (WsxError, getattr(builtins, name, None) or getattr(subprocess, name))


def differences(api: Any) -> list[str]:
    """What is not the same in the table and in Python, one line each."""
    wrong = []

    def compare(what: str, table: Found, found: Found) -> None:
        for name in [*table, *(name for name in found if name not in table)]:
            here, there = table.get(name, "nothing"), found.get(name, "nothing")
            if here != there:
                wrong.append(f"{what} {name}: {here!r} in the table, {there!r} in Python")

    for name, entry in api["classes"].items():
        for each in entry["python"]:
            listed = [name for part in ("static", "methods", "properties") for name in entry.get(part, [])]
            listed += api["python_only"].get(name, [])
            compare(each, dict.fromkeys(map(python, listed)), members(getattr(kubectl_wsx, each, object)))
    for method in ("connect", "exec", "attach", "logs", "port_forward", "run"):
        table = {each["name"]: each["default"] for each in api["options"][method]}
        table |= dict.fromkeys(api["python_only"].get(method, []))
        table = {name: tuple(default) if isinstance(default, list) else default for name, default in table.items()}
        table = {name: SAME.get((name, default), default) for name, default in table.items()}
        for client in api["classes"]["Client"]["python"]:
            compare(f"{client}.{method}", table, parameters(getattr(getattr(kubectl_wsx, client), method)))
    limits = {each["name"]: each["default"] for each in api["options"]["timeouts"]}
    compare("Timeouts", dict.fromkeys(limits), parameters(Timeouts))
    compare("default of the core", limits, _native.DEFAULTS)
    others = {name: api["logs_timeouts"].get(name, limits[name]) for name in limits if name not in ("total", "stall")}
    compare("default of logs", others, _native.LOG_DEFAULTS)
    others = {name: api["port_forward_timeouts"].get(name, limits[name]) for name in limits if name != "total"}
    compare("default of port-forwards", others, _native.FORWARD_DEFAULTS)
    compare(
        "kind",
        {each["name"]: (each["python"], bases(each["also"])) for each in api["kinds"]},
        {cls.kind: (cls.__name__, cls.__bases__) for cls in WsxError.__subclasses__()},
    )
    public = vars(WsxError("x")) | vars(WsxError) | WsxError.__annotations__
    attributes = dict.fromkeys(name for name in public if name[0] != "_")
    compare("error", dict.fromkeys(api["error"]["attributes"]), attributes)
    return wrong


def test_the_surface_is_that_of_the_table() -> None:
    assert differences(API) == []


LISTS = [
    "kinds",
    "error attributes",
    "options connect",
    "options exec",
    "options attach",
    "options logs",
    "options port_forward",
    "options run",
    "options timeouts",
    "classes Client methods",
    "classes Client static",
    "classes Process methods",
    "classes Process properties",
    "classes Logs methods",
    "classes PortForward methods",
    "classes PortForward properties",
    "classes ForwardedPort properties",
    "classes ForwardEvent properties",
    "classes ForwardReport properties",
    "classes LogSource properties",
    "classes LogLine properties",
    "classes LogEvent properties",
    "classes LogEnd properties",
    "classes LogReport properties",
    "classes ExitStatus properties",
    "classes CompletedProcess properties",
]


@pytest.mark.parametrize("path", LISTS)
def test_a_bogus_name_and_a_missing_one_are_noticed(path: str) -> None:
    api = copy.deepcopy(API)
    names = api
    for key in path.split():
        names = names[key]
    first = names.pop(0)
    name = first["name"] if isinstance(first, dict) and "name" in first else python(first)
    assert any(f" {name}: " in line for line in differences(api)), name
    bogus = {**first, "name": "bogus"} if isinstance(first, dict) and "name" in first else "bogus"
    names[:0] = [first, bogus]
    assert any(" bogus: " in line for line in differences(api))


def test_a_bogus_class_and_another_default_are_noticed() -> None:
    api = copy.deepcopy(API)
    api["classes"]["Bogus"] = {"python": ["Bogus"], "methods": ["run"]}
    api["options"]["attach"][2]["default"] = True
    api["logs_timeouts"]["pod_running"] = 21
    api["port_forward_timeouts"]["stall"] = 301
    assert len(differences(api)) == 5  # one default for each of two clients


def test_both_clients_have_the_same_signatures() -> None:
    for name in ("AsyncClient", "AsyncLogs", "AsyncPortForward", "AsyncProcess", "AsyncReader", "AsyncWriter"):
        one, other = getattr(kubectl_wsx, name), getattr(kubectl_wsx, name.removeprefix("Async"))
        for method in (name for name in dir(other) if not name.startswith("_")):
            if inspect.isfunction(getattr(other, method)):
                pair = [inspect.signature(getattr(cls, method)) for cls in (one, other)]
                assert pair[0].parameters == pair[1].parameters, (name, method)


def test_may_have_started_is_that_of_the_vectors() -> None:
    cases = read("error.json")["cases"]
    told = {case["input"]: errors.make(case["input"], "x").may_have_started for case in cases}
    assert told == {case["input"]: case["output"]["may_have_started"] for case in cases}
    assert told.keys() == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_survive_pickle_and_copy(kind: str) -> None:
    facts: Found = dict(why="w", remedies=("r",), http_status=403, reason="R", close_code=1001)
    error = errors.make(kind, "m", **facts, stdout_bytes=1, stderr_bytes=2, stdout=b"o", stderr=b"e")
    if isinstance(error, ExitError):
        error.returncode, error.cmd = 3, ["false"]
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert (vars(again), str(again), again.args) == (vars(error), "m\nwhy: w\ntry: r", ("m",))


def test_the_package_exports_what_it_says() -> None:
    assert set(errors.__all__) <= set(kubectl_wsx.__all__) <= set(dir(kubectl_wsx))


def test_what_stdout_and_stderr_can_be() -> None:
    assert (PIPE, DEVNULL) == (subprocess.PIPE, subprocess.DEVNULL)
