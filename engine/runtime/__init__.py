"""How an artefact answers: in a simulation, in an evaluation and in a service by the same code.

The modules need NumPy and ONNX Runtime only, and import one another relatively, because they are
copied into every Bento.
"""
