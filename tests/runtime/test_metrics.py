"""Metrics as Prometheus reads them."""

import pytest

from lateen.runtime.metrics import Metrics


def test_series_are_shown_with_labels_escaped_and_sorted():
    metrics = Metrics()
    total = metrics.counter("requests_total", "Requests.", "code", "path")
    total.add(code="500", path='/"\\\n')
    total.add(2, code="200", path="/")
    total.add(code="200", path="/")
    metrics.gauge("temperature", "Now.").set(1.5)
    assert metrics.render() == (
        "# HELP requests_total Requests.\n# TYPE requests_total counter\n"
        'requests_total{code="200",path="/"} 3\n'
        'requests_total{code="500",path="/\\"\\\\\\n"} 1\n'
        "# HELP temperature Now.\n# TYPE temperature gauge\ntemperature 1.5\n"
    )


def test_a_series_without_labels_is_there_from_the_start():
    metrics = Metrics()
    metrics.counter("restarts", "Restarts.")
    assert metrics.render().endswith("restarts 0\n")


def test_a_gauge_may_ask_for_its_value():
    metrics = Metrics()
    values = iter([1.0, 2.0])
    metrics.gauge("age", "Age.").read_from(lambda: next(values))
    assert metrics.render().endswith("age 1\n")
    assert metrics.gauge("age", "Age.").get() == 2.0


def test_a_label_left_out_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        Metrics().counter("requests_total", "Requests.", "code").add()
