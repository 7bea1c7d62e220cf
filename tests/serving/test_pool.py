"""The pool: adapters by name, read on demand, kept while they answer, evicted when others need the room."""

import json
import shutil
import threading
import time
import unicodedata

import numpy as np
import pytest
from tiny import tiny_llama

import minilora as ml
from minilora.adapters.inject import AdaptedModel
from minilora.errors import BusyError, ConfigError, FormatError, MiniloraError, UnknownNameError
from minilora.serving.names import is_name
from minilora.serving.pool import TURN, Pool

CONFIG = ml.LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj"], init_lora_weights=False)


def save(folder, config=CONFIG, seed=0, base_seed=0, **sizes):
    ml.get_peft_model(tiny_llama(base_seed, **sizes), config, seed=seed).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate("abcd"):
        save(tmp_path / name, seed=seed)
    return tmp_path


def pool_of(folder, max_loras=2, max_cpu_loras=3, **options):
    return Pool(AdaptedModel(tiny_llama()), max_loras, max_cpu_loras, folder=folder, **options)


def use(pool, name):
    """Ask for an adapter and end the request at once."""
    version = pool.lease(name)
    assert pool.activate(version)
    pool.release(version)
    return version


def test_a_folder_answers_by_its_name_and_is_read_once(folder):
    pool = pool_of(folder)
    assert use(pool, "a") is use(pool, "a")
    assert [name for name, _, loaded in pool.names() if loaded] == ["a"]
    assert [name for name, _, _ in pool.names()] == ["b", "c", "d", "a"]


def test_the_least_recently_used_is_evicted_and_its_memory_freed(folder):
    pool = pool_of(folder)
    for name in ("a", "b", "c", "a", "d"):
        use(pool, name)
    assert pool.evicted == ["b"]
    assert {v.name for v in pool.versions.values()} == {"a", "c", "d"}
    assert len(pool.active) == 2
    assert len(pool.resident.slots) == 2


def test_an_adapter_in_use_is_not_evicted(folder):
    pool = pool_of(folder)
    held = [pool.lease(name) for name in "abc"]
    with pytest.raises(BusyError, match="all 3 adapters in memory are in use"):
        pool.lease("d")
    assert len([v for v in pool.versions.values() if v.leases]) == 3
    pool.release(held[0])
    assert use(pool, "d").name == "d"


def test_a_slot_of_a_running_adapter_is_held(folder):
    pool = pool_of(folder)
    held = [pool.lease(name) for name in "abc"]
    assert pool.activate(held[0]) and pool.activate(held[1])
    held[0].rows = held[1].rows = 1
    assert not pool.activate(held[2])
    held[0].rows = 0
    assert pool.activate(held[2]) and held[0].key not in pool.active


def test_a_reload_makes_another_version_and_the_old_one_ends_with_its_last_request(folder):
    pool = pool_of(folder)
    old = pool.lease("a")
    pool.activate(old)
    pool.add("a", save(folder / "b"), replace=True)
    new = pool.lease("a")
    assert new is not old and old.dropped and old.key in pool.versions
    pool.release(old)
    assert old.key not in pool.versions
    assert pool.activate(new) and old.key not in pool.active


def test_a_folder_whose_files_changed_is_read_again(folder):
    pool = pool_of(folder)
    before = use(pool, "a")
    save(folder / "a", seed=9)
    after = use(pool, "a")
    assert after is not before
    A, B = (v.adapter.methods["model.layers.0.self_attn.q_proj"].A.data for v in (before, after))
    assert not np.array_equal(A, B)


@pytest.mark.parametrize("name", ["history.json", "tokenizer_config.json", "chat_template.jinja"])
def test_a_folder_is_read_again_when_a_file_changed_that_says_how_it_is_asked(folder, name):
    pool = pool_of(folder)
    before = use(pool, "a")
    (folder / "a" / name).write_text("{}")
    assert use(pool, "a") is not before


