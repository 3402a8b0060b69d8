"""One target under atheris, which knows what code an input has reached: ``python -m tests.security.fuzz.covered``.

It ends this process: with 0 after its time or its runs, with another status at the first finding, which it writes into
the folder. Words: the target, the folder, and then atheris's own options.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["proxy"]):
    from tests.security.fuzz.targets import TARGETS


def main(name: str, folder: Path, options: list[str]) -> None:
    target = next(one for one in TARGETS if one.name == name)
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = [sys.argv[0], str(corpus), f"-artifact_prefix={folder}/{name}-", "-max_len=4096", "-verbosity=0", *options]
    atheris.Setup(words, target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
