"""Windtunnel: a local, testable Airflow on AWS."""
