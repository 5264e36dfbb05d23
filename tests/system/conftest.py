"""Options of the system tests."""


def pytest_addoption(parser):
    parser.addoption(
        "--crash-rounds", type=int, default=1, help="How often every process is killed, each round on new data."
    )
