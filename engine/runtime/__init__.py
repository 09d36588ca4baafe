"""How an artefact answers: in a simulation, in an evaluation and in a service by the same code.

The modules need NumPy only, besides what a runtime brings its model to life with, and import one
another relatively, because they are copied into every Bento.
"""
