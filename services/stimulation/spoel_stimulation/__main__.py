"""``python -m spoel_stimulation``: run a room node."""

from spoel_common.web import run_service
from spoel_stimulation.app import build_app
from spoel_stimulation.settings import StimulationSettings


def main() -> None:
    """Run the node until it is told to stop."""
    run_service(StimulationSettings, build_app)


if __name__ == "__main__":
    main()
