"""MLServer's own way for a pipeline that takes named columns: its pandas codec in front of the scikit-learn model."""

import joblib
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, PandasCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Loans(MLModel):
    """Serves one pipeline."""

    async def load(self) -> bool:
        """Read the pipeline."""
        self._model = joblib.load(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request."""
        shares = self._model.predict_proba(PandasCodec.decode_request(payload))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("predict_proba", shares)])
