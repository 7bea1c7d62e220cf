"""An AdaLoRA that is scored and pruned by a reader's functions: exercises 16.1 and 16.2."""

from collections.abc import Callable

import numpy as np

from ...methods.adalora import AdaLoraAdapter


class OwnAdaLora(AdaLoraAdapter):
    """AdaLoRA on a whole model; smooth_importance and keep are set by `scored_by`."""

    smooth_importance: Callable
    keep: Callable

    def _score(self):
        c = self.config
        for path, method in self.methods.items():
            for name, p in method.parameters.items():
                if p.grad is None:
                    continue
                old = [kept.get((path, name), np.zeros_like(p.data)) for kept in (self.importance, self.uncertainty)]
                new = self.smooth_importance(p.data, p.grad, *old, c.beta1, c.beta2)
                self.importance[path, name], self.uncertainty[path, name] = map(np.asarray, new)

    def _prune(self, budget):
        scores = self.triplet_scores()
        mask = np.asarray(self.keep(np.stack(list(scores.values())), budget), bool)
        self.pattern = dict(zip(scores, mask, strict=True))
        self._apply()


def scored_by(model, smooth_importance: Callable, keep: Callable) -> AdaLoraAdapter:
    """The AdaLoRA adapter of a PeftModel, which from now on scores and prunes by these two functions."""
    adapter = model.base_model.adapters["default"]
    adapter.__class__ = OwnAdaLora
    adapter.smooth_importance, adapter.keep = smooth_importance, keep
    return adapter
