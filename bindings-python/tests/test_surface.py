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

API = json.loads((ROOT / "tests/vectors/api.json").read_text())
KINDS = {each["name"]: each for each in API["kinds"]}
#: Python has another name for `close` that contextlib.aclosing() calls, and context managers.
ALIASES = {"aclose"}


def python(name: Any) -> str:
    return str(name["python"] if isinstance(name, dict) else name)


@pytest.mark.parametrize("name", API["classes"])
def test_classes_have_the_names_of_the_table_and_no_others(name: str) -> None:
    entry = API["classes"][name]
    for each in entry["python"]:
        cls = getattr(kubectl_wsx, each)
        instance = {*dir(cls), *getattr(cls, "__dataclass_fields__", ()), *cls.__annotations__}
        public = {name for name in instance if not name.startswith("_")} - ALIASES
        table = [*entry.get("static", []), *entry.get("methods", []), *entry.get("properties", [])]
        assert public == {python(name) for name in table}, each
        for method in map(python, entry.get("methods", [])):
            assert callable(getattr(cls, method))
        if each.startswith("Async"):
            assert cls.aclose is cls.close


def parameters(function: Any) -> dict[str, Any]:
    found = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in found if each.name not in ("self", "target", "command")}


#: The same value where Python says it otherwise.
SAME = {("stdin", False): None, ("stdout", True): PIPE, ("stderr", True): PIPE}


@pytest.mark.parametrize("client", API["classes"]["Client"]["python"])
@pytest.mark.parametrize("method", ["connect", "exec", "run"])
def test_methods_have_the_options_and_defaults_of_the_table(client: str, method: str) -> None:
    table = {each["name"]: each["default"] for each in API["options"][method]}
    assert parameters(getattr(getattr(kubectl_wsx, client), method)) == {
        name: SAME.get((name, default), default) for name, default in table.items()
    }


def test_timeouts_have_the_names_of_the_table_and_the_core_its_defaults() -> None:
    table = {each["name"]: each["default"] for each in API["options"]["timeouts"]}
    assert parameters(Timeouts) == dict.fromkeys(table)
    assert _native.DEFAULTS == table


def test_both_clients_have_the_same_signatures() -> None:
    for name in ("AsyncClient", "AsyncProcess", "AsyncReader", "AsyncWriter"):
        one, other = getattr(kubectl_wsx, name), getattr(kubectl_wsx, name.removeprefix("Async"))
        for method in (name for name in dir(other) if not name.startswith("_")):
            if inspect.isfunction(getattr(other, method)):
                pair = [inspect.signature(getattr(cls, method)) for cls in (one, other)]
                assert pair[0].parameters == pair[1].parameters, (name, method)


def test_kinds_are_those_of_the_table() -> None:
    assert {cls.kind: cls.__name__ for cls in WsxError.__subclasses__()} == {
        name: each["python"] for name, each in KINDS.items()
    }
    for each in KINDS.values():
        also = each["also"] and (getattr(builtins, each["also"], None) or getattr(subprocess, each["also"]))
        bases = getattr(kubectl_wsx, each["python"]).__bases__
        assert bases == ((WsxError, also) if also else (WsxError,))


def test_errors_have_the_attributes_of_the_table() -> None:
    public = {name for name in vars(WsxError("x")) | vars(WsxError) | WsxError.__annotations__ if name[0] != "_"}
    assert public == set(API["error"]["attributes"])


def test_may_have_started_is_that_of_the_vectors() -> None:
    cases = json.loads((ROOT / "tests/vectors/error.json").read_text())["cases"]
    told = {case["input"]: errors.make(case["input"], "x").may_have_started for case in cases}
    assert told == {case["input"]: case["output"]["may_have_started"] for case in cases}
    assert told.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_errors_survive_pickle_and_copy(kind: str) -> None:
    facts = dict(why="w", remedies=("r",), http_status=403, reason="R", close_code=1001)
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
