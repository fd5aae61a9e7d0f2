"""A bundle as one .onnx file, which onnxruntime runs without torch."""
