"""What a trainee's word is no proof of: that somebody trained is in the room, or supervises (ST-01, ST-11). Pure."""

from spoel_common.errors import NotAllowed
from spoel_common.people import Actor, Role


def is_trainee(by: Actor) -> bool:
    """Tell whether somebody is still learning; another role beside it does not end that."""
    return Role.TRAINEE in by.roles


def check_trained(by: Actor) -> None:
    """Refuse a trainee where an act is to show that somebody trained is there.

    Raises:
        NotAllowed: the token says trainee, whatever else it says.
    """
    if is_trainee(by):
        raise NotAllowed("A trainee does not confirm this. Have the professional who is in the room do it.")
