"""What all brands of an environment share: network, cluster, Prefect, PostgreSQL, load balancer. Nothing here names a brand."""
