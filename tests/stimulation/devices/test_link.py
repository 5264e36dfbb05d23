"""How a serial port is opened."""

import os
import tty

import serialx

from spoel_stimulation.devices.transport import Transport


async def test_a_serial_port_opens_with_rts_low_since_a_raised_one_is_a_trigger_on_some_devices():
    master, slave = os.openpty()
    tty.setraw(slave)
    transport = Transport(os.ttyname(slave), 9_600)
    await transport.open()
    try:
        assert transport._serial.transport.serial.rts_on_open is serialx.PinState.LOW
    finally:
        await transport.close()
        os.close(master)
        os.close(slave)
