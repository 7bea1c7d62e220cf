"""`minilora params`: what it prints, in every form."""

import csv
import io
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from minilora.cli.params import CARD, MEMORY, params
from minilora.counting.architectures.presets import PRESETS
from minilora.errors import ConfigError, MiniloraError

KEYS = {
    "model", "targets", "rank", "base", "trainable", "total", "percent", "reduction", "adapter_bytes_fp32",
    "adapter_bytes_16bit", "file_bytes_fp32", "file_bytes_16bit",
}  # fmt: skip


def run(*arguments):  # -> what is printed
    result = CliRunner().invoke(params, arguments, catch_exceptions=False, standalone_mode=False)
    assert result.exception is None
    return result.stdout


def refused(*arguments):  # -> the line
    with pytest.raises(MiniloraError) as error:
        CliRunner().invoke(params, arguments, catch_exceptions=False, standalone_mode=False)
    return str(error.value)


def test_json_is_an_array_with_one_object_per_rank_and_target_set():
    rows = json.loads(run("gpt2", "--rank", "4,16", "--targets", "c_attn", "--targets", "all-linear", "--json"))
    assert [(r["targets"], r["rank"], r["trainable"]) for r in rows] == [
        ("c_attn", 4, 147_456), ("c_attn", 16, 589_824), ("all-linear", 4, 589_824), ("all-linear", 16, 2_359_296),
    ]  # fmt: skip
    assert all(r.keys() >= KEYS for r in rows)


def test_one_matrix_reads_128_times_fewer():
    (row,) = json.loads(run("4096x4096", "--rank", "16", "--json"))
    assert (row["base"], row["trainable"], row["reduction"]) == (16_777_216, 131_072, 128)
    assert row["percent"] == pytest.approx(100 * 131_072 / (16_777_216 + 131_072), rel=1e-12)
    assert (row["adapter_bytes_fp32"], row["adapter_bytes_16bit"]) == (524_288, 262_144)
    assert row["adapter_bytes_fp32"] < row["file_bytes_fp32"] < row["adapter_bytes_fp32"] + 1000


def test_csv_has_the_same_rows_as_json():
    arguments = ("llama-3-8b", "--rank", "8,16", "--targets", "q_proj,v_proj")
    lines = list(csv.DictReader(io.StringIO(run(*arguments, "--csv"))))
    assert len(lines) == 2
    for line, row in zip(lines, json.loads(run(*arguments, "--json")), strict=True):
        memory = {c: row["memory"][m]["peak"]["recomputed"]["total"] for c, m in MEMORY.items()}
        cards = {c: row["memory"][m]["variants"]["recomputed"]["card"] for c, m in CARD.items()}
        assert cards["card_lora"] == 22.5
        row |= memory | cards | {"full_over_lora": row["flops_per_token"]["full_over_lora"]}
        assert {key: str(row[key]) for key in line} == line


def test_the_default_targets_are_those_of_peft_for_the_model():
    (row,) = json.loads(run("phi-2", "--json"))
    assert (row["targets"], row["matrices"]) == ("q_proj,v_proj,fc1,fc2", 4 * 32)


def test_memory_operations_and_serving_are_in_every_object():
    (row,) = json.loads(run("llama-3-8b", "--rank", "16", "--batch", "2", "--length", "1024", "--json"))
    assert list(row["memory"]) == ["full", "full, 16-bit", "LoRA", "4-bit + LoRA", "4-bit + LoRA, prepared"]
    for budget in row["memory"].values():
        for peak in budget["peak"].values():
            assert peak["total"] == sum(i["bytes"] for i in peak["items"]) == max(peak["moments"].values())
            assert all(i["formula"] for i in peak["items"])
        assert budget["variants"]["recomputed"]["total"] == budget["peak"]["recomputed"]["total"]
        assert {c["gb"]: c["verdict"] for c in budget["cards"]}[budget["variants"]["recomputed"]["card"]] == "fits"
    f = row["flops_per_token"]
    assert f["full"] - f["with_lora"] == f["backward_dW"] - f["lora"]
    assert row["serving"]["switch_resident"] == 0


def test_one_configuration_prints_tables_and_the_sum_to_redo_by_hand():
    text = run("gpt2", "--rank", "8")
    assert "8 x (12 x (768 + 2304)) = 294,912" in text
    assert "adapter in fp32: 1,179,648 bytes of numbers, a file of 1,1" in text
    assert "adapter in 16 bit: 589,824 bytes of numbers, a file of 59" in text
    assert "closed formula, and the model that trains (built by shape): equal" in text
    for part in (
        "Memory of training 1 x 512 tokens",
        "4-bit + LoRA, prepared",
        "Operations per token",
        "Serving",
        "0.2364",
    ):
        assert part in text


