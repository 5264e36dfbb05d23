"""``python -m spoel_planning``: run planning."""

from spoel_common.web import run_service
from spoel_planning.app import create_app
from spoel_planning.settings import PlanningSettings


def main() -> None:
    """Run planning until it is told to stop."""
    run_service(PlanningSettings, create_app)


if __name__ == "__main__":
    main()
