"""Keeps S3 on disk. Runs inside LocalStack."""
