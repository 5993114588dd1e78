"""Runs Lambda functions as processes. Runs inside LocalStack."""
