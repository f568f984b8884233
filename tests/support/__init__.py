"""What several tests use: tiny models and suites, stand-ins for the hub and KFP, a real MinIO, faults."""
