"""The kinds of model (`estimators` has them by name): each takes a `task`, and gives what was fitted and its ONNX form."""
