"""What happens to a model after its deployment: watching, retraining, alerts, provenance, forgetting, scores of readiness, cost."""
