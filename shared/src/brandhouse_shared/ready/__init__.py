"""Ready estimators and features for brand modules: `from brandhouse_shared.ready import prices, times`.

Everything here compiles to ONNX and agrees with scikit-learn there. Only brand code imports it, and authoring to offer
it; a version's record holds the digest of those modules of it that the brand uses.
"""
