"""Jobs beside the GPU are done in order, errors come back once, and nothing is under way once closed."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from engine.beside import Beside


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as executor:
        yield executor


def test_they_are_done_in_order_and_each_wakes(thread: ThreadPoolExecutor) -> None:
    done, woken = list[int](), threading.Semaphore(0)
    beside, free = Beside(thread, woken.release), threading.Event()
    beside.begin(free.wait)
    for number in range(3):
        beside.begin(lambda number=number: done.append(number))
    assert beside.under_way() == 4
    free.set()
    assert all(woken.acquire(timeout=5) for _ in range(4))
    beside.wait()
    assert (beside.under_way(), done) == (0, [0, 1, 2])


def test_what_went_wrong_is_raised_once_and_wakes(thread: ThreadPoolExecutor) -> None:
    def full() -> None:
        raise OSError("No space left")

    woken = threading.Event()
    beside = Beside(thread, woken.set)
    beside.begin(full)
    assert woken.wait(5)
    beside.wait()
    with pytest.raises(OSError, match="No space"):
        beside.under_way()
    assert beside.under_way() == 0


def test_once_closed_what_began_is_over_and_the_rest_is_never_done(thread: ThreadPoolExecutor) -> None:
    done, begun = list[str](), threading.Event()

    def slow() -> None:
        begun.set()
        time.sleep(0.2)
        done.append("slow")

    beside = Beside(thread, lambda: None)
    beside.begin(slow)
    beside.begin(lambda: done.append("never"))
    assert begun.wait(5)
    beside.close()
    assert done == ["slow"]
    assert beside.under_way() == 0
    thread.submit(lambda: None).result()
    assert done == ["slow"]


def test_closing_does_not_wait_for_what_others_have_begun(thread: ThreadPoolExecutor) -> None:
    free = threading.Event()
    other, beside = Beside(thread, lambda: None), Beside(thread, lambda: None)
    other.begin(lambda: free.wait(5))
    beside.begin(lambda: None)
    beside.close()
    assert other.under_way() == 1
    free.set()
