"""How each family's code in transformers differs from Llama's in what it keeps for the backward pass."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """What a family's code keeps.

    norm        "layer", "rms", "rms, float32" (the normalised x stays in float32), or "rms, and x" (x is kept too)
    activation  the function, where config.json names none
    dropouts    keys of config.json with the rate that holds without them: on the scores, after a block, in the MLP
    scores      "": a flash kernel keeps none. "plain": PyTorch's plain attention, in float32, as for every family that
                has dropout on the scores. "float32": softmax in float32, and again in the model's type. "own": softmax
                in the model's type
    soft_caps   keys of config.json with the cap that holds without them: on the scores, on the logits
    fused       the output of the one matrix for q, k and v is kept beside the rotated q and k
    copies_out  the attention's output is copied for the matrix behind it
    """

    norm: str = "rms"
    activation: str = "silu"
    dropouts: tuple = (("attention_dropout", 0.0), None, None)
    scores: str = ""
    soft_caps: tuple = (None, None)
    fused: bool = False
    copies_out: bool = False

    def rates(self, config: dict) -> list:
        """Dropout on the scores, after a block, in the MLP; 0 where there is none."""
        return [config.get(*found) if found else 0.0 for found in self.dropouts]

    def caps(self, config: dict) -> list:
        """Whether the scores are capped, and the logits."""
        return [bool(config.get(*found)) if found else False for found in self.soft_caps]


_BERT = (("attention_probs_dropout_prob", 0.1), ("hidden_dropout_prob", 0.1), None)
_NEOX = (("attention_dropout", 0.0), ("hidden_dropout", 0.0), None)
_GEMMA2 = (("attn_logit_softcapping", 50.0), ("final_logit_softcapping", 30.0))
STYLES = {  # model_type -> Style; a family that is not listed is like Llama
    "gemma": Style("rms, float32", "gelu_pytorch_tanh"),
    "gemma2": Style("rms, float32", "gelu_pytorch_tanh", scores="float32", soft_caps=_GEMMA2),
    "gemma3_text": Style("rms, float32", "gelu_pytorch_tanh"),
    "olmo2": Style("rms, float32"),
    "phi3": Style(dropouts=(("attention_dropout", 0.0), ("resid_pdrop", 0.0), None), fused=True, copies_out=True),
    "starcoder2": Style("layer", "gelu_pytorch_tanh", (("attention_dropout", 0.0), ("residual_dropout", 0.0), None)),
    "gpt_oss": Style(activation="gpt_oss", scores="own"),
    "phi": Style("layer", "gelu_new", (("attention_dropout", 0.0), ("resid_pdrop", 0.0), None), copies_out=True),
    "gpt2": Style("layer", "gelu_new", (("attn_pdrop", 0.1), ("resid_pdrop", 0.1), None)),
    "opt": Style("layer", "relu", (("attention_dropout", 0.0), ("dropout", 0.1), None)),
    "gptj": Style("layer", "gelu_new", (("attn_pdrop", 0.0), ("resid_pdrop", 0.0), None)),
    "gpt_neox": Style("layer", "gelu", _NEOX, fused=True, copies_out=True),
    "bloom": Style("layer", "gelu", _NEOX, "float32", copies_out=True),
    "falcon": Style("layer", "gelu", _NEOX, "plain"),
    "bert": Style("layer", "gelu", _BERT),
    "roberta": Style("layer", "gelu", _BERT),
    "xlm-roberta": Style("layer", "gelu", _BERT),
    "deberta-v2": Style("layer", "gelu", _BERT, "own", copies_out=True),
    "modernbert": Style("layer", "gelu", (("attention_dropout", 0.0), ("mlp_dropout", 0.0), None), fused=True),
    "vit": Style("layer", "gelu", (("attention_probs_dropout_prob", 0.0), ("hidden_dropout_prob", 0.0), None)),
    "t5": Style("rms, and x", "relu", (("dropout_rate", 0.1),) * 3, "plain"),  # its bias on the scores needs a gradient
    "whisper": Style("layer", "gelu", (("attention_dropout", 0.0), ("dropout", 0.0), ("activation_dropout", 0.0))),
}
NAMES_OF_ACTIVATION = ("hidden_act", "hidden_activation", "activation_function", "feed_forward_proj")  # in config.json
STEPS = {"gelu_new": 3, "gated-gelu": 3, "gpt_oss": 3}  # arrays between input and result, where written in Python
