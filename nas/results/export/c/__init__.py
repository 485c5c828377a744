"""Networks as plain C99 in 8-bit whole numbers, equal to the int8 ONNX of onnxruntime's tools."""
