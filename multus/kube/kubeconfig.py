"""Address and credentials of the API server: kubeconfig files and in-cluster configuration.

The format is ``kubectl``'s (``kubernetes.io/docs/reference/config-api/kubeconfig.v1``), YAML or
JSON; relative paths are relative to the kubeconfig's own directory, inline data wins over a file.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from multus.api.errors import InvalidConfig

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@frozen
class Pem:
    """PEM text, or the file that holds it; both empty means that there is none."""

    data: bytes = field(default=b"", repr=False)
    path: str = ""

    def __bool__(self) -> bool:
        return bool(self.data or self.path)


@frozen
class Cluster:
    """An API server: ``server`` is its URL, with a path prefix if it has one."""

    server: str
    origin: str
    authority: Pem = Pem()
    insecure: bool = False
    tls_server_name: str = ""
    proxy_url: str = field(default="", repr=False)


@frozen
class ExecPlugin:
    """A program that prints an ``ExecCredential`` (client.authentication.k8s.io)."""

    command: str
    api_version: str
    args: tuple[str, ...] = field(default=(), repr=False)
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    install_hint: str = ""
    provide_cluster_info: bool = False
    cluster_info: Any = field(default=None, repr=False)


@frozen
class User:
    """A user's credentials; every kind is optional, and secrets are not in ``repr``."""

    token: str = field(default="", repr=False)
    token_file: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    certificate: Pem = Pem()
    key: Pem = field(default=Pem(), repr=False)
    exec_plugin: ExecPlugin | None = None
    impersonate: tuple[tuple[str, str], ...] = ()


@frozen
class Access:
    """What a client needs: a cluster and a user, from one context."""

    cluster: Cluster
    user: User = User()


def in_cluster(
    environ: Mapping[str, str] | None = None, directory: str = SERVICE_ACCOUNT
) -> Access:
    """The access of a pod's service account; its token file is read again when it rotates."""
    env = os.environ if environ is None else environ
    host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise InvalidConfig(
            "no kubeconfig is given and this is not a pod: KUBERNETES_SERVICE_HOST and"
            " KUBERNETES_SERVICE_PORT are not set",
            fix="set 'kubeconfig' in the configuration",
        )
    if ":" in host:
        host = f"[{host}]"
    cluster = Cluster(
        server=f"https://{host}:{port}",
        origin="the in-cluster configuration",
        authority=Pem(path=os.path.join(directory, "ca.crt")),
    )
    return Access(cluster, User(token_file=os.path.join(directory, "token")))


def load_kubeconfig(path: str, context: str = "") -> Access:
    """The access that ``context`` (or the file's ``current-context``) of a kubeconfig gives.

    Every problem is an :class:`InvalidConfig` that names the file, the key and the fix.
    """
    path = os.path.abspath(path)
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise InvalidConfig(
            f"cannot read the kubeconfig {path}: {error.strerror}",
            fix="create it, or name another file",
        ) from error
    return _Document(path, _parse(path, text)).access(context)


def _parse(path: str, text: bytes) -> Any:
    if text.lstrip().startswith(b"{"):
        # JSON is YAML too, but the kubeconfig that `multus install` writes needs no PyYAML.
        try:
            return json.loads(text)
        except ValueError:
            pass
    try:
        import yaml
    except ImportError as error:
        raise InvalidConfig(
            f"the kubeconfig {path} is YAML, which needs PyYAML",
            fix="pip install 'multus[kube]'",
        ) from error
    try:
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        # The parser's own message quotes the line, which may hold a token.
        raise InvalidConfig(
            f"the kubeconfig {path} is neither YAML nor JSON{where}",
            fix="correct it",
        ) from None


