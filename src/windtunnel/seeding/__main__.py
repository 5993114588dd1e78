"""Deploys functions by hand: ``python -m windtunnel.seeding``, as ``./windtunnel deploy`` does."""

from windtunnel.seeding.watch import main

main()
