"""Tracers that hook methods from outside see the requests of urllib4.

Every function runs in an interpreter of its own in which urllib3 is urllib4 (see conftest.py).
"""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.needs("sentry_sdk")
def test_sentry_makes_a_span_and_a_breadcrumb_of_each_request(http: str) -> None:
    """It wraps ``putrequest`` and ``getresponse`` of http.client, and adds a header in between."""
    import sentry_sdk
    import urllib3
    from sentry_sdk.integrations.stdlib import StdlibIntegration

    sent: list[Any] = []
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:1/1",
        transport=sent.append,
        traces_sample_rate=1.0,
        default_integrations=False,
        integrations=[StdlibIntegration()],
        trace_propagation_targets=[".*"],
    )
    manager = urllib3.PoolManager()
    with sentry_sdk.start_transaction(name="test") as transaction:
        echoed = manager.request("GET", f"{http}/echo?a=1").json()
        manager.request("POST", f"{http}/redirect?target=/status%3Fstatus=404", body=b"x" * 50_000)
        spans = [span for span in transaction._span_recorder.spans if span.op == "http.client"]
    manager.clear()

    assert dict(echoed["headers"])["Sentry-Trace"].startswith(transaction.trace_id)
    assert [span.description for span in spans] == [
        f"GET {http}/echo",
        f"POST {http}/redirect",
        f"GET {http}/status",
    ]
    assert [span._data["http.response.status_code"] for span in spans] == [200, 303, 404]


@pytest.mark.needs("sentry_sdk")
def test_sentry_sends_its_events_by_a_pool_of_ours(http: str) -> None:
    """Its transport reads ``urllib3.PoolManager`` and rate limits in response headers."""
    import sentry_sdk

    sentry_sdk.init(dsn=http.replace("://", "://key@") + "/1", default_integrations=False)
    transport = sentry_sdk.get_client().transport
    assert transport is not None
    losses: list[Any] = []
    transport.on_dropped_event = losses.append
    sentry_sdk.capture_message("hello")
    sentry_sdk.flush(timeout=5)
    (key,) = transport._pool.pools.keys()
    pool = transport._pool.pools[key]

    assert set(losses) == {"status_404"}  # what dummyserver says to it
    assert (pool.num_requests, pool.num_connections) == (len(losses), 1)


@pytest.mark.needs("opentelemetry.instrumentation.urllib3")
def test_opentelemetry_sees_each_redirect(http: str) -> None:
    """It wraps ``HTTPConnectionPool.urlopen`` on the class and writes into its headers."""
    import urllib3
    from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = URLLib3Instrumentor()
    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    retries = urllib3.Retry(3, status_forcelist=[503], backoff_factor=0)
    try:
        manager = urllib3.PoolManager(retries=retries)
        echoed = manager.request("GET", f"{http}/redirect?target=/echo").json()
        manager.request("GET", f"{http}/successful_retry?key=otel&fail=2")
    finally:
        instrumentor.uninstrument()
    manager.request("GET", f"{http}/")
    manager.clear()

    spans = exporter.get_finished_spans()
    assert "Traceparent" in dict(echoed["headers"])
    statuses = [dict(span.attributes or {})["http.status_code"] for span in spans]
    assert statuses == [303, 200, 200]  # it looks away while a retry is inside of another attempt


@pytest.mark.needs("opentelemetry.instrumentation.urllib3")
def test_opentelemetry_hooks_get_the_pool_and_the_response(http: str) -> None:
    import urllib3
    from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
    from opentelemetry.sdk.trace import TracerProvider

    seen: list[Any] = []

    def on_request(span: Any, pool: Any, info: Any) -> None:
        seen.append((type(pool), info.method, info.url, info.body))

    def on_response(span: Any, pool: Any, response: Any) -> None:
        seen.append((response.status, response.data))

    instrumentor = URLLib3Instrumentor()
    instrumentor.instrument(
        tracer_provider=TracerProvider(),
        request_hook=on_request,
        response_hook=on_response,
        skip_dep_check=True,
    )
    manager = urllib3.PoolManager()
    manager.request("PUT", f"{http}/echo_raw", body=b"body")
    manager.clear()

    assert seen == [
        (urllib3.HTTPConnectionPool, "PUT", f"{http}/echo_raw", b"body"),
        (200, b"body"),
    ]
