"""The figures users can repeat: `inbedder bench`.

Everything in one report is measured in one run on the same texts, in turns: on a shared machine
only ratios within a run mean much.
"""
