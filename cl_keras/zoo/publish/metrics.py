"""The metrics of a run for its card, each with the protocol by which it was measured."""

import json

from cl_keras.zoo import cards

LEARNED = "learned encoder"


def metrics_of_run(folder):
    """`cards.Metric`s of the learned encoder in evaluation.json; none, if it is not there.

    Raises:
        ValueError: if that file is not as `cl-keras evaluate` writes it.
    """
    path = folder / "evaluation.json"
    if not path.is_file():
        return ()
    try:
        result = json.loads(path.read_text("utf-8"))
        return tuple(
            cards.Metric(metric["name"], float(metric["value"]), str(metric["protocol"]), None)
            for metric in result["encoders"][LEARNED]
            if not metric["name"].endswith("_labels")  # the label curve
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not as `cl-keras evaluate` writes it: {error!r}.") from None