def test_every_name_that_is_listed_answers_and_no_other(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    save(outside / "x")
    (folder / "out").symlink_to(outside / "x")
    (folder / "in").symlink_to(folder / "a")
    (folder / "empty").mkdir()
    pool = pool_of(folder)
    use(pool, "b")
    shutil.rmtree(folder / "b")
    assert [name for name, _, _ in pool.names()] == ["a", "c", "d", "in"]
    for name in ("out", "b", "empty"):
        with pytest.raises(MiniloraError, match="does not exist|no adapter in"):
            pool.lease(name)
    assert not pool.versions and not pool.entries


def test_an_unloaded_name_answers_again_while_its_folder_stands(folder):
    pool = pool_of(folder)
    use(pool, "a")
    pool.remove("a")
    assert not pool.versions
    use(pool, "a")
    pool.remove("a")
    shutil.rmtree(folder / "a")
    with pytest.raises(UnknownNameError, match="The model `a` does not exist"):
        pool.lease("a")


def test_a_name_is_taken_by_loading_and_not_by_a_folder(folder):
    pool = pool_of(folder)
    pool.add("a", folder / "b")
    with pytest.raises(ConfigError, match="'a' has already been loaded. .* 'load_inplace' to true"):
        pool.add("a", folder / "c")
    with pytest.raises(UnknownNameError, match="'x' cannot be found"):
        pool.remove("x")


def test_two_names_of_one_folder_are_two_adapters(folder):
    pool = pool_of(folder)
    one, two = pool.add("one", folder / "a"), pool.add("two", folder / "a")
    assert one is not two
    pool.remove("one")
    assert use(pool, "two") is two


def test_two_requests_at_once_read_an_adapter_once(folder):
    pool = pool_of(folder, max_cpu_loras=8)
    found = []
    threads = [threading.Thread(target=lambda: found.append(pool.lease("a"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and found[0].leases == 6


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".a", "a/b", "a\\b", "a\0b", "a\nb", " a", "__base__", None, 3, "x" * 201]
)
def test_what_is_no_path_component_is_no_name(name, folder):
    assert not is_name(name)
    pool = pool_of(folder)
    with pytest.raises(ConfigError, match="lora_name"):
        pool.add(name, folder / "a")
    with pytest.raises(UnknownNameError, match="does not exist"):
        pool.lease(name)


@pytest.mark.parametrize("name", ["my adapter", "Änne", "学", "a.b", "a#1", "x" * 200])
def test_spaces_and_accents_are_names(name, folder):
    assert is_name(name)
    assert use_as(pool_of(folder), name, folder / "a").name == name


def test_a_name_with_accents_is_found_in_both_spellings_of_unicode(folder):
    one, two = (unicodedata.normalize(form, "Zoë Ünal") for form in ("NFC", "NFD"))
    assert one != two
    (folder / "a").rename(folder / two)
    pool = pool_of(folder)
    assert use(pool, one) is use(pool, two)
    assert [name for name, _, _ in pool.names()] == ["b", "c", "d", two]
    pool.add(one, folder / "b")
    assert use(pool, one).path == folder / "b" and use(pool, two).path == folder / two


def use_as(pool, name, path):
    pool.add(name, path)
    return use(pool, name)


def test_a_path_of_a_request_lies_inside_the_folder(folder, tmp_path_factory):
    pool = pool_of(folder)
    assert pool.inside("a") == pool.inside(str(folder / "a")) == (folder / "a").resolve()
    outside = tmp_path_factory.mktemp("outside")
    (folder / "link").symlink_to(outside)
    for path in ("..", "../x", str(outside), "link", "a/../../x", "", ".", "a\0b", 3, None):
        with pytest.raises(ConfigError, match="lora_path"):
            pool.inside(path)
    with pytest.raises(ConfigError, match="no --lora-dir"):
        pool_of(None).inside("a")
    with pytest.raises(UnknownNameError):
        pool.lease("link")


def rewrite(path, **changes):
    config = json.loads((path / "adapter_config.json").read_text()) | changes
    (path / "adapter_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("harm", "error", "said"),
    [
        (lambda p: (p / "adapter_model.safetensors").unlink(), FormatError, "adapter_model.safetensors is missing"),
        (lambda p: (p / "adapter_config.json").unlink(), FormatError, "adapter_config.json is missing"),
        (lambda p: shutil.rmtree(p), MiniloraError, "no adapter in|does not exist"),
        (lambda p: (p / "adapter_model.safetensors").write_bytes(b"12345678"), FormatError, "adapter_model"),
        (lambda p: rewrite(p, r=0), ConfigError, "r = 0"),
        (lambda p: rewrite(p, r=2), FormatError, "wrong shape"),
        (lambda p: rewrite(p, target_modules=["k_proj"]), FormatError, "missing"),
        (lambda p: save(p, hidden_size=20), FormatError, "wrong shape"),
        (lambda p: save(p, base_seed=5), ConfigError, "was trained on another base than this one"),
        (lambda p: save(p, ml.LoraConfig(r=9, target_modules=["down_proj"])), ConfigError, "greater than max_lora_r"),
        (lambda p: save(p, ml.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"])), ConfigError,
         "modules_to_save"),
        (lambda p: save(p, ml.PrefixTuningConfig(num_virtual_tokens=3)), ConfigError, "has tokens in front"),
    ],
)  # fmt: skip
def test_a_bad_adapter_is_refused_before_it_has_a_name(folder, harm, error, said):
    harm(folder / "b")
    pool = pool_of(folder, max_rank=8)
    good = pool.lease("a")
    for ask in (lambda: pool.add("new", folder / "b"), lambda: pool.lease("b")):
        with pytest.raises(MiniloraError, match=said) as caught:
            ask()
        assert isinstance(caught.value, error)
    assert list(pool.versions.values()) == [good]
    assert "new" not in pool.entries


def test_of_two_loads_of_one_name_at_once_one_is_refused(folder):
    pool, found = pool_of(folder, max_cpu_loras=8), []

    def load():
        try:
            found.append(pool.add("x", folder / "a"))
        except ConfigError as error:
            found.append(error)

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(not isinstance(f, ConfigError) for f in found) == 1 == len(pool.versions)


def test_a_folder_that_cannot_be_read_leaves_no_name_behind(folder):
    (folder / "b" / "adapter_model.safetensors").write_bytes(b"")
    pool = pool_of(folder)
    with pytest.raises(MiniloraError):
        pool.lease("b")
    with pytest.raises(UnknownNameError):
        pool.remove("b")


def test_a_failed_reload_leaves_the_old_version(folder):
    pool = pool_of(folder)
    pool.add("a", folder / "a")
    (folder / "b" / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(MiniloraError):
        pool.add("a", folder / "b", replace=True)
    assert use(pool, "a").path == folder / "a"


def test_fewer_places_in_memory_than_slots_are_refused(folder):
    with pytest.raises(ConfigError, match="max_cpu_loras 1: expected at least max_loras, 2"):
        pool_of(folder, max_cpu_loras=1)


def test_a_load_evicts_the_longest_unused_and_not_itself(folder):
    pool = pool_of(folder)
    for name in "abc":
        use(pool, name)
    version = pool.add("new", folder / "d")
    assert pool.evicted == ["a"] and {v.name for v in pool.versions.values()} == {"b", "c", "new"}
    assert use(pool, "new") is version


@pytest.mark.parametrize("known", [False, True])
def test_a_load_that_finds_no_memory_changes_nothing(folder, known):
    pool = pool_of(folder)
    if known:
        pool.add("new", folder / "a")
    held = [pool.lease(name) for name in (("new", "b", "c") if known else "abc")]
    before = dict(pool.entries)
    with pytest.raises(BusyError, match="all 3 adapters in memory are in use"):
        pool.add("new", folder / "d", replace=True)
    assert list(pool.versions.values()) == held and pool.entries == before


def test_the_version_of_a_folder_that_changed_goes_with_its_last_request(folder):
    pool = pool_of(folder)
    before = use(pool, "a")
    save(folder / "a", seed=9)
    after = pool.lease("a")
    assert list(pool.versions.values()) == [after] and before.dropped


def test_an_adapter_that_is_unloaded_while_it_is_read_goes_with_the_request_that_read_it(folder):
    pool, read = pool_of(folder), Pool._read

    def slowly(name, path):
        pool.remove(name)
        return read(pool, name, path)

    pool._read = slowly
    version = pool.lease("a")
    assert version.dropped and version.leases == 1
    pool.release(version)
    assert not pool.versions and not pool.entries


def test_nothing_is_read_during_a_step_and_a_reader_goes_on_behind_it(folder):
    pool, found = pool_of(folder), []
    reader = threading.Thread(target=lambda: found.append(pool.lease("a")))
    with pool.turn():
        reader.start()
        reader.join(0.2)
        assert reader.is_alive() and not found
    reader.join(10)
    assert found[0].name == "a"


def test_a_step_waits_for_a_slow_reader_no_longer_than_a_turn(folder):
    pool = pool_of(folder)
    with pool._turn:
        began = time.monotonic()
        with pool.turn():
            assert TURN <= time.monotonic() - began < 2
    assert not pool._turn.locked()
