"""What the operator says that a device shows which is set by hand (decision 32)."""

from pydantic import BaseModel

from spoel_common.work import Work
from spoel_stimulation.commands import ConfirmDevice
from spoel_stimulation.devices.adapter import NotSupported
from spoel_stimulation.devices.manual.adapter import ManualAdapter, Shown
from spoel_stimulation.domain.session import check_may_halt
from spoel_stimulation.runner import Room


class ShownAnswer(BaseModel):
    """What is taken to be shown in a room, and on whose word."""

    room_id: str
    read_by: str
    shown: ConfirmDevice


async def confirm_device(work: Work, command: ConfirmDevice, room: Room) -> ShownAnswer:
    """Take a person's word for what a room's device shows; the next arming records it as read by the operator.

    Raises:
        NotAllowed: not one of those who run sessions.
        NotSupported: the device says itself what it shows, or would run a train on each trigger.
    """
    check_may_halt(work.actor)
    device = room.device
    if not isinstance(device, ManualAdapter):
        raise NotSupported("The device in this room says itself what it shows; nothing is to be confirmed.")
    device.confirm(Shown.model_validate(command.model_dump()))
    return ShownAnswer(room_id=room.room_id, read_by=work.actor.person_id, shown=command)
