"""The list of what an image holds."""

from importlib.metadata import distributions

from ops.appliance.sbom import debian_components, python_components, sbom

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.41-12

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0
"""


def test_installed_debian_packages_are_in_it_and_removed_ones_are_not() -> None:
    (only,) = debian_components(STATUS)
    assert only["purl"] == "pkg:deb/debian/libc6@2.41-12?arch=amd64"


def test_python_packages_are_in_it_under_the_names_that_registries_know() -> None:
    listed = {one["name"]: one for one in python_components(distributions())}
    assert listed["typing-extensions"]["purl"].startswith("pkg:pypi/typing-extensions@")
    assert listed["python"]["type"] == "application"
    assert listed["typing-extensions"]["licenses"] == [{"expression": "PSF-2.0"}]


def test_the_same_contents_make_the_same_document() -> None:
    first = sbom("2.0.0", debian_components(STATUS))
    assert first == sbom("2.0.0", debian_components(STATUS))
    assert first["serialNumber"] != sbom("2.0.1", debian_components(STATUS))["serialNumber"]
