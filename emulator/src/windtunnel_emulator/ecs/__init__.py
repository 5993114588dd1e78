"""Amazon ECS: moto's records of clusters and definitions, tasks that agents run. Runs inside LocalStack."""
