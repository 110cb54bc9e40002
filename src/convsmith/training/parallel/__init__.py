"""Several processes: groups, shards, replicas."""
