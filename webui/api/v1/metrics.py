"""What the server counts, in Prometheus's text format. Collected when asked for; keeps nothing and has no globals."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from webui import __version__
from webui.app import App
from webui.events import JobState
from webui.gallery import Query

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Collected:
    """A collector over one app, as `prometheus_client` calls them."""

    def __init__(self, app: App) -> None:
        self._app = app

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        app, status = self._app, self._app.status()
        yield InfoMetricFamily("easel", "Version of Easel.", {"version": __version__})
        jobs = GaugeMetricFamily("easel_jobs", "Jobs that are not over, by state.", labels=["state"])
        finished = CounterMetricFamily("easel_jobs_finished", "Jobs that are over, by state.", labels=["state"])
        for state in JobState:
            (finished if state.is_final else jobs).add_metric([state.value], app.store.count(state))
        yield from (jobs, finished)
        engines = GaugeMetricFamily("easel_engine_state", "1 for the state of an engine.", labels=["engine", "state"])
        for worker in status["workers"]:
            engines.add_metric([worker["name"], worker["state"]], 1)
        yield engines
        yield GaugeMetricFamily("easel_watchers", "Pages and clients that watch.", value=app.hub.watchers)
        yield CounterMetricFamily("easel_events", "Things that were told to watchers.", value=app.hub.last)
        pictures = app.gallery.page(Query(), limit=1).total
        yield GaugeMetricFamily("easel_pictures", "Pictures in the gallery.", value=pictures)


def exposition(app: App) -> bytes:
    """Everything that is counted, and memory, files and processor time of this process."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest  # only who asks pays for it

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(Collected(app))
    return generate_latest(registry)
