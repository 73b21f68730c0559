"""What every part of Brandhouse may import: errors, configuration, brands, contracts, artifacts and the ledger."""
