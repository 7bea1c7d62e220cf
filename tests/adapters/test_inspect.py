"""An adapter folder read without a model."""

import numpy as np
import pytest
from commands import make_adapter
from hypothesis import given
from hypothesis import strategies as st

from minilora.adapters.inspect import Update, read_adapter
from minilora.errors import MiniloraError


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.floats(-4, 4), st.integers(0, 2**32))
def test_the_norm_of_an_update_is_that_of_the_formed_matrix(out, n_in, r, scale, seed):
    rng = np.random.default_rng(seed)
    update = Update("q", rng.normal(size=(r, n_in)), rng.normal(size=(out, r)), scale)
    assert update.norm() == pytest.approx(np.linalg.norm(scale * update.B @ update.A), rel=1e-9, abs=1e-12)


@given(st.data())
def test_a_damaged_adapter_is_read_or_refused_but_never_crashes(tmp_path_factory, data):
    folder = make_adapter(tmp_path_factory.mktemp("fuzz"), r=1)
    file = folder / data.draw(st.sampled_from(["adapter_config.json", "adapter_model.safetensors"]))
    raw = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
    try:
        updates = read_adapter(folder).updates
    except MiniloraError as error:
        assert "\n" not in str(error)
    else:
        assert updates and all(np.isfinite(u.norm()) for u in updates)
