"""Evaluation: how well a model follows instructions, and how good its general view is.

What is typed after `inbedder eval` becomes tasks (`rows`, `tasks`, `published`) and contenders
(`contenders`); `measure` and `robustness` score each on each, and `page` and `show` tell of it.
`mteb_encoder` lets mteb run a model of this package.
"""
