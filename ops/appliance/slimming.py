"""Takes out of an image what could put more into it, and compiles the standard library. Run last while it is built.

Standard library only. Where things are differs between images, so they are looked for and not listed: what lies on PATH
under the names of package managers, and pip wherever this interpreter finds it. dpkg's list of packages stays, because
scanners for known flaws read it.
"""

import compileall
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = re.compile(r"(apt|apt-.+|dpkg|dpkg-.+|dselect|pip[0-9.]*|ensurepip|debconf.*|update-alternatives)")
FOLDERS = (Path("/usr/lib/apt"), Path("/var/lib/apt"), Path("/var/cache/apt"), Path("/etc/apt"), Path("/root/.cache"))
BINS = tuple(Path(folder) for folder in ("/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin"))
PIP = re.compile(r"(pip|ensurepip|_distutils_hack|setuptools|wheel)(-[0-9].*)?")
NOT_COMPILED = re.compile(r"/(test|tests|idlelib|lib2to3|turtledemo|site-packages|dist-packages)/")


def package_managers() -> Iterator[Path]:
    """Yield every program that installs, and what belongs to it."""
    for folder in BINS:
        yield from (path for path in folder.iterdir() if PROGRAMS.fullmatch(path.name))
    yield from (folder for folder in FOLDERS if folder.exists())
    for folder in {Path(part) for part in (*sys.path, *outer_paths()) if part}:
        if folder.is_dir():
            yield from (path for path in folder.iterdir() if PIP.fullmatch(path.name.lower()))


def outer_paths() -> Iterator[str]:
    """Yield where the interpreter outside this virtual environment looks for packages."""
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    for scheme in sysconfig.get_scheme_names():
        if scheme.startswith(("posix_prefix", "posix_local", "deb_system")):
            yield from (sysconfig.get_path(name, scheme, base) for name in ("purelib", "platlib"))


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def main() -> None:
    """Slim the machine that this runs on; it must be an image that is being built."""
    if not Path("/srv/sbom.cdx.json").exists():
        sys.exit("error: this is no image that is being built")
    for path in sorted(set(package_managers())):
        remove(path)
        print(f"removed {path}")
    compileall.compile_dir(sysconfig.get_path("stdlib"), quiet=1, rx=NOT_COMPILED)


if __name__ == "__main__":
    main()
