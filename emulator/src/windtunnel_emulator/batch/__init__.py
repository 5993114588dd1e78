"""AWS Batch: moto's records of queues and definitions, and jobs that agents run. Runs inside LocalStack."""
