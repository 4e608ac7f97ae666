"""Every warning of the library, at home in :mod:`urllib4.exceptions`.

Apart from the errors, which need http.client: ``import urllib4`` sets the filters of two of these,
and would load three times as much.
"""

from __future__ import annotations


class HTTPWarning(Warning):
    """Base of every warning of this library, except for deprecations (``FutureWarning``)."""


class SecurityWarning(HTTPWarning):
    """Something works, but less safely than it should."""


class InsecureRequestWarning(SecurityWarning):
    """An HTTPS request was made without verifying the certificate."""


class NotOpenSSLWarning(SecurityWarning):
    """The ``ssl`` module is built on a library other than OpenSSL."""


class SystemTimeWarning(SecurityWarning):
    """The system's clock is so wrong that certificates will not verify."""


class InsecurePlatformWarning(SecurityWarning):
    """The platform's TLS lacks features that safe connections need."""


class DependencyWarning(HTTPWarning):
    """An optional dependency is missing, or too old to be used safely."""


# What they are called in messages and in pickles, and where documentation looks for them.
for _warning in (
    HTTPWarning,
    SecurityWarning,
    InsecureRequestWarning,
    NotOpenSSLWarning,
    SystemTimeWarning,
    InsecurePlatformWarning,
    DependencyWarning,
):
    _warning.__module__ = f"{__package__}.exceptions"
