"""The numpy types that travel between steps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
I8 = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]
Index = I64 | slice
"""Which rows: positions in order, or a slice."""
