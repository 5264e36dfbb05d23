"""A cancellation is not lost, whatever happens around it."""

import asyncio

import pytest

from spoel_common.cancellation import keeping_cancellation


async def run_and_cancel(work) -> asyncio.Task:
    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task}, timeout=1)
    return task


async def swallow() -> None:
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        return


async def replace() -> None:
    try:
        await asyncio.sleep(10)
    finally:
        raise RuntimeError("busy")


@pytest.mark.parametrize("losing", [swallow, replace])
async def test_a_cancellation_that_was_swallowed_or_replaced_is_raised(losing):
    async def work() -> None:
        async with keeping_cancellation():
            await losing()

    assert (await run_and_cancel(work)).cancelled()


async def test_it_is_raised_at_once_where_it_is_asked_for():
    reached = []

    async def work() -> None:
        async with keeping_cancellation() as check:
            await swallow()
            check()
            reached.append("too far")

    assert (await run_and_cancel(work)).cancelled()
    assert reached == []


async def test_without_a_cancellation_nothing_changes():
    async with keeping_cancellation() as check:
        check()
    with pytest.raises(RuntimeError, match="own"):
        async with keeping_cancellation():
            raise RuntimeError("own")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), keeping_cancellation():
            await asyncio.sleep(1)


async def test_a_time_out_inside_is_no_cancellation():
    async with keeping_cancellation():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(1)


async def test_cleaning_up_after_an_earlier_cancellation_goes_on():
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            async with keeping_cancellation():
                cleaned.append("yes")

    assert (await run_and_cancel(work)).cancelled()
    assert cleaned == ["yes"]
