"""The wire between Taskstream's services: envelope, topics, payload models, and nothing else."""
