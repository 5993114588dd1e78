"""Run by LocalStack inside its own process each time that it has started."""

from windtunnel.seeding import functions as seeding

seeding.main_in_localstack()
