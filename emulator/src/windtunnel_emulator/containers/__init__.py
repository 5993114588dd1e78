"""What ECS and Batch have in common: containers, which agents run. Runs inside LocalStack."""
