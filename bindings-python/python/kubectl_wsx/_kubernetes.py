"""What the official clients' `Configuration` says, as a kubeconfig. `kubernetes` itself is not imported."""

from __future__ import annotations

from typing import Any

from ._options import ConnectOptions
from .errors import InvalidError


def options_of(configuration: Any, namespace: str | None) -> ConnectOptions:
    """Reads host, credentials, trust and proxy; what is absent stays absent.

    Raises `TypeError` for something that is no configuration, `InvalidError` for what cannot be kept.
    """
    host = getattr(configuration, "host", None)
    if not isinstance(host, str) or not hasattr(configuration, "verify_ssl"):
        raise TypeError(f"a kubernetes.client.Configuration is needed, not {type(configuration).__name__}")
    if getattr(configuration, "proxy_headers", None):
        raise InvalidError("proxy_headers are not supported", remedies=["http://USER:PASSWORD@HOST as proxy"])
    cluster = {
        "server": host,
        "certificate-authority": getattr(configuration, "ssl_ca_cert", None),
        "certificate-authority-data": _base64(getattr(configuration, "ca_cert_data", None)),
        "insecure-skip-tls-verify": not configuration.verify_ssl or None,
        "tls-server-name": getattr(configuration, "tls_server_name", None),
        "proxy-url": _proxy(configuration, host),
    }
    if cluster["insecure-skip-tls-verify"]:
        cluster["certificate-authority"] = cluster["certificate-authority-data"] = None
    user = {
        "client-certificate": getattr(configuration, "cert_file", None),
        "client-key": getattr(configuration, "key_file", None),
        **_credentials(configuration),
    }
    import json  # what few need is not loaded with the package

    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "given",
        "contexts": [{"name": "given", "context": {"cluster": "given", "user": "given"}}],
        "clusters": [{"name": "given", "cluster": _present(cluster)}],
        "users": [{"name": "given", "user": _present(user)}],
    }
    return ConnectOptions(kubeconfig_text=json.dumps(kubeconfig), namespace=namespace)


def refresh(configuration: Any) -> Any:
    """Lets the configuration renew its token; returns what its hook returns."""
    hook = getattr(configuration, "refresh_api_key_hook", None)
    return hook(configuration) if hook else None


def _credentials(configuration: Any) -> dict[str, str]:
    keys = getattr(configuration, "api_key", None) or {}
    for name in ("authorization", "BearerToken"):
        key = keys.get(name)
        if key:
            prefix = (getattr(configuration, "api_key_prefix", None) or {}).get(name)
            scheme, _, token = (f"{prefix} {key}" if prefix else str(key)).rpartition(" ")
            if scheme.lower() not in ("", "bearer"):
                raise InvalidError(f"only bearer tokens are supported, not {scheme}")
            return {"token": token}
    username, password = getattr(configuration, "username", None), getattr(configuration, "password", None)
    return {"username": username, "password": password or ""} if username else {}


def _proxy(configuration: Any, host: str) -> str | None:
    proxy = getattr(configuration, "proxy", None)
    excepted = getattr(configuration, "no_proxy", None)
    if proxy and excepted:
        from urllib.parse import urlsplit
        from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

        if proxy_bypass_environment(urlsplit(host).netloc, {"no": excepted}):
            return None
    return proxy or None


def _base64(data: Any) -> str | None:
    if not data:
        return None
    import base64

    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def _present(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if value is not None}
