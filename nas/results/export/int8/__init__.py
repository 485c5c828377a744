"""Networks in 8-bit whole numbers: what is computed, as ONNX, quantised by onnxruntime's tools."""