class _Document:
    """One parsed kubeconfig; its methods turn sections into values and name what is wrong."""

    def __init__(self, path: str, data: Any) -> None:
        self.path = path
        if not isinstance(data, dict):
            raise InvalidConfig(
                f"the kubeconfig {path} must be an object with 'clusters'",
                fix="name a file as kubectl reads it",
            )
        self.data: dict[str, Any] = data

    def access(self, wanted: str) -> Access:
        name = wanted or self.data.get("current-context") or ""
        if not name:
            raise self.problem("current-context", "is not set; set it to one of the contexts")
        context = self.section("contexts", name, "context")
        cluster = self.cluster(str(context.get("cluster", "")), name)
        user_name = context.get("user") or ""
        if not user_name:
            return Access(cluster)
        section = self.section("users", str(user_name), "user")
        return Access(cluster, self.user(str(user_name), section, context))

    def problem(self, key: str, what: str) -> InvalidConfig:
        return InvalidConfig(f"kubeconfig {self.path}: '{key}' {what}")

    def section(self, kind: str, name: str, inner: str) -> dict[str, Any]:
        entries = self.data.get(kind) or []
        if not isinstance(entries, list):
            raise self.problem(kind, "must be a list")
        for entry in entries:
            if isinstance(entry, dict) and entry.get("name") == name:
                content = entry.get(inner)
                if content is None:
                    content = {}
                if not isinstance(content, dict):
                    raise self.problem(f"{kind}[{name}].{inner}", "must be an object")
                return content
        raise self.problem(kind, f"has no entry named {name!r}; add it or correct the reference")

    def text(self, section: Mapping[str, Any], key: str, where: str) -> str:
        value = section.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.problem(f"{where}.{key}", "must be a string; put it in quotes")
        return value

    def file(self, name: str) -> str:
        return os.path.join(os.path.dirname(self.path), name) if name else ""

    def pem(self, section: Mapping[str, Any], key: str, where: str) -> Pem:
        data = self.text(section, f"{key}-data", where)
        if data:
            try:
                return Pem(data=base64.b64decode(data, validate=True))
            except binascii.Error:
                raise self.problem(f"{where}.{key}-data", "is not base64; encode it") from None
        return Pem(path=self.file(self.text(section, key, where)))

    def cluster(self, name: str, context: str) -> Cluster:
        section = self.section("clusters", name, "cluster")
        where = f"clusters[{name}].cluster"
        authority = self.pem(section, "certificate-authority", where)
        insecure = section.get("insecure-skip-tls-verify") is True
        if insecure and authority:
            raise self.problem(
                f"{where}.insecure-skip-tls-verify",
                "excludes a certificate-authority; remove one of the two",
            )
        return Cluster(
            server=self.server(section, where, secure=insecure or bool(authority)),
            origin=f"kubeconfig {self.path}, context {context!r}",
            authority=authority,
            insecure=insecure,
            tls_server_name=self.text(section, "tls-server-name", where),
            proxy_url=self.text(section, "proxy-url", where),
        )

    def server(self, section: Mapping[str, Any], where: str, *, secure: bool) -> str:
        """The server's URL, without a trailing slash.

        Like client-go, "host:port" is taken too: it is https with an authority, or when the
        certificate is not verified.
        """
        server = self.text(section, "server", where).rstrip("/")
        if server and "/" not in server:
            server = f"{'https' if secure else 'http'}://{server}"
        if not server.startswith(("https://", "http://")):
            raise self.problem(f"{where}.server", "must be a URL such as https://10.0.0.1:6443")
        return server

    def user(self, name: str, section: dict[str, Any], context: Mapping[str, Any]) -> User:
        where = f"users[{name}].user"
        if section.get("auth-provider"):
            raise self.problem(
                f"{where}.auth-provider", "was removed from Kubernetes 1.26; use 'exec' instead"
            )
        certificate = self.pem(section, "client-certificate", where)
        key = self.pem(section, "client-key", where)
        if bool(certificate) != bool(key):
            raise self.problem(
                f"{where}.client-certificate", "and client-key must be given together"
            )
        username = self.text(section, "username", where)
        password = self.text(section, "password", where)
        if username and (section.get("token") or section.get("tokenFile")):
            raise self.problem(f"{where}.username", "excludes a token; remove one of the two")
        return User(
            token=self.text(section, "token", where).strip(),
            token_file=self.file(self.text(section, "tokenFile", where)),
            username=username,
            password=password,
            certificate=certificate,
            key=key,
            exec_plugin=self.exec_plugin(section.get("exec"), where, context),
            impersonate=self.impersonate(section, where),
        )

    def exec_plugin(
        self, section: Any, where: str, context: Mapping[str, Any]
    ) -> ExecPlugin | None:
        if section is None:
            return None
        where = f"{where}.exec"
        if not isinstance(section, dict):
            raise self.problem(where, "must be an object with 'command' and 'apiVersion'")
        command = self.text(section, "command", where)
        if not command:
            raise self.problem(f"{where}.command", "is not set")
        if section.get("interactiveMode") == "Always":
            raise self.problem(f"{where}.interactiveMode", "is Always, and there is no terminal")
        # A command with a slash is relative to the kubeconfig, one without is looked up in PATH.
        env = section.get("env") or []
        provide = section.get("provideClusterInfo") is True
        return ExecPlugin(
            command=self.file(command) if "/" in command else command,
            api_version=self.text(section, "apiVersion", where),
            args=tuple(str(arg) for arg in section.get("args") or []),
            env=tuple((str(pair["name"]), str(pair.get("value", ""))) for pair in env),
            install_hint=self.text(section, "installHint", where),
            provide_cluster_info=provide,
            cluster_info=self.cluster_info(str(context.get("cluster", ""))) if provide else None,
        )

    def cluster_info(self, name: str) -> dict[str, Any]:
        """``spec.cluster`` of an ExecCredential: the cluster section, with file contents inline."""
        section = dict(self.section("clusters", name, "cluster"))
        authority = self.pem(section, "certificate-authority", f"clusters[{name}].cluster")
        data = authority.data
        if authority.path:
            try:
                with open(authority.path, "rb") as file:
                    data = file.read()
            except OSError as error:
                raise self.problem(
                    f"clusters[{name}].cluster.certificate-authority",
                    f"names {authority.path}, which cannot be read: {error.strerror}",
                ) from error
        extensions = section.get("extensions") or []
        config = [
            entry.get("extension")
            for entry in extensions
            if entry.get("name") == "client.authentication.k8s.io/exec"
        ]
        info = {
            "server": section.get("server"),
            "tls-server-name": section.get("tls-server-name"),
            "insecure-skip-tls-verify": section.get("insecure-skip-tls-verify"),
            "certificate-authority-data": base64.b64encode(data).decode() if data else None,
            "proxy-url": section.get("proxy-url"),
            "config": config[0] if config else None,
        }
        return {key: value for key, value in info.items() if value is not None}

    def impersonate(self, section: Mapping[str, Any], where: str) -> tuple[tuple[str, str], ...]:
        """The ``Impersonate-*`` headers that ``as``, ``as-uid``, ``as-groups`` ask for."""
        headers: list[tuple[str, str]] = []
        if self.text(section, "as", where):
            headers.append(("Impersonate-User", section["as"]))
        if self.text(section, "as-uid", where):
            headers.append(("Impersonate-Uid", section["as-uid"]))
        for group in section.get("as-groups") or []:
            headers.append(("Impersonate-Group", str(group)))
        for key, values in (section.get("as-user-extra") or {}).items():
            headers.extend((f"Impersonate-Extra-{key}", str(value)) for value in values)
        return tuple(headers)
