"""HTTP/1.1 messages on the wire (RFC 9112): bytes to heads and bodies, and back.

``head`` reads and writes the start line and the fields, ``framing`` decides where a body
ends, ``stream`` is the one buffered reader of a connection, ``body`` reads one body from
it and ``message`` puts these together as an :class:`http.client.HTTPResponse`.
"""
