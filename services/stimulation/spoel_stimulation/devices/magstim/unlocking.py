"""The secret that a Rapid² of software 9 and up asks for. It is never logged, shown or repeated in an error."""

import re
from pathlib import Path

from pydantic import SecretStr

_UNLOCK_CODE = re.compile(r"[0-9A-Fa-f]{4}-[0-9A-Fa-f]{8}-[0-9A-Fa-f]{2}")


def unlock_code(text: str) -> SecretStr:
    """Return an unlock code, hidden from every log and representation.

    Raises:
        ValueError: it has another form; the text itself is never repeated.
    """
    code = text.strip()
    if not _UNLOCK_CODE.fullmatch(code):
        raise ValueError(
            "The unlock code is no hhhh-hhhhhhhh-hh of hexadecimal digits, as Magstim gives it for a unit."
        )
    return SecretStr(code)


def given_unlock_code(argument: str) -> SecretStr:
    """Return an unlock code as it was given on a command line: itself, or ``@FILE``, which ``ps`` shows to nobody.

    Raises:
        ValueError: it is no such code, or others may read the file.
        OSError: the file cannot be read.
    """
    return read_unlock_code(Path(argument[1:])) if argument.startswith("@") else unlock_code(argument)


def read_unlock_code(path: Path) -> SecretStr:
    """Read an unlock code from a file of its own.

    Raises:
        ValueError: others may read the file, or it holds no such code.
        OSError: it cannot be read.
    """
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path} can be read by others: it holds a secret. Set its mode to 0600.")
    return unlock_code(path.read_text(encoding="ascii"))
