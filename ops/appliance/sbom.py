"""Writes what an image holds as a CycloneDX document. Standard library only; run while the image is built.

python -m ops.appliance.sbom --version 2.0.0 --output sbom.cdx.json
"""

import argparse
import json
import re
import sys
import uuid
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

DPKG_STATUS = Path("/var/lib/dpkg/status")
NAMESPACE = uuid.UUID("5b0c2f0e-6f0f-5c0c-9d0a-3d8f7f1f9c1d")


def sbom(version: str, components: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Make the document. The same contents give the same document, to the byte: its number is made from them."""
    listed = sorted(components, key=lambda component: component["purl"])
    name = json.dumps([version, listed], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, name)}",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "sovereign-assistant-api", "version": version}},
        "components": listed,
    }


def python_components(found: Iterable[Distribution]) -> Iterator[dict[str, Any]]:
    """Describe installed Python distributions, the interpreter first."""
    interpreter = ".".join(map(str, sys.version_info[:3]))
    yield component("application", "python", interpreter, f"pkg:generic/python@{interpreter}")
    for one in found:
        name = re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower()
        licence = one.metadata.json.get("license_expression")
        purl = f"pkg:pypi/{name}@{quote(one.version)}"
        yield component("library", name, one.version, purl, str(licence) if licence else None)


def debian_components(status: str) -> Iterator[dict[str, Any]]:
    """Describe Debian packages as dpkg's own list has them."""
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version, arch = fields["Package"], fields["Version"], fields["Architecture"]
            purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={arch}"
            yield component("library", name, version, purl)


def component(kind: str, name: str, version: str, purl: str, licence: str | None = None) -> dict[str, Any]:
    """Make one entry."""
    entry: dict[str, Any] = {"type": kind, "name": name, "version": version, "purl": purl, "bom-ref": purl}
    return entry | {"licenses": [{"expression": licence}]} if licence else entry


def main() -> None:
    """Write the document of the machine that this runs on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", required=True)
    parser.add_argument("--output", type=Path, required=True)
    asked = parser.parse_args()
    components = list(python_components(distributions()))
    if DPKG_STATUS.exists():
        components += debian_components(DPKG_STATUS.read_text(encoding="utf-8"))
    asked.output.write_text(json.dumps(sbom(asked.version, components), indent=1) + "\n", encoding="utf-8")
    print(f"{asked.output}: {len(components)} components")


if __name__ == "__main__":
    main()
