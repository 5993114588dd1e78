"""Puts into LocalStack what the stack stands on. Runs inside LocalStack."""
