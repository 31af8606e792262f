"""The command tree, and the one place where an error becomes an exit code."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Annotated, cast

import typer
from typer.main import get_command

from stepfun_async import StepFunError
from stepfun_async._core.version import __version__

from . import exit_codes as exits
from .account import account
from .batch import commands as batch_commands
from .console import OutputError, discard_stdout, echo, echo_stderr, warnings_on_stderr
from .errors import Interrupted, rephrased, report, report_plain
from .images import CHECK, edit, generate, image_to_image
from .mcp.command import mcp
from .models import models
from .serve import serve
from .servers import server, servers

_NAME = "stepfun-async"
_USAGE_ERROR = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])
"""The class of all mistakes in the arguments; typer gives it no public name."""


def run(arguments: Sequence[str]) -> int:
    """Run the command line.

    Args:
        arguments: the arguments after the program's name.

    Returns:
        The exit code, one of `exits.MEANINGS`.
    """
    _accept_any_text()
    try:
        with warnings_on_stderr(rephrased):
            return _run(arguments, as_json="--json" in _options(arguments))
    except OutputError as error:
        discard_stdout()
        if error.is_broken_pipe and not _may_bill(arguments):
            return exits.BROKEN_PIPE
        echo_stderr(f"error: {error}")
        return exits.OTHER


def _run(arguments: Sequence[str], *, as_json: bool) -> int:
    try:
        code: object = _tree()(args=list(arguments), prog_name=_NAME, standalone_mode=False)
        if code == exits.INTERRUPTED:
            raise KeyboardInterrupt
        return code if isinstance(code, int) else exits.DONE
    except StepFunError as error:
        return report(error, as_json=as_json)
    except _USAGE_ERROR as error:
        path = error.ctx.command_path if error.ctx else _NAME
        report_plain("UsageError", f"{_with_period(error.format_message())} See: {path} --help", as_json=as_json)
        return exits.INVALID
    except Interrupted as stop:
        money = {"attempts": stop.attempts, "maybe_billed": stop.maybe_billed}
        report_plain("Interrupted", str(stop), as_json=as_json, billing=stop.billing, **money)
        return exits.INTERRUPTED
    except (KeyboardInterrupt, typer.Abort):
        report_plain("Interrupted", "interrupted; nothing was billed", as_json=as_json)
        return exits.INTERRUPTED


def _with_period(text: str) -> str:
    """Return a sentence with one mark at its end, since typer may put a period after a question mark."""
    text = text.rstrip(".")
    return text if text.endswith("?") else f"{text}."


@cache
def _tree() -> Callable[..., object]:
    """Return the tree of commands. Building it takes longer than most commands run, so it is cached."""
    return get_command(app)


def _may_bill(arguments: Sequence[str]) -> bool:
    """Whether a command may have been billed, so that an unprinted result is an error."""
    arguments_without_options = [word for word in arguments if not word.startswith("-")]
    return "--help" not in arguments and (
        arguments_without_options[:1] in _BILLED_COMMANDS or arguments_without_options[:2] in _BILLED_COMMANDS
    )


_BILLED_COMMANDS = (["generate"], ["edit"], ["image-to-image"], ["batch", "run"])


def _options(arguments: Sequence[str]) -> Iterable[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _accept_any_text() -> None:
    """Escape characters that the terminal's encoding lacks, so that printing a file name cannot fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _version(*, wanted: bool) -> None:
    if wanted:
        echo(f"{_NAME} {__version__}")
        raise typer.Exit


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


_ENVIRONMENT = """\b
Environment:
  STEP_API_KEY, STEPFUN_API_KEY  the key; there is no option for it
  STEP_BASE_URL                  the URL of the API; embedded answers offline
  STEP_SERVER                    the server at that URL, as for --server
  STEPFUN_SERVE_KEYS             the keys that serve accepts; any by default
  STEPFUN_MCP_TOKEN              the token that clients of mcp --http send"""

