"""``python -m spoel_stimulation.guard``: guard the rooms of ``SPOEL_ROOMS`` until told to stop."""

import os
import sys

from spoel_stimulation.guard.process import run
from spoel_stimulation.guard.settings import GuardSettings, WrongSetting


def main() -> int:
    """Run; return 2 where the settings or the machine do not allow it."""
    try:
        run(GuardSettings.of(os.environ))
    except (WrongSetting, OSError) as error:
        sys.stderr.write(f"guard: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
