"""The peer of `bench_first_day.py`: the shortest script with scikit-learn and MLflow from a table to a served model.

What an analyst would write today without a platform: read, split, fit, log, and `mlflow models serve`. No contract, gate,
baseline, ledger, key or test comes with it.

    python benchmarks/peer_first_day.py TABLE.csv TARGET MODEL_FOLDER
"""

import sys

import mlflow.sklearn
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder


def main(table: str, target: str, folder: str) -> None:
    rows = pd.read_csv(table)
    features, truth = rows.drop(columns=target), rows[target]
    train_features, _, train_truth, _ = train_test_split(features, truth, random_state=0)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((encoder, make_column_selector(dtype_exclude="number")), remainder="passthrough")
    model = make_pipeline(columns, HistGradientBoostingRegressor(random_state=0)).fit(train_features, train_truth)
    trusted = [
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    ]
    mlflow.sklearn.save_model(
        model, folder, input_example=features.dropna().head(2), pip_requirements=["scikit-learn"], skops_trusted_types=trusted
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
