"""Which token answers whom, and until when."""

import asyncio

from bot.platforms.discord.reach import TOKEN_SECONDS, Reach, Reply


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def reply(number: int, clock: Clock) -> Reply:
    return Reply(str(number), "app", f"token-{number}", clock() + TOKEN_SECONDS)


async def test_the_own_token_first_then_the_newest_of_the_same_person_and_place() -> None:
    clock = Clock()
    reach = Reach(clock)
    first, second, elsewhere = reply(1, clock), reply(2, clock), reply(3, clock)
    reach.opened(first, "ada", "general")
    reach.opened(second, "ada", "general")
    reach.opened(elsewhere, "ada", "other")
    assert reach.token(first.handle(), "ada", "general") == first
    assert reach.token(None, "ada", "general") == second
    reach.died(second)
    assert reach.token(second.handle(), "ada", "general") == first
    assert reach.token(None, "grace", "general") is None


async def test_an_old_token_is_not_begun_with() -> None:
    clock = Clock()
    reach = Reach(clock)
    old = reply(1, clock)
    reach.opened(old, "ada", "general")
    clock.now += TOKEN_SECONDS - 30
    assert reach.token(old.handle(), "ada", "general") is None


async def test_a_token_from_before_a_restart_still_answers() -> None:
    clock = Clock()
    stored = reply(1, clock).handle()
    assert Reach(clock).token(stored, "ada", "general") == Reply(**stored)


async def test_who_did_not_know_of_a_token_learns_that_it_is_dead() -> None:
    clock = Clock()
    reach = Reach(clock)
    stored = reply(1, clock)
    reach.died(stored)
    assert reach.token(stored.handle(), "ada", "general") is None


async def test_an_answer_waits_for_the_first_one() -> None:
    clock = Clock()
    reach = Reach(clock)
    one = reply(1, clock)
    thinking = reach.opened(one, "ada", "general")
    asking = asyncio.create_task(reach.thinking(one))
    await asyncio.sleep(0.01)
    assert not asking.done()
    thinking.set_result(77)
    assert await asking == 77
    reach.answered(one)
    assert await reach.thinking(one) is None


async def test_what_was_left_thinking() -> None:
    clock = Clock()
    reach = Reach(clock)
    for number, message_id in ((1, 11), (2, 22), (3, None)):
        reach.opened(reply(number, clock), "ada", "general").set_result(message_id)
    reach.answered(reply(2, clock))
    assert reach.left_thinking(60) == []
    clock.now += 61
    assert [message_id for _, message_id in reach.left_thinking(60)] == [11]


async def test_closed_messages_stay_closed_until_the_person_does_something() -> None:
    clock = Clock()
    reach = Reach(clock)
    reach.closed("ada")
    assert reach.is_closed("ada")
    reach.opened(reply(1, clock), "ada", "general")
    assert not reach.is_closed("ada")


async def test_what_is_over_is_forgotten() -> None:
    clock = Clock()
    reach = Reach(clock)
    for number in range(100):
        reach.opened(reply(number, clock), "ada", "general")
        clock.now += 60
    assert len(reach._open) <= 16
