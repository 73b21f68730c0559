"""What the local target stands on: names in database and store, credentials of operator and deployers, the processes of one machine."""
