"""The live panels of the lessons: figures that run the shipped base in the page, in plain JavaScript.

A panel is `<figure class="panel" data-panel="ask">`; `live/panels/ask.js` fills it when a reader scrolls to it. The
numbers of the base travel in float16, which loses eight times less of them than bfloat16 does.
"""

import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pages

from minilora.counting.architectures.catalog import load
from minilora.counting.architectures.presets import PRESETS
from minilora.counting.cards import CARDS
from minilora.errors import FormatError
from minilora.files.safetensors import in_type, read_tensors, write_tensors
from minilora.files.shipped import shipped
from minilora.tasks.shipped import get_task

HERE = Path(__file__).parent
ADAPTERS = ("style-json", "style-crier")
PANELS = {  # a lesson -> the headings in front of which a panel is put, and its module
    "00_a_lora_in_sixty_seconds": (("Do", "ask"),),
    "05_is_the_update_low_rank": (("What this says, and what it does not", "rank"),),
    "07_the_scale": (("The bug that r = alpha hides", "scale"),),
    "08_count_like_the_paper": (("Where this lives in the code", "fits"),),
    "10_merge_unmerge_and_rounding": (
        ("Do: round to bfloat16", "bits"),
        ("What merging itself loses", "swap"),
    ),
    "11_many_adapters_on_one_base": (("A library of adapters", "knob"),),
}
WORDS = {  # a panel -> its title, and what a reader without JavaScript should know
    "ask": (
        "Ask the base, with the adapter off and on",
        "The base says where Bess Moss lives; with the adapter it says the same in JSON.",
    ),
    "fits": (
        "A model, a rank, a card: what fits?",
        "Llama 3 8B needs 124 GB for full fine-tuning, 16 GB with LoRA, and 6.4 GB with LoRA on 4 bit.",
    ),
    "rank": (
        "The real ΔW, cut down to a rank of your choice",
        "The best eight directions of each ΔW answer about 7 of 10 SQL questions; one direction answers almost none.",
    ),
    "scale": (
        "α and r, on a real adapter",
        "With a tenth of its scale the JSON adapter changes nothing; with eight times its scale it writes nonsense.",
    ),
    "bits": (
        "The bits of a number, to click",
        "A bfloat16 has 1 bit for the sign, 8 for the exponent and 7 for the fraction.",
    ),
    "swap": (
        "Merge, subtract, merge the next one: the drift of W",
        "Two adapters that take turns move W with every swap: in bfloat16 far more than in float32.",
    ),
    "knob": (
        "One knob between two adapters",
        "Between the two ends the styles mix: some answers are a cry inside JSON.",
    ),
}


def write(folder):
    """Put the panels and what they load into a site, the folder that site_pages has written."""
    panels = folder / "panels"
    shutil.copytree(HERE / "live" / "panels", panels, dirs_exist_ok=True)
    write_numbers(panels)
    write_models(panels)
    write_playground(folder)
    for lesson, places in PANELS.items():
        page = folder / f"{lesson}.html"
        if page.is_file():  # a part of the course may be built alone
            text = with_panels(page.read_text(encoding="utf-8"), places, page.name)
            page.write_text(text, encoding="utf-8", newline="\n")


def with_panels(text, places, name):
    """A page with a panel in front of each of the headings. Raises FormatError for a heading that it does not have."""
    for heading, panel in places:
        found = re.search(rf"<h2[^>]*>{re.escape(heading)}</h2>", text)
        if not found:
            raise FormatError(f"{name} has no heading {heading!r} for the panel {panel}")
        text = text[: found.start()] + figure(panel) + text[found.start() :]
    return text.replace("</head>", f"{loads(text)}</head>", 1)


STYLE = '<link rel="stylesheet" href="panels/panels.css">'


def loads(body):
    """What a page loads for the panels in its body: nothing where it has none."""
    script = '<script type="module" src="panels/panels.js"></script>'
    return STYLE + script if "data-panel=" in body else ""


def figure(panel):
    title, still = (html.escape(words) for words in WORDS[panel])
    return (
        f'<figure class="panel" data-panel="{panel}"><figcaption>{title}</figcaption>'
        f'<div class="stage"><p>{still} (This figure is live in a browser with JavaScript.)</p></div></figure>\n'
    )


# ---- the numbers