def test_every_assumption_is_beside_the_numbers():
    text = " ".join(run("llama-3-8b").split())
    for words in (
        "SDPA attention", "a padded batch", "AdamW", "1.5 GiB on top for the CUDA context and the allocator",
        "double quantization", "as PEFT's prepare_model_for_kbit_training leaves it", "16 B a parameter",
        "8 B a parameter", "as PEFT makes them", "Operations, not time",
    ):  # fmt: skip
        assert words in text, words


def test_the_engine_says_whose_memory_is_predicted():
    (own,) = json.loads(run("smollm2-135m", "--engine", "minilora", "--json"))
    (theirs,) = json.loads(run("smollm2-135m", "--json"))
    assert (own["engine"], theirs["engine"]) == ("minilora", "huggingface")
    assert list(own["memory"]) == ["full", "LoRA"] and list(own["memory"]["LoRA"]["peak"]) == ["kept"]
    text = " ".join(run("smollm2-135m", "--engine", "minilora").split())
    assert "Memory of training 1 x 512 tokens with minilora" in text and "everything in float32" in text
    assert {"kept", "recomputed", "recomputed, chunked loss"} <= own["memory"]["LoRA"]["variants"].keys()
    assert "train --checkpointing" in text
    assert "no model file for opt" in refused("opt-125m", "--engine", "minilora")


def test_a_base_in_fewer_bits_is_counted_with_minilora_alone():
    (row,) = json.loads(run("smollm2-135m", "--engine", "minilora", "--quantize", "nf4", "--json"))
    assert (row["quantize"], list(row["memory"])) == ("nf4", ["LoRA"])
    assert row["memory"]["LoRA"]["assumes"].startswith("linear layers in NF4, double quantization")
    (whole,) = json.loads(run("smollm2-135m", "--engine", "minilora", "--json"))
    totals = [r["memory"]["LoRA"]["peak"]["kept"]["total"] for r in (row, whole)]
    assert 350e6 < totals[1] - totals[0] < 370e6  # 106,168,320 numbers at 4 - 0.516 bytes, and two blocks
    assert "goes with --engine minilora" in refused("smollm2-135m", "--quantize", "nf4")


@pytest.mark.slow
def test_several_cards_are_counted_where_one_is_not_enough():
    (row,) = json.loads(run("llama-3.1-405b", "--rank", "16", "--targets", "all-linear", "--json"))
    variants = {m: b["variants"]["recomputed"] for m, b in row["memory"].items()}
    assert variants["LoRA"]["card"] is None and variants["LoRA"]["cards_of_80"] == 14
    assert "4 x 80" in run("llama-3.1-405b")


def test_a_card_is_answered_first_with_the_setting_that_makes_it_fit():
    text = run("llama-3.1-8b", "--length", "8192", "--targets", "all-linear", "--rank", "16", "--card", "24")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[1] == "A card of 24 GB has 24 GiB; 22.5 of them are free for arrays"
    assert "4-bit + LoRA 21.7 fits" in lines
    assert any(line.startswith("4-bit + LoRA, prepared 26.6 no; it would fit with a chunked loss") for line in lines)


def words_of(*arguments):  # -> the lines, with one space between words
    return [" ".join(line.split()) for line in run(*arguments).splitlines()]


def test_every_rank_is_answered_for_the_card_that_is_asked_for():
    """Rank 8 fits into 16 GB and rank 128 does not."""
    lines = words_of("qwen2.5-7b", "--length", "4096", "--rank", "8,128", "--targets", "all-linear", "--card", "16")
    assert "all-linear 8 23.4 no 14.3 fits 18.2 no" in lines
    assert "128 26.8 no 17.7 no 21.5 no" in lines
    assert "At any rank: full 118.7 no, full, 16-bit 59.9 no." in lines


def test_several_ranks_have_a_table_of_memory_with_the_smallest_card_of_each():
    lines = words_of("qwen2.5-7b", "--length", "4096", "--rank", "8,128", "--targets", "all-linear")
    assert "all-linear 8 23.4 32 GB 14.3 16 GB 18.2 22.5 GB" in lines
    assert "128 26.8 32 GB 17.7 22.5 GB 21.5 24 GB" in lines


