"""``python -m spoel_audit``: run the audit service."""

from spoel_audit.app import build_app
from spoel_audit.settings import AuditSettings
from spoel_common.web import run_service


def main() -> None:
    """Run the audit service until it is told to stop."""
    run_service(AuditSettings, build_app)


if __name__ == "__main__":
    main()
