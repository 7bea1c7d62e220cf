"""--quantize, as a person types it: QLoRA from training to the merged model."""

import re

import cli_training
import pytest
from cli_training import refused

import minilora as ml

pytestmark = pytest.mark.slow

run, base, files = cli_training.run, cli_training.base, cli_training.files  # fixtures


def trained(run, base, files, quantize, *more):
    return run("train", "--base", base, "--jsonl", files / "pairs.jsonl", "--out", files / "out", "--steps", 20,
               "--quantize", quantize, "--eval-every", 20, *more)  # fmt: skip


@pytest.mark.parametrize("quantize", ["nf4", "int8", "bf16", "fp16"])
def test_an_adapter_is_trained_on_a_base_in_fewer_bits_and_asked_there(run, base, files, quantize):
    code, out, err = trained(run, base, files, quantize, "--targets", "q_proj,down_proj")
    assert code == 0, err
    before, after = map(float, re.search(r"validation loss ([\d.]+) -> ([\d.]+)", out).groups())
    assert after < before
    asked = ["--base", base, "--adapter", files / "out", "--quantize", quantize]
    code, out, err = run("generate", *asked, "--prompt", "count 3")
    assert (code, err) == (0, "") and out.strip()
    code, out, err = run("eval", *asked, "--jsonl", files / "pairs.jsonl")
    assert (code, err) == (0, "") and "loss" in out


@pytest.mark.parametrize("method", ["pissa", "olora"])
@pytest.mark.parametrize("quantize", ["nf4", "int8"])
def test_a_start_from_the_base_is_taken_while_it_is_quantized(run, base, files, quantize, method):
    code, out, err = trained(run, base, files, quantize, "--method", method, "--targets", "q_proj,down_proj")
    assert code == 0, err
    assert f"{quantize} keeps the adapter's start in float32; use the adapter without --quantize" in err
    before, after = map(float, re.search(r"validation loss ([\d.]+) -> ([\d.]+)", out).groups())
    assert after < before
    code, out, err = run("eval", "--base", base, "--adapter", files / "out", "--jsonl", files / "pairs.jsonl")
    assert (code, err) == (0, "") and float(re.search(r"loss +([\d.]+)", out)[1]) < before
    code, _, err = run("train", "--resume", "--out", files / "out", "--steps", 30)
    assert code == 0, err


@pytest.mark.parametrize("how", ["dequantize", "original", "requantize"])
def test_a_merge_says_what_it_costs(run, base, files, how):
    trained(run, base, files, "nf4")
    code, out, err = run("merge", "--base", base, "--adapter", files / "out", "--quantize", "nf4", "--how", how,
                         "--out", files / "merged")  # fmt: skip
    assert (code, err) == (0, "")
    assert "largest difference of a logit" in out
    assert bool(re.search(r"[\d,]+ of [\d,]+ codes of the adapted layers changed; [-\d.]+% of the update", out)) == (
        how == "requantize"
    )
    assert (ml.load_pretrained(files / "merged").quantization_config is not None) == (how == "requantize")


def test_a_merge_into_a_quantized_base_needs_a_choice(run, base, files):
    trained(run, base, files, "nf4")
    merge = run("merge", "--base", base, "--adapter", files / "out", "--quantize", "nf4", "--out", files / "merged")
    refused(merge, "a base in 4 or 8 bits can be merged in three ways: choose how")


def test_full_fine_tuning_of_a_quantized_base_is_refused(run, base, files):
    refused(trained(run, base, files, "nf4", "--method", "full"), "quantize nf4 freezes the base")


def test_a_run_goes_on_with_the_base_in_the_same_bits(run, base, files):
    trained(run, base, files, "nf4")
    code, _, err = run("train", "--resume", "--out", files / "out", "--steps", 30)
    assert code == 0, err
    refused(run("train", "--resume", "--out", files / "out", "--steps", 40, "--quantize", "int8"), "quantize")


def test_a_quantized_base_is_shown_and_an_adapter_is_measured_beside_it(run, base, files):
    trained(run, base, files, "nf4")
    quantized = ml.load_pretrained(base, quantization_config=ml.BitsAndBytesConfig(load_in_4bit=True))
    quantized.save_pretrained(files / "4bit")
    code, out, err = run("inspect", files / "4bit")
    assert (code, err) == (0, "") and "quantized" in out and "7 linear layers" in out
    code, out, err = run("inspect", files / "out", "--base", files / "4bit")
    assert (code, err) == (0, "") and "q_proj" in out
