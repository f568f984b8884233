"""Reports on finished figures: an HTML page, a Markdown summary, a table for a terminal, and metrics.

Each kind of finding of `components.judging` has one function here that makes a `Report` of it:
`report_on_comparison`, `report_on_chain`, `report_on_grid`, `report_on_saved_steps` and `report_on_scale_search`.
`publish_report` writes it where people look: KFP's artifacts, MLflow and the step's outcome. A page asks for nothing
outside itself, runs no script, and escapes everything that a template prints. Plots are inline SVG.

    with step("chart the grid") as run:
        report = report_on_grid(build_grid(evaluations))
        publish_report(report, run, html="report.html", summary="report.md")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
