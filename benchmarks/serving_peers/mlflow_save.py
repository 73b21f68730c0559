"""Save a joblib pipeline as an MLflow model: `python mlflow_save.py PIPELINE.joblib FOLDER`."""

import sys

import joblib
import mlflow.sklearn

mlflow.sklearn.save_model(
    joblib.load(sys.argv[1]),
    sys.argv[2],
    pip_requirements=["scikit-learn"],
    serialization_format="cloudpickle",
    pyfunc_predict_fn="predict_proba",
)
