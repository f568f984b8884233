"""A model asked the questions of a suite, by lm-evaluation-harness or OLMES.

A suite is a YAML file in `suites/`, or the user's own: its tasks, how they are asked, and which figure counts. It may
extend another one. `load_suite` reads it, `check_harness` refuses one whose harness is not installed, and
`evaluate_in_store` gives the scores and every answer, from the store where the same was asked before.

    suite = load_suite("olmes-instruct-quick")
    check_harness(suite)
    evaluation = evaluate_in_store(checkpoint, suite, open_store())
    print(evaluation.metrics())

The harnesses run as programs: `running.py` has what both share, `lm_eval/` and `olmes/` what differs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
