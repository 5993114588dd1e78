"""Puts into LocalStack what the stack needs of AWS. Runs inside LocalStack."""
