"""``llamagate install-service``: the gate as a service of systemd, for who runs it without containers."""

import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

import proxy
from proxy.admin import service
from proxy.admin.cli.options import Config
from proxy.admin.cli.paper import say, told_plainly
from proxy.admin.cli.tools import Tools
from proxy.admin.refusals import NotDone
from proxy.admin.service import Service
from proxy.config.settings import Settings

_READABLE = 0o644
"""There is no secret in any of these files, and systemd and the gate's user have to read them."""
_OPEN = 0o755
_ENVIRONMENT = "environment "


def install_service(
    ctx: typer.Context,
    root: Annotated[
        Path, typer.Option("--root", metavar="FOLDER", help="Write below this folder, as for a package.")
    ] = Path("/"),
    show: Annotated[bool, typer.Option("--print", help="Print the unit, and write nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a unit that is there and says something else.")
    ] = False,
    config: Config = None,
) -> None:
    """Write what systemd needs to run the gate, and tell how to start it. Starts nothing."""
    tools: Tools = ctx.obj
    with told_plainly():
        file = service.CONFIG if config is None else PurePosixPath(config.absolute())
        text = service.unit(_described(_settings(tools, _below(root, file)), file), _template("service"))
        if show:
            typer.echo(text, nl=False)
            return
        written = {service.UNIT: text, service.USER: _template("sysusers")}
        _refuse_to_replace(root, {} if force else written)
        if not _below(root, file).exists():
            written[file] = _template("toml")
        for path, content in written.items():
            _write(_below(root, path), content)
            say(f"{_below(root, path)} is written.")
    say()
    say("Start it:", "bold")
    say("systemd-sysusers && systemctl daemon-reload && systemctl enable --now llamagate")
    say("Create the first key:", "bold")
    say(
        shlex.join(["sudo", "-u", "llamagate", *_program(), "keys", "create", "--user", "alice", "--config", str(file)])
    )
    if homes := service.hidden(_code()):
        say(
            f"{homes[0]} is in somebody's home, where the user llamagate may not look: give it a place in /opt.",
            "yellow",
        )


def _settings(tools: Tools, file: Path) -> Settings:
    """What the service will be told. Raises Mistakes, and NotDone where this shell tells what it will not hear."""
    if not file.exists():
        return Settings(state_dir=Path(service.STATE))
    loaded = tools.load(file, {})
    for key, origin in loaded.origins.items():
        if origin.startswith(_ENVIRONMENT):
            name = origin.removeprefix(_ENVIRONMENT)
            raise NotDone(f"{name} is set here, where the service would not have it: write {key} into {file}.")
    return loaded.settings


def _described(settings: Settings, file: PurePosixPath) -> Service:
    return Service(
        command=(*_program(), "serve"),
        config=file,
        state_dir=PurePosixPath(settings.state_dir.absolute()),
        port=settings.port,
        drain_seconds=settings.drain_delay + settings.drain_timeout,
        code=_code(),
    )


def _code() -> list[PurePosixPath]:
    """Where this program and its Python are."""
    return [PurePosixPath(one) for one in (sys.prefix, sys.base_prefix, Path(proxy.__file__).parents[1])]


def _program() -> tuple[str, ...]:
    """How this program is started from anywhere."""
    beside = Path(sys.executable).with_name("llamagate")
    # Without -P a folder called proxy in the state directory would be the program.
    return (str(beside),) if beside.is_file() else (sys.executable, "-P", "-m", "proxy")


def _template(kind: str) -> str:
    return (service.TEMPLATES / f"llamagate.{kind}").read_text()


def _below(root: Path, path: PurePosixPath) -> Path:
    return root / path.relative_to("/")


def _refuse_to_replace(root: Path, texts: Mapping[PurePosixPath, str]) -> None:
    """Raises NotDone where there is another text already."""
    for path, text in texts.items():
        there = _below(root, path)
        if there.exists() and there.read_text(errors="replace") != text:
            raise NotDone(f"{there} is there and says something else: --force replaces it.")


def _make(folder: Path) -> None:
    """And those around it, for everybody to look into, whatever the umask."""
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir()
        folder.chmod(_OPEN)


def _write(path: Path, text: str) -> None:
    """The whole text or nothing. Raises NotDone."""
    half = path.with_name(f"{path.name}.new")
    try:
        _make(path.parent)
        half.write_text(text)
        half.chmod(_READABLE)
        half.replace(path)
    except OSError as error:
        with suppress(OSError):
            half.unlink()
        raise NotDone(f"{path} cannot be written: {error.strerror}. Is this not root?") from error
