"""What concerns every AWS call. Runs inside LocalStack."""
