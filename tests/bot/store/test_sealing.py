"""Only the same secret and the same key open what was closed."""

import pytest

from bot.errors import ServiceUnavailable
from bot.store.sealing import Seal, confirm_key, is_key

# Made by the first release: files that lie in people's folders since then.
WRITTEN = bytes.fromhex("4c4b42319b24853a3680a6b0641d02700c05d9bc90aeff778104393c7513a88aba226f1611ce")


def test_what_the_first_release_wrote_opens_for_good() -> None:
    assert Seal(b"k" * 32).open("persons/ab/photos/p1", WRITTEN) == b"a face"


def test_the_same_bytes_are_closed_differently_each_time() -> None:
    seal = Seal(b"k" * 32)
    assert seal.close("a", b"x") != seal.close("a", b"x")
    assert seal.open("a", seal.close("a", b"x")) == b"x"


@pytest.mark.parametrize(("secret", "key"), [(b"j" * 32, "a"), (b"k" * 32, "b")])
def test_another_secret_or_key_does_not_open_it(secret: bytes, key: str) -> None:
    with pytest.raises(ServiceUnavailable, match="LIKENESS_KEY"):
        Seal(secret).open(key, Seal(b"k" * 32).close("a", b"x"))


def test_a_key_is_a_path_of_plain_words() -> None:
    assert confirm_key("persons/ab/photos/p-1.jpg") == "persons/ab/photos/p-1.jpg"
    assert not any(is_key(each) for each in ("", "/a", "a/../b", "a/", "a b", "a\n"))
