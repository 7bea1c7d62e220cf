"""An adapter folder read without a model."""

import numpy as np
import pytest
from checkpoints import edit_json
from commands import make_adapter
from hypothesis import given
from hypothesis import strategies as st

from minilora.adapters.inspect import Update, read_adapter
from minilora.errors import MiniloraError
from minilora.files.safetensors import read_tensors, write_tensors


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.floats(-4, 4), st.integers(0, 2**32))
def test_the_norm_of_an_update_is_that_of_the_formed_matrix(out, n_in, r, scale, seed):
    rng = np.random.default_rng(seed)
    update = Update("q", rng.normal(size=(r, n_in)), rng.normal(size=(out, r)), scale)
    assert update.norm() == pytest.approx(np.linalg.norm(scale * update.B @ update.A), rel=1e-9, abs=1e-12)


def test_weights_of_the_base_that_are_saved_along_are_not_counted(tmp_path):
    folder = make_adapter(tmp_path / "a")
    own = read_adapter(folder).parameters
    tensors = read_tensors(folder / "adapter_model.safetensors")
    along = {f"base_model.model.{name}.weight": np.ones((9, 16), np.float32) for name in ("lm_head", "model.embed")}
    write_tensors(folder / "adapter_model.safetensors", tensors | along)
    found = read_adapter(folder)
    assert found.parameters == own and not found.copies
    assert sorted(found.base_copies) == ["lm_head.weight", "model.embed.weight"]
    edit_json(folder / "adapter_config.json", modules_to_save=["lm_head"])
    assert read_adapter(folder).parameters == own + 9 * 16


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
