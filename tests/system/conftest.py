"""Options of the system tests."""


def pytest_addoption(parser):
    parser.addoption(
        "--crash-rounds", type=int, default=1, help="How often every process is killed, each round on new data."
    )
    parser.addoption("--kill-rounds", type=int, default=10, help="Rounds of test_kill_rounds; 200 in make chaos.")
    parser.addoption("--chaos-seed", type=int, default=1, help="Seed of the plan of faults in test_chaos.")
