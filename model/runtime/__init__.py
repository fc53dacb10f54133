"""Where a bundle's networks run: ONNX Runtime on a CPU, torch on a GPU, behind one protocol.

Serving on a CPU imports no torch; only the modules here whose names begin with `torch_` do.
"""
