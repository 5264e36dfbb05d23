"""Runs intake: ``python -m spoel_intake``."""

from spoel_common.web import run_service
from spoel_intake.app import create_app
from spoel_intake.settings import IntakeSettings


def main() -> None:
    """Serve intake until told to stop."""
    run_service(IntakeSettings, create_app)


if __name__ == "__main__":
    main()
