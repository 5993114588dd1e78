"""Run by LocalStack inside its own process each time that it has started."""

from windtunnel.seeding import watch

watch.main_in_localstack()
