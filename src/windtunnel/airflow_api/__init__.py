"""Airflow's REST API. Runs on the user's machine and in the user's pytest."""
