"""``python -m proxy``, and what the ``llamagate`` command runs."""

import gc
import os
from typing import TYPE_CHECKING

from proxy.late import late, load, parts_of

if TYPE_CHECKING:
    from proxy.admin.cli import app
    from proxy.bootstrap import workshop
else:
    app = late("proxy.admin.cli.app")
    workshop = late("proxy.bootstrap.workshop")


def main() -> None:
    prepare()
    run()


def prepare() -> None:
    """Have what every command needs loaded, once in a process."""
    # Plugins of whatever packages are there have no part in our settings; to look for them, pydantic opens every one.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    parts_of("aiohttp")  # Its client takes as long to load as all else of it.
    parts_of("sqlalchemy.ext.asyncio")  # Its sessions bring the whole ORM.
    load(app, workshop)


def run() -> None:
    """What the words of the command line ask for."""
    os.umask(0o077)  # Whatever is written from here on is nobody else's to read.
    cli, tools = app.cli(), workshop.Workshop(os.environ)
    gc.freeze()  # All that is loaded by now stays.
    cli(obj=tools)


if __name__ == "__main__":
    main()
