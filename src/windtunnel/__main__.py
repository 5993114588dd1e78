"""Runs the command line: ``python -m windtunnel``, as ``./windtunnel`` does."""

from windtunnel.cli.commands import main

main()
