"""A panel in a few words, and what Grafana wants to read of it.

A panel's title is the question that it answers. Expressions never divide by nothing and leave out what is no number,
so that a quiet hour shows nothing rather than nonsense.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    BigValueTextMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
TAG = "sovereign"
WINDOW = "[$__rate_interval]"
YES_OR_NO = {"0": "no", "1": "yes"}
GREEN, ORANGE, RED = "green", "orange", "red"

Unit = Literal["short", "s", "percentunit", "bytes", "reqps", "ops", "celsius", "watt", "dateTimeFromNow", "none"]


class Query(NamedTuple):
    """An expression and what its series are called."""

    expr: str
    legend: str


class Panel(NamedTuple):
    """A question and the queries that answer it. `worse` are the values at which it turns orange and red; a graph has a
    line at each.
    """

    title: str
    description: str
    unit: Unit
    queries: Sequence[Query]
    kind: Literal["stat", "lines", "stacked"] = "lines"
    worse: tuple[float, float] | None = None
    falling: bool = False
    """Whether it is low values that are bad."""
    says: Literal["numbers", "yes or no", "names"] = "numbers"
    """What a stat shows: values, 1 and 0 in words, or what its series are called."""
    width: int = 12
    leads_to: str | None = None
    """Uid of the dashboard that shows more."""


class Board(NamedTuple):
    """A dashboard."""

    uid: str
    title: str
    description: str
    panels: Sequence[Panel]
    by_project: bool = False


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Return how much a counter grows each second."""
    return f"sum{_by(by)} (rate({metric}{_where(where)}{WINDOW}))"


def quantile(share: float, histogram: str, by: str = "", where: str = "") -> str:
    """Return the value under which a share of what was observed lies, where anything was observed."""
    among = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({among}) (rate({histogram}_bucket{_where(where)}{WINDOW}))) >= 0"


def ratio(part: str, whole: str) -> str:
    """Return a share, where there is a whole."""
    return f"({part}) / ({whole} > 0)"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""


def _where(matchers: str) -> str:
    return "{" + matchers + "}" if matchers else ""


def built(board: Board) -> dashboard.Dashboard:
    """Return a dashboard for Grafana, its panels in rows from the left."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .readonly()
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
    )
    if board.by_project:
        made.with_variable(
            dashboard.QueryVariable("project")
            .label("Project")
            .datasource(SOURCE)
            .query("label_values(sovereign_tokens_total, project)")
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    made.link(
        dashboard.DashboardLink("Others")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .keep_time(True)
    )
    for number, panel in enumerate(board.panels, 1):
        made.with_panel(_panel(panel).id(number))
    return made


def _panel(panel: Panel) -> stat.Panel | timeseries.Panel:
    shape = _stat(panel) if panel.kind == "stat" else _lines(panel)
    shape.title(panel.title).description(panel.description).unit(panel.unit).datasource(SOURCE)
    shape.height(5 if panel.kind == "stat" else 8).span(panel.width).min(0)
    if panel.worse is not None:
        shape.thresholds(_thresholds(panel.worse, falling=panel.falling))
    if panel.leads_to is not None:
        shape.data_links([_link(panel.leads_to)])
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + number))
        shape.with_target(target.datasource(SOURCE).instant() if panel.kind == "stat" else target.datasource(SOURCE))
    return shape


def _stat(panel: Panel) -> stat.Panel:
    shape = stat.Panel().reduce_options(ReduceDataOptions().calcs(["lastNotNull"])).no_value("–")
    shape.graph_mode(BigValueGraphMode.NONE)  # of one instant
    if panel.says == "names":
        shape.text_mode(BigValueTextMode.NAME)
    elif panel.says == "yes or no":
        words = {value: ValueMappingResult(text=text) for value, text in YES_OR_NO.items()}
        shape.text_mode(BigValueTextMode.VALUE_AND_NAME).mappings([ValueMap(options=words)])
    return shape


def _lines(panel: Panel) -> timeseries.Panel:
    shape = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(30 if panel.kind == "stacked" else 5)
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if panel.worse is not None:
        shape.thresholds_style(GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED))
    if panel.kind == "stacked":
        shape.stacking(StackingConfig().mode(StackingMode.NORMAL))
    return shape


def _thresholds(worse: tuple[float, float], *, falling: bool) -> dashboard.ThresholdsConfig:
    colours = (RED, ORANGE, GREEN) if falling else (GREEN, ORANGE, RED)
    steps = [Threshold(color=colours[0])]
    steps += [Threshold(value=value, color=colour) for value, colour in zip(sorted(worse), colours[1:], strict=True)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _link(uid: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink("More").url(f"/d/{uid}?${{__url_time_range}}")
