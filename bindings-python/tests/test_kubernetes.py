"""Clients from the configuration of the official ones, which is given here without them."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Cluster
from kubectl_wsx import AsyncClient, AuthError, Client, ConfigError, InvalidError, NotStartedError

TRUE = ["true"]


@pytest.fixture
def configuration(cluster: Cluster, tmp_path: Path) -> Any:
    """What `load_kube_config` makes of the kubeconfig: files, and a token with its scheme."""
    kubeconfig = json.loads(Path(cluster.kubeconfig).read_text())
    given = next(each["cluster"] for each in kubeconfig["clusters"] if each["name"] == "v1.35")
    token = next(each["user"]["token"] for each in kubeconfig["users"] if each["name"] == "admin")
    authority = tmp_path / "ca"
    authority.write_bytes(base64.b64decode(given["certificate-authority-data"]))
    return SimpleNamespace(
        host=given["server"],
        ssl_ca_cert=str(authority),
        verify_ssl=True,
        tls_server_name=None,
        cert_file=None,
        key_file=None,
        api_key={"authorization": f"Bearer {token}"},
        api_key_prefix={},
        refresh_api_key_hook=None,
        username="",
        password="",
        proxy=None,
        no_proxy=None,
        proxy_headers=None,
    )


def code(configuration: Any, **options: Any) -> int:
    with Client.from_kubernetes(configuration, **options) as client:
        return client.run("web-0", TRUE).returncode


def test_host_authority_and_token(configuration: Any) -> None:
    assert code(configuration) == 0
    with Client.from_kubernetes(configuration, namespace="other") as client:
        assert client.namespace == "other"
        assert client.run("web-0", TRUE).returncode == 0


def test_a_scheme_as_prefix(configuration: Any) -> None:
    configuration.api_key["authorization"] = configuration.api_key["authorization"].removeprefix("Bearer ")
    configuration.api_key_prefix["authorization"] = "Bearer"
    assert code(configuration) == 0


def test_unchecked_certificates(configuration: Any) -> None:
    configuration.ssl_ca_cert, configuration.verify_ssl = None, False
    assert code(configuration) == 0
    configuration.verify_ssl = True
    with pytest.raises(ConfigError, match="certificate"):
        code(configuration)


def test_a_token_is_renewed_before_each_use(configuration: Any) -> None:
    good, calls = configuration.api_key["authorization"], 0

    def renew(given: Any) -> None:
        nonlocal calls
        calls += 1
        given.api_key["authorization"] = good if calls > 1 else "Bearer expired"

    configuration.refresh_api_key_hook = renew
    assert code(configuration) == 0
    assert calls == 2

    async def renew_later(given: Any) -> None:
        await asyncio.sleep(0)
        given.api_key["authorization"] = good

    async def main() -> int:
        configuration.refresh_api_key_hook = renew_later
        configuration.api_key["authorization"] = "Bearer expired"
        async with await AsyncClient.from_kubernetes(configuration) as client:
            return (await client.run("web-0", TRUE)).returncode

    assert asyncio.run(main()) == 0


def test_a_wrong_token_is_told(configuration: Any) -> None:
    configuration.api_key["authorization"] = "Bearer wrong"
    with pytest.raises(AuthError):
        code(configuration)


def test_a_proxy_is_used_unless_the_host_is_excepted(configuration: Any) -> None:
    configuration.proxy = "http://127.0.0.1:1"
    with pytest.raises(NotStartedError, match="127.0.0.1:1"):
        code(configuration)
    configuration.no_proxy = "127.0.0.1,localhost"
    assert code(configuration) == 0


def test_what_cannot_be_kept_is_refused(configuration: Any) -> None:
    configuration.api_key["authorization"] = "Basic eDp5"
    with pytest.raises(InvalidError):
        Client.from_kubernetes(configuration)
    configuration.proxy_headers = {"a": "b"}
    with pytest.raises(InvalidError):
        Client.from_kubernetes(configuration)
    wrongs: list[Any] = [None, 5, "https://x", {}]
    for wrong in wrongs:
        with pytest.raises(TypeError):
            Client.from_kubernetes(wrong)
