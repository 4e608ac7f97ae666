"""Optional parts: what needs further packages, or changes more than a connection.

Nothing of urllib4 imports them; import the one that you want.
"""
