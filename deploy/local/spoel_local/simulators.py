"""``spoel simulator``: a simulated stimulator in a process of its own, on the maker's wire protocol."""

import typer

from spoel_stimulation.devices.__main__ import main

AS_TYPED = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""What was typed is passed on: the options, and ``--help``, are those of ``python -m spoel_stimulation.devices``."""


def simulator(context: typer.Context) -> None:
    """Run one simulated stimulator; its first line of output says its address."""
    main(context.args, prog="spoel simulator")
