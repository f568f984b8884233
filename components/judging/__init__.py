"""What an evaluation is, and what follows from several of them: paired differences, and the gate's decision.

An `Evaluation` holds one model's score on each task and every single answer. All models answer the same questions, so
differences are taken question by question; each has a 95 % interval. A `GateDecision` says whether a model may take
another's place, and why. Four comparisons are built on these: `compare_models` (a recycled model and those that it
must beat), `Chain` (along several releases), `GridScores` (each fine-tune on each base) and `TrainingLengths`
(training steps saved); `choose_best_scale` picks λ. Nothing here reads files of a pipeline or draws.

    evaluations = {role: Evaluation.read(path) for role, path in paths.items()}
    found = compare_models(evaluations, tolerance=0.02)
    print(found.gate.passed, found.gate.reason)
    print(found.differences[Role.TARGET_BASE][0].low)  # of the mean over tasks
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
