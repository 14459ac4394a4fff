"""The smallest pipeline: a source, a step, a sink.

Rows come from a source, steps change them one after another, and a sink takes what is left; here it prints.  Nothing
runs before ``run()``.  Try also ``streamflow run 01_hello.py`` and ``streamflow explain 01_hello.py``.
"""

import streamflow as sf

pipeline = sf.Pipeline("hello")
words = pipeline.read("words", ["streams", "are", "tables", "in", "motion"])
words.filter(lambda word: len(word) > 2).map(str.upper, name="shout").show()

if __name__ == "__main__":
    pipeline.run()
