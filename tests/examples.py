"""Which examples hypothesis tries, and how many.

A run of the tests is repeatable: the same examples each time, so that a failure is about the
change at hand.  To look for new ones, ten times as many, at random::

    nox -s test -- --hypothesis-profile=search

A failure of such a search prints its example, which becomes an ``@example`` of the test.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

#: What tests try that do not ask for a number of their own.
USUAL = 100


def register_profiles() -> None:
    """Make both profiles known, and load the repeatable one."""
    settings.register_profile(
        "repeatable",
        derandomize=True,
        max_examples=USUAL,
        deadline=None,  # how fast the machine is at the moment does not decide
        suppress_health_check=[HealthCheck.too_slow],
        print_blob=True,
    )
    settings.register_profile(
        "search",
        settings.get_profile("repeatable"),
        derandomize=False,
        max_examples=10 * USUAL,
    )
    settings.load_profile("repeatable")


def examples(count: int, *suppressed: HealthCheck) -> settings:
    """Return settings for `count` examples, in proportion to the profile.

    :param suppressed: health checks that a test does not pass on purpose.
    """
    profile = settings()
    return settings(
        max_examples=count * profile.max_examples // USUAL,
        suppress_health_check=[*profile.suppress_health_check, *suppressed],
    )
