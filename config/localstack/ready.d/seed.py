"""Run by LocalStack inside its own process each time that it has started."""

from windtunnel import seeding

seeding.main_in_localstack()