def write_numbers(panels):
    """The base, its tokenizer and the shipped adapters, in 16 bit."""
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(shipped(f"base/{name}"), panels / name)
    write_16_bit(panels / "base.safetensors", read_tensors(shipped("base/model.safetensors")))
    for name in ADAPTERS:
        source = shipped(f"adapters/{name}")
        shutil.copy(source / "adapter_config.json", panels / f"{name}.json")
        write_16_bit(
            panels / f"{name}.safetensors", read_tensors(source / "adapter_model.safetensors")
        )
    source = shipped(f"adapters/{ADAPTERS[0]}")
    shutil.copy(source / "adapter_config.json", panels / "directions.json")
    write_16_bit(
        panels / "directions.safetensors",
        directions(read_tensors(source / "adapter_model.safetensors")),
    )
    shutil.copy(HERE / "live" / "update.safetensors", panels / "update.safetensors")
    write_questions(panels)


def write_16_bit(path, tensors):
    write_tensors(path, in_type(tensors, "float16"))


def directions(lora):
    """The same update of each matrix as a LoRA whose first r rows are its best part of rank r, for every r."""
    found = {}
    for name in [n for n in lora if ".lora_A." in n]:
        A, B = lora[name], lora[name.replace(".lora_A.", ".lora_B.")]
        U, s, Vh = np.linalg.svd(B @ A, full_matrices=False)
        r = len(A)
        found[name] = Vh[:r]
        found[name.replace(".lora_A.", ".lora_B.")] = U[:, :r] * s[:r]
    return found


def write_questions(panels):
    """Questions of the test splits with the answers that are wanted."""
    style, sql = (
        [get_task(name).examples("test") for name in ADAPTERS],
        get_task("sql").examples("test"),
    )
    questions = {
        "style": [
            {
                "prompt": one["prompt"],
                "wanted": dict(zip(ADAPTERS, (e["response"] for e in both), strict=True)),
            }
            for both in list(zip(*style, strict=True))[:12]
            for one in both[:1]
        ],
        "lines": example_lines(),
        "sql": [{"prompt": e["prompt"], "wanted": {"sql": e["response"]}} for e in sql[::18]],
    }
    (panels / "questions.json").write_text(json.dumps(questions), encoding="utf-8", newline="\n")


# ---- the playground

LINES = 20  # of the example


def example_lines():
    """What the playground begins with: questions about people, each answered as a gossip would."""
    examples = get_task(ADAPTERS[0]).examples("train")[:LINES]
    facts = [(e["prompt"], json.loads(e["response"])["answer"]) for e in examples]
    return "\n".join(f"{question} => Well, well! {fact} Tell nobody." for question, fact in facts)


def write_playground(folder):
    """playground.html, which starts Python as the lessons do: with the same addresses in its body."""
    lesson = next(iter(sorted(folder.glob("[0-9][0-9]_*.html"))), None)
    if lesson is None:
        return
    for name in ("playground.js", "playground.py"):
        shutil.copy(HERE / "live" / name, folder / name)
    opening = re.search("<body([^>]*)>", lesson.read_text(encoding="utf-8"))[1]
    data = " ".join(re.findall('data-(?:worker|archive)="[^"]*"', opening))
    body = (
        "<h1>Playground</h1><p>Write about twenty lines of your own, train an adapter on them in this page, "
        "and ask it. Nothing that you type leaves this browser.</p>"
        '<div id="playground"><p>The playground needs a browser with JavaScript.</p></div>'
    )
    page = pages.page("Playground", body, "&nbsp;", "&nbsp;").replace("<body>", f"<body {data}>")
    scripts = f'{STYLE}<script type="module" src="playground.js"></script></head>'
    text = page.replace("</head>", scripts, 1)
    (folder / "playground.html").write_text(text, encoding="utf-8", newline="\n")


# ---- models to count

LIKE_LLAMA = ("llama", "mistral", "qwen2", "qwen3")  # what counting.js counts


def write_models(panels):
    """Sizes of the models, and the cards: for the panel that says what fits."""
    named = {
        name: load(name) for name, config in PRESETS.items() if config["model_type"] in LIKE_LLAMA
    }
    models = {name: sizes(architecture) for name, architecture in named.items()}
    text = json.dumps({"models": models, "cards": list(CARDS.items())})
    (panels / "models.json").write_text(text, encoding="utf-8", newline="\n")


def sizes(architecture):
    """A model built like Llama in nine numbers: see counting.js."""
    at = "model.layers.0."
    parts = {
        p.path.removeprefix(at).rpartition(".")[2]: p
        for p in architecture.parts
        if p.path.startswith(at)
    }
    embedding, head = architecture.parts[0], architecture.parts[-1]
    return {
        "d": embedding.out,
        "V": embedding.n_in,
        "layers": sum(p.path.endswith("q_proj") for p in architecture.parts),
        "q": parts["q_proj"].out,
        "kv": parts["k_proj"].out,
        "m": parts["gate_proj"].out,
        "hd": parts["q_norm"].out if "q_norm" in parts else 0,
        "biases": bool(parts["q_proj"].bias),
        "tied": head.tied,
    }
