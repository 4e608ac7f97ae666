"""The command line ``python -m urllib4``; only ``urllib4.__main__`` imports it."""
