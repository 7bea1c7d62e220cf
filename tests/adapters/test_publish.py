"""What of an adapter's folder goes to the hub. The way there is in cli/test_push.py."""

from commands import make_adapter

from minilora.adapters.publish import contents


def test_only_the_files_of_an_adapter_are_pushed(tmp_path):
    folder = make_adapter(tmp_path / "a")
    for name in ("training_state.safetensors", "loss.png", "data.jsonl", ".env", "checkpoint.safetensors"):
        (folder / name).write_bytes(b"x")
    assert sorted(contents(folder, None)) == ["adapter_config.json", "adapter_model.safetensors"]


def test_a_base_by_its_hub_name_is_pushed_as_it_is(tmp_path, recwarn):
    folder = make_adapter(tmp_path / "a")
    assert contents(folder, "org/name") == contents(folder, None)
    assert len(recwarn) == 0
