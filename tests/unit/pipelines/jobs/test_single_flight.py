"""Many who ask for the same at once."""

import asyncio

import pytest

from pipelines.jobs.single_flight import SingleFlight


class Call:
    """Numbers its results, once it is let."""

    def __init__(self) -> None:
        self.begun, self.gate, self.numbers = asyncio.Event(), asyncio.Event(), 0

    async def __call__(self) -> int:
        self.numbers += 1
        self.begun.set()
        await self.gate.wait()
        return self.numbers


@pytest.fixture
def call():
    return Call()


@pytest.fixture
def flight():
    return SingleFlight()


def test_all_who_ask_at_once_share_one_call_and_the_next_has_its_own(run, flight, call):
    async def main() -> list[int]:
        asked = [asyncio.create_task(flight.result("a", call)) for _ in range(20)]
        await call.begun.wait()
        call.gate.set()
        return [*await asyncio.gather(*asked), await flight.result("a", call)]

    assert run(main()) == [1] * 20 + [2]


def test_others_have_calls_of_their_own(run, flight, call):
    call.gate.set()

    async def main() -> list[int]:
        return await asyncio.gather(*(flight.result(key, call) for key in "aab"))

    assert run(main()) == [1, 1, 2]


def test_whoever_goes_away_takes_nobody_along(run, flight, call):
    async def main() -> int:
        first, second = (asyncio.create_task(flight.result("a", call)) for _ in range(2))
        await call.begun.wait()
        first.cancel()
        await asyncio.wait([first])
        call.gate.set()
        return await second

    assert run(main()) == 1


def test_an_error_is_told_to_all_and_the_next_tries_again(run, flight):
    calls = []

    async def fail() -> None:
        calls.append(1)
        raise ZeroDivisionError

    async def main() -> list[object]:
        return await asyncio.gather(*(flight.result("a", fail) for _ in range(3)), return_exceptions=True)

    assert [type(each) for each in run(main())] == [ZeroDivisionError] * 3
    with pytest.raises(ZeroDivisionError):
        run(flight.result("a", fail))
    assert len(calls) == 2