def test_a_card_that_others_are_sold_as_says_so():
    assert "(a T4 is sold as 16 GB and has less: --card 15)" in words_of("gpt2", "--card", "16")
    assert "sold as" not in run("gpt2", "--card", "15")


def test_two_cards_share_what_one_cannot_hold():
    lines = words_of("llama-3.1-70b", "--card", "2x48")
    assert lines[1] == "2 cards of 48 GB have 48 GiB each; 46.5 of them are free for arrays"
    assert "LoRA 74.4 no" in lines and "4-bit + LoRA, prepared 27.4 fits" in lines


def test_the_answers_for_cards_are_in_the_json_too():
    (row,) = json.loads(run("llama-3.1-70b", "--card", "2 x 48 GB", "--json"))
    on = row["on"]
    assert (on["cards"], on["gb"], on["gib"]) == (2, 48, 48)
    assert {a["method"]: a["fits"] for a in on["answers"]}["4-bit + LoRA"]
    assert all(a.keys() == {"method", "total", "fits", "remedies"} for a in on["answers"])


@pytest.mark.parametrize("card", ["47", "2x47", "x", "0x48", "2xx48", "-2x48", "24GiB"])
def test_a_card_that_is_not_known_is_refused(card):
    assert f"--card {card!r}: expected a card of 8, 12, 15, 16, 22.5, 24" in refused("gpt2", "--card", card)


def test_minilora_is_not_asked_about_several_cards():
    assert "trains on one card" in refused("gpt2", "--engine", "minilora", "--card", "2x24")


def test_an_adapter_config_is_counted_with_all_its_fields(tmp_path):
    file = tmp_path / "any name.json"
    config = {
        "peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"],
        "rank_pattern": {"v_proj": 4}, "modules_to_save": ["lm_head"], "layers_to_transform": [0, 5],
    }  # fmt: skip
    file.write_text(json.dumps(config), encoding="utf-8")
    (row,) = json.loads(run("llama-3-8b", "--adapter-config", str(file), "--json"))
    assert row["trainable"] == 2 * (8 * (4096 + 4096) + 4 * (4096 + 1024)) + 128_256 * 4096
    assert row["counted"].endswith("equal")
    assert row["targets"] == "q_proj,v_proj"


def test_the_rank_is_not_given_twice(tmp_path):
    assert "leave out --rank and --targets" in refused("gpt2", "--rank", "4", "--adapter-config", str(tmp_path))


def test_the_version_of_the_keys_is_in_every_form():
    (row,) = json.loads(run("gpt2", "--json"))
    assert row["version"] == 2 and run("gpt2", "--csv").startswith("version,model,")
    help_text = run("--help")
    assert all(key in help_text for key in row) and "version                   2" in help_text


def test_an_existing_file_is_replaced_only_when_that_is_asked(tmp_path):
    kept = tmp_path / "keep.png"
    kept.write_text("text", encoding="utf-8")
    assert "the file exists; --overwrite replaces it" in refused("gpt2", "--plot", str(kept))
    assert kept.read_text(encoding="utf-8") == "text"
    run("4096x4096", "--plot", str(kept), "--overwrite")
    assert kept.read_bytes().startswith(b"\x89PNG")


def test_a_missing_folder_is_not_created(tmp_path):
    assert "there is no folder" in refused("gpt2", "--plot", str(tmp_path / "new" / "a.png"))
    assert list(tmp_path.iterdir()) == []


def test_a_family_that_keeps_scores_says_what_a_flash_kernel_would_save():
    text = " ".join(run("bloom-560m", "--length", "2048").split())
    assert "The T x T scores of attention are kept here; with a flash kernel: full " in text
    assert "flash kernel" not in run("llama-3-8b")


def test_the_help_names_every_preset():
    text = " ".join(run("--help").split())
    assert all(name in text for name in PRESETS)


