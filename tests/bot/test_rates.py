"""Token buckets: bursts are allowed, averages are kept."""

from bot.rates import CHAT_BURST, Bucket, Rates
from tests.fakes import FakePlatform, place


def taken(bucket: Bucket, now: float) -> int:
    count = 0
    while count < 1000 and bucket.wait_seconds(now) == 0.0:
        bucket.take()
        count += 1
    return count


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(rate=2.0, burst=5.0)
    assert taken(bucket, 100.0) == 5
    assert bucket.wait_seconds(100.0) == 0.5
    assert taken(bucket, 101.0) == 2
    assert taken(bucket, 1000.0) == 5


def test_an_album_is_taken_on_credit() -> None:
    bucket = Bucket(rate=1.0, burst=3.0)
    assert bucket.wait_seconds(0.0) == 0.0
    bucket.take(10)
    assert bucket.wait_seconds(0.0) == 8.0


def test_no_rate_is_no_limit() -> None:
    assert taken(Bucket(0.0, 0.0), 1.0) == 1000


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    bucket = Bucket(rate=1.0, burst=1.0)
    assert taken(bucket, 100.0) == 1
    assert bucket.wait_seconds(50.0) == 1.0


def test_a_group_has_a_limit_of_its_own() -> None:
    limits = FakePlatform().limited(chat_interval_seconds=0.001, group_per_minute=20).capabilities
    rates, group = Rates(limits), place(chat="g")
    count = 0
    for second in range(60):
        while rates.chat_wait_seconds(group, 1000.0 + second / 1000) == 0.0:
            rates.take(group, 1)
            count += 1
    assert count == 20
    assert rates.chat_wait_seconds(place(), 1000.06) == 0.0
    assert CHAT_BURST >= 1
