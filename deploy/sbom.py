"""What the gate is made of, as a bill of materials in CycloneDX 1.6, from a lock: `python deploy/sbom.py LOCK`.

Needs nothing but Python. The same lock gives the same bytes, so that two images can be compared.
"""

import json
import re
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PRODUCT = "llamagate"
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>[^\\]+?))?(?:\s*\\)?\s*")
_HASH = re.compile(r"\s+--hash=sha256:(?P<hash>[0-9a-f]{64})(?:\s*\\)?\s*")
_NOTHING = re.compile(r"\s+#\s+(?:via|(?:via )?-[cr] .*)\s*")
_VIA = re.compile(r"\s+#\s+(?:via\s+)?(?P<by>[A-Za-z0-9._-]+)(?: \(.*\))?\s*")


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock."""

    name: str
    version: str
    marker: str
    """On which machines it is needed (PEP 508); empty for all."""
    hashes: tuple[str, ...]
    """SHA-256 of each file that it may come as."""
    wanted_by: tuple[str, ...]
    """Names of packages, the project among them."""

    @property
    def ref(self) -> str:
        """As package-url has it for PyPI."""
        return f"pkg:pypi/{self.name}@{self.version}"


def pins(text: str) -> list[Pin]:
    """The packages of a lock as uv writes it. Raises ValueError for a line that it does not know."""
    found: list[Pin] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if pin := _PIN.fullmatch(line):
            name = re.sub(r"[-_.]+", "-", pin["name"]).lower()
            found.append(Pin(name, pin["version"], pin["marker"] or "", (), ()))
        elif found and (file := _HASH.fullmatch(line)):
            found[-1] = replace(found[-1], hashes=(*found[-1].hashes, file["hash"]))
        elif _NOTHING.fullmatch(line):
            continue
        elif found and (via := _VIA.fullmatch(line)):
            found[-1] = replace(found[-1], wanted_by=(*found[-1].wanted_by, via["by"]))
        else:
            raise ValueError(f"line {number} is none of a lock: {line}")
    return found


def bill(packages: Sequence[Pin], version: str) -> dict[str, Any]:
    """The document."""
    whole = f"{PRODUCT} {version}\n" + "".join(f"{one.ref} {' '.join(one.hashes)}\n" for one in packages)
    product = f"pkg:pypi/{PRODUCT}@{version}"
    by_name = {PRODUCT: product, **{one.name: one.ref for one in packages}}
    wanted: dict[str, list[str]] = {ref: [] for ref in by_name.values()}
    for one in packages:
        for name in one.wanted_by:
            wanted[by_name[name]].append(one.ref)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, whole).urn,
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": product,
                "name": PRODUCT,
                "version": version,
                "purl": product,
                "licenses": [{"license": {"id": "MIT"}}],
            }
        },
        "components": [_component(one) for one in packages],
        "dependencies": [{"ref": ref, "dependsOn": sorted(needs)} for ref, needs in wanted.items()],
    }


def _component(one: Pin) -> dict[str, Any]:
    marker = [{"name": "llamagate:marker", "value": one.marker}] if one.marker else []
    return {
        "type": "library",
        "bom-ref": one.ref,
        "name": one.name,
        "version": one.version,
        "purl": one.ref,
        "hashes": [{"alg": "SHA-256", "content": content} for content in one.hashes],
        **({"properties": marker} if marker else {}),
    }


def main() -> None:
    """Prints the bill of the lock that is named. Raises SystemExit where none is."""
    if len(sys.argv) != 2:
        sys.exit("Which lock? python deploy/sbom.py requirements/runtime.lock")
    said = re.search(r'^__version__ = "(.+)"$', (ROOT / "proxy/__init__.py").read_text(), re.MULTILINE)
    if said is None:
        sys.exit("proxy/__init__.py says no version.")
    json.dump(bill(pins(Path(sys.argv[1]).read_text()), said[1]), sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
