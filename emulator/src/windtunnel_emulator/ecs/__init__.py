"""Amazon ECS: moto's records of clusters and task definitions, and tasks that agents run. Runs inside LocalStack."""
