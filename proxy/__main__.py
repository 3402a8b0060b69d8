"""``python -m proxy``, and what the ``llamagate`` command runs."""

import os

from proxy.admin.cli.app import cli
from proxy.bootstrap.workshop import Workshop


def main() -> None:
    os.umask(0o077)  # Whatever is written from here on is nobody else's to read.
    cli()(obj=Workshop(os.environ))


if __name__ == "__main__":
    main()
