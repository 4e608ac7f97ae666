"""A family of cases in one test fails as its cases would."""

from __future__ import annotations

import pytest

from tests.families import every

tried: list[tuple[str, int]] = []


@every(letter="ab", number=[1, 2, 3])
def test_each_combination_is_tried(tmp_path_factory: object, letter: str, number: int) -> None:
    assert tmp_path_factory is not None, "fixtures are those of any test"
    tried.append((letter, number))
    if (letter, number) == ("b", 3):
        assert len(set(tried)) == len(tried) == 6


def test_all_that_failed_are_named_and_the_first_is_the_cause() -> None:
    @every(number=range(10))
    def family(number: int) -> None:
        if number == 7:
            with pytest.raises(ValueError):
                pass
        assert number != 4, "four"

    with pytest.raises(AssertionError, match=r"^2 of 10 cases failed") as caught:
        family()
    assert "{'number': 4}: AssertionError('four" in str(caught.value)
    assert "{'number': 7}: DID NOT RAISE" in str(caught.value)
    assert "four" in str(caught.value.__cause__)


def test_a_family_has_members() -> None:
    with pytest.raises(AssertionError, match="tests nothing"):
        every(number=[])


def test_a_member_is_an_argument() -> None:
    with pytest.raises(AssertionError):
        every(number=[1])(lambda name: None)
