"""Builds wheels and source distributions (PEP 517): setuptools, with the page in them.

Where npm cannot be reached they are built without it, which is told; a source distribution that has the page needs no
Node.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # what is in here is not installed

import page
from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  the hooks that stay as they are
from setuptools.command.egg_info import manifest_maker

manifest_maker.template = str(Path(__file__).parent / "sdist.in")  # elsewhere than at the top level


def get_requires_for_build_wheel(config_settings=None):
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_for_page()]


def get_requires_for_build_sdist(config_settings=None):
    return [*build_meta.get_requires_for_build_sdist(config_settings), *_for_page()]


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    _build_page()
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory, config_settings=None):
    _build_page()
    return build_meta.build_sdist(sdist_directory, config_settings)


def _for_page() -> list[str]:
    return [] if page.is_built() else [page.REQUIREMENT]


def _build_page() -> None:
    try:
        page.build()
    except page.PageNotBuilt as error:
        print(f"WITHOUT THE PAGE, which cannot be built here: {error}", file=sys.stderr)