app = typer.Typer(
    help="StepFun's image API from the command line: make, edit and check images.",
    epilog=f"{_ENVIRONMENT}\n\n\b\nExit codes:\n{exits.describe()}",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
check_app = typer.Typer(
    rich_markup_mode=None, help="Check and price a request without sending it.\n\nNo key is needed."
)

batch_app = typer.Typer(
    rich_markup_mode=None,
    help="Make many images from a file, with a journal.\n\nHowever a run ends, run it again to continue.",
)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    _version(wanted=version)
    _help_without_command(context)


@check_app.callback(invoke_without_command=True)
def _check(context: typer.Context) -> None:
    context.obj = CHECK
    _help_without_command(context)


@batch_app.callback(invoke_without_command=True)
def _batch(context: typer.Context) -> None:
    _help_without_command(context)


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        echo(*context.get_help().splitlines())
        raise typer.Exit


_IMAGE_COMMANDS = (
    ("generate", generate, ('"A serene alpine lake at sunset" --size 16:9', '"A red fox" --seed 7 --out fox.png')),
    ("edit", edit, ('cat.jpg "Turn it into a British Shorthair"', '- "Make it night" --out night.png < day.png')),
    ("image-to-image", image_to_image, ('sketch.png "In oil" --source-weight 0.6',)),
)
for _name, _command, _image_examples in _IMAGE_COMMANDS:
    app.command(_name, epilog=_examples(*(f"{_NAME} {_name} {line}" for line in _image_examples)))(_command)
    check_app.command(
        _name,
        help=f"Check {_name}, with the same options.\n\nNothing is sent, and no key is needed.",
        epilog=_examples(*(f"{_NAME} check {_name} {line}" for line in _image_examples)),
    )(_command)
app.add_typer(check_app, name="check", epilog=_examples(f'{_NAME} check generate "A lake" --steps 99'))
_BATCH_COMMANDS: tuple[tuple[str, Callable[..., None], tuple[str, ...]], ...] = (
    (
        "run",
        batch_commands.run,
        ("prompts.txt --out lakes --set size=16:9", "prompts.jsonl --out lakes --limit-tier V1"),
    ),
    ("check", batch_commands.check, ("prompts.jsonl",)),
    ("schema", batch_commands.schema, ("> line.schema.json", "--model step-2x-large > line.schema.json")),
    ("status", batch_commands.status, ("lakes",)),
    ("retry", batch_commands.retry, ("lakes --failed --error ContentFilteredError",)),
    ("report", batch_commands.report, ("lakes",)),
    ("manifest", batch_commands.manifest, ("lakes",)),
    ("pack", batch_commands.pack, ("lakes --to shards",)),
)
for _batch_name, _batch_command, _batch_examples in _BATCH_COMMANDS:
    batch_app.command(
        _batch_name, epilog=_examples(*(f"{_NAME} batch {_batch_name} {line}" for line in _batch_examples))
    )(_batch_command)
app.add_typer(batch_app, name="batch", epilog=_examples(f"{_NAME} batch run prompts.txt --out lakes"))
app.command(
    "models",
    epilog=_examples(f"{_NAME} models", f"{_NAME} models step-2x-large", f"{_NAME} models step-1x-edit --schema"),
)(models)
app.command("servers", epilog=_examples(f"{_NAME} servers", f"{_NAME} servers vllm-omni"))(servers)
app.command("server", epilog=_examples(f"{_NAME} server http://localhost:8091/v1"))(server)
app.command("account", epilog=_examples(f"{_NAME} account", f"{_NAME} account --json"))(account)
_MCP = ("mcp --out images --budget 5.00", "mcp --read-folder photos --http --port 8808")
app.command("mcp", epilog=_examples(*(f"{_NAME} {line}" for line in _MCP)))(mcp)
app.command("serve", epilog=_examples(f"{_NAME} serve", f"{_NAME} serve --port 0 --fault '429*2'"))(serve)
