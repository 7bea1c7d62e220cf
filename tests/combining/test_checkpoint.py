"""A base and its adapters written as one checkpoint. What the command prints and refuses is in cli/test_merge.py."""

import numpy as np
import pytest
from commands import folder_bytes, make_adapter, make_base

import minilora as ml
from minilora.combining.checkpoint import MARK, check_target, filled_folder, merge_to_folder, merged_files
from minilora.errors import ConfigError, MiniloraError


def with_adapter(tmp_path):  # -> PeftModel, folder of the base, folder of the adapter
    base, adapter = make_base(tmp_path / "base"), make_adapter(tmp_path / "adapter")
    return ml.PeftModel.from_pretrained(ml.load_pretrained(base), adapter), base, adapter


def test_the_checkpoint_computes_the_same_and_its_difference_is_returned(tmp_path):
    model, base, adapter = with_adapter(tmp_path)
    ids = np.arange(2, 12)[None]
    apart = model(ids).numpy()
    merged = merge_to_folder(model, tmp_path / "out", base, [adapter])
    again = ml.load_pretrained(tmp_path / "out")
    np.testing.assert_allclose(again(ids).numpy(), apart, atol=1e-5)
    assert 0 < merged.difference < 1e-5 < merged.logit and merged.tokens == 32 and not merged.untied
    assert merged.bytes == sum(len(data) for data in folder_bytes(tmp_path / "out").values())


def test_every_file_of_a_merge_is_named_in_its_mark(tmp_path):
    model, base, adapter = with_adapter(tmp_path)
    merge_to_folder(model, tmp_path / "out", base, [adapter])
    assert set(merged_files(tmp_path / "out")) == set(folder_bytes(tmp_path / "out"))
    check_target(tmp_path / "out", [base, adapter])  # so it may be replaced


@pytest.mark.parametrize(
    ("out", "error", "says"),
    [
        ("base", ConfigError, "is one of the inputs"),
        ("base/../base", ConfigError, "is one of the inputs"),
        ("base/config.json", MiniloraError, "is a file"),
        ("full", ConfigError, "did not write its thesis.txt"),
    ],
)
def test_a_target_that_must_not_be_written_is_refused(tmp_path, out, error, says):
    base = make_base(tmp_path / "base")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(error, match=says):
        check_target(tmp_path / out, [base])


@pytest.mark.parametrize("exists", [False, True])
def test_a_block_that_fails_leaves_the_folder_as_it_was(tmp_path, exists):
    if exists:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / MARK).write_text('{"files": []}', encoding="utf-8")
    before = folder_bytes(tmp_path)
    with pytest.raises(MiniloraError, match="No space left"), filled_folder(tmp_path / "out") as temporary:
        (temporary / "config.json").write_text("{}", encoding="utf-8")
        raise OSError(28, "No space left on device")
    assert folder_bytes(tmp_path) == before and (tmp_path / "out").exists() == exists


def test_what_a_killed_merge_left_is_removed_and_refuses_nothing(tmp_path):
    (tmp_path / "out" / ".merging.abcd_123").mkdir(parents=True)
    check_target(tmp_path / "out", [])
    with filled_folder(tmp_path / "out") as temporary:
        (temporary / "config.json").write_text("{}", encoding="utf-8")
    assert set(folder_bytes(tmp_path)) == {"out/config.json"}


def test_two_merges_into_one_folder_are_refused_the_second_time(tmp_path):
    with filled_folder(tmp_path / "out") as temporary:
        (temporary / "config.json").write_text("{}", encoding="utf-8")
        with pytest.raises(MiniloraError, match="another process is writing into"), filled_folder(tmp_path / "out"):
            pass
    assert set(folder_bytes(tmp_path)) == {"out/config.json"}
