"""Training: any encoder or causal model becomes one that follows questions.

`train.py` is the way in. Nothing here is loaded by `import inbedder_retrieval`.
"""
