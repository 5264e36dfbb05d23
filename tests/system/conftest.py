"""Options of the system tests, and what they say of themselves at the end, also from workers."""

SAID_AT_THE_END = "said at the end"
"""Name of the property (``record_property``) with a line for the end of the run."""


def pytest_addoption(parser):
    parser.addoption(
        "--crash-rounds", type=int, default=1, help="How often every process is killed, each round on new data."
    )
    parser.addoption("--kill-rounds", type=int, default=10, help="Rounds of test_kill_rounds; 200 in make chaos.")
    parser.addoption("--chaos-seed", type=int, default=1, help="Seed of the plan of faults in test_chaos.")


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.getreports("passed"):
        for line in (value for name, value in report.user_properties if name == SAID_AT_THE_END):
            if report.when == "call":
                terminalreporter.write_line(line)