@pytest.mark.slow
def test_a_figure_is_written_as_a_png(tmp_path):
    sizes = {"n_embd": 2**31 - 1, "n_layer": 10, "n_head": 1, "n_positions": 2**31 - 1, "vocab_size": 2**31 - 1}
    (tmp_path / "largest.json").write_text(json.dumps({"model_type": "gpt2"} | sizes), encoding="utf-8")
    for model in ("gpt2", "llama-3-70b", "4096x4096", str(tmp_path / "largest.json")):
        run(model, "--rank", "4,8,2147483647", "--plot", str(tmp_path / "figure.png"), "--overwrite")
        assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gpt2", "--rank", "0"), "rank 0: expected a whole number of 1 to"),
        (("gpt2", "--rank", "-8"), "rank -8"),
        (("gpt2", "--rank", "8,x"), "--rank '8,x': expected whole numbers"),
        (("gpt2", "--rank", ""), "--rank ''"),
        (("gpt2", "--targets", "q_proj"), "no module matches target 'q_proj'; the model has: "),
        (("gtp2",), "no model 'gtp2': the nearest are gpt2"),
        (("zzz",), "no model 'zzz': --help lists"),
        (("gpt2", "--json", "--csv"), "exclude each other"),
        (("gpt2", "--plot", "a.pdf"), "expected a name that ends in .png"),
        (("0x5",), "each side must be"),
    ],
)
def test_what_cannot_be_counted_is_refused_with_the_reason(arguments, said):
    assert said in refused(*arguments)


def test_an_activation_that_is_no_word_is_refused_by_its_name(tmp_path):
    sizes = {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 9, "activation_function": [1]}
    (tmp_path / "config.json").write_text(json.dumps(sizes), encoding="utf-8")
    assert "activation_function = [1], expected a word" in refused(str(tmp_path / "config.json"), "--rank", "4")


def test_the_command_refuses_in_one_line_with_exit_code_2():
    done = subprocess.run(
        [sys.executable, "-m", "minilora", "params", "gtp2"], capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: no model 'gtp2'") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "said"),
    [("whisper-small", "a sound has 1,500 places, its text 64"), ("vit-base", "197 places, whatever")],
)
def test_where_the_places_are_not_the_length_the_assumptions_say_so(model, said):
    (row,) = json.loads(run(model, "--length", "64", "--json"))
    assert said in row["assumed"]


def test_a_bad_plot_name_writes_nothing(tmp_path):
    with pytest.raises(ConfigError, match="figures are PNG files"):
        CliRunner().invoke(
            params, ["gpt2", "--plot", str(tmp_path / "a.jpg")], catch_exceptions=False, standalone_mode=False
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("llama-3.1-405b", "--rank", "256"), ("gpt2", "--rank", "1,2", "--targets", "x|" * 60 + ".*c_fc"),
        ("phi-2",), ("deberta-v2-xxlarge", "--batch", "64"), ("mixtral-8x7b", "--card", "80"),
        ("llama-3.1-70b", "--targets", "all-linear", "--length", "8192", "--card", "24"),
    ],
)  # fmt: skip
def test_every_line_fits_into_80_columns(arguments):
    lines = run(*arguments).splitlines()
    assert len(lines) > 5 and max(map(len, lines)) <= 80, max(lines, key=len)


def test_names_of_targets_stay_whole():
    words = run("phi-2").replace(",", " ").split()
    assert {"q_proj", "v_proj", "fc1", "fc2"} <= set(words)


def test_a_sweep_names_a_target_set_once():
    assert run("gpt2", "--rank", "1,2,3", "--targets", "c_fc").count("  c_fc ") == 2  # once in each of two tables


def test_every_method_is_counted_by_its_name():
    (row,) = json.loads(run("llama-3.2-3b", "--method", "ia3", "--json"))
    assert (row["method"], row["rank"], row["trainable"]) == ("ia3", None, 286_720)
    text = run("llama-3.2-3b", "--method", "dora", "--rank", "32")
    assert "method: dora; LoRA in these tables means DoRA" in text and "9,289,728" in text
    assert "614,400" in run("llama-3.2-3b", "--method", "prompt_tuning", "--virtual-tokens", "200")


def test_an_adapter_config_of_another_method_is_counted(tmp_path):
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({"peft_type": "IA3", "target_modules": ["c_attn"], "feedforward_modules": []}))
    (row,) = json.loads(run("gpt2", "--adapter-config", str(file), "--json"))
    assert row["trainable"] == 12 * 2304 and row["counted"].endswith("equal")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--method", "ia3", "--rank", "4"], "--rank does not belong to ia3"),
        (["--method", "prompt_tuning", "--targets", "c_attn"], "--targets does not belong to prompt_tuning"),
        (["--virtual-tokens", "4"], "--virtual-tokens does not belong to lora"),
        (["--method", "ia3", "--plot", "a.png"], "--plot draws counts against the rank r"),
    ],
)
def test_an_option_that_a_method_does_not_have_is_refused(options, line):
    assert line in refused("gpt2", *options)
