"""Servers to test an HTTP client against, all of them on loopback addresses.

``server``
    a well-behaved web server (tornado) over http, https and IPv6;
``script``
    a raw server that plays a conversation byte by byte, however wrong it is;
``counting``
    a fast raw server with a thread per connection, which counts them and records requests;
``fast``
    a loop with canned answers, as quick as Python allows, for benchmarks;
``proxy``
    a proxy that forwards and opens tunnels, with Basic authentication if asked for;
``socks``
    a SOCKS proxy, versions 4, 4a and 5, which records what it was asked for;
``certs``
    certificates made for the occasion: good, expired, for another host, for a client.

Nothing is imported here: a test loads only the server it needs.
"""
