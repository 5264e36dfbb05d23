"""Metrics: every name in one file and in the documentation, no label of a person, totals followed and never reset."""

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter

from spoel_common.metrics import Followed, Metrics
from spoel_local import events_page, metrics_page
from spoel_local.asyncapi import readers_of
from spoel_local.contracts import SERVICES, event_models

ROOT = Path(__file__).parents[2]
LABELS = {"kind", "method", "problem", "projection", "route", "service", "source", "status", "task"}
"""What a label may be: chosen by the code or by who installs it, never by a request."""


def test_every_metric_is_described_and_has_labels_that_the_code_chooses():
    metrics = Metrics("trial")
    shown = {metric.name for metric in metrics.registry.collect()}
    assert shown == {described.name.removesuffix("_total") for described in metrics.described}
    assert {label for described in metrics.described for label in described.labels} == LABELS
    assert all(described.text.endswith(".") for described in metrics.described)


def test_metrics_are_made_in_one_file_only():
    made = [
        path
        for folder in ("libs", "services", "deploy")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"\b(Counter|Gauge|Histogram|Summary)\([\"'f]", path.read_text(encoding="utf-8"))
        or "import prometheus_client" in path.read_text(encoding="utf-8")
    ]
    assert made == [] or {path.name for path in made} == {"metrics.py"}
    importing = [
        path.name
        for folder in ("libs", "services", "deploy")
        for path in (ROOT / folder).rglob("*.py")
        if "prometheus_client import" in path.read_text(encoding="utf-8")
    ]
    assert importing == ["metrics.py"]


def test_a_total_that_is_kept_elsewhere_is_followed():
    registry = CollectorRegistry()
    followed = Followed(Counter("seen", "Seen.", ["kind"], registry=registry))
    for total in (3, 3, 5):
        followed.follow(total, "a")
    followed.follow(2, "b")
    followed.follow(1, "a")  # a total that began anew, as of a consumer that was replaced
    followed.follow(4, "a")
    assert registry.get_sample_value("seen_total", {"kind": "a"}) == 5 + 3
    assert registry.get_sample_value("seen_total", {"kind": "b"}) == 2


def alert_rules() -> list[dict]:
    rules = yaml.safe_load((ROOT / "deploy" / "observability" / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in rules["groups"] for rule in group["rules"]]


def test_alerts_are_about_metrics_and_labels_that_there_are():
    known = {described.name: described for described in Metrics("any").described}
    for rule in alert_rules():
        names = {name.removesuffix("_bucket") for name in re.findall(r"\bspoel_[a-z_]+\b", rule["expr"])}
        assert names, rule
        assert names <= known.keys(), rule
        labels = {label for name in names for label in known[name].labels} | {"job", "instance", "le"}
        said = " ".join(rule["annotations"].values())
        used = set(re.findall(r"[{,]\s*([a-z]+)(?==)", rule["expr"])) | set(re.findall(r"\$labels\.([a-z]+)", said))
        assert used <= labels, rule


def test_every_alert_says_how_urgent_it_is_what_it_means_and_what_to_do():
    rules = alert_rules()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    for rule in rules:
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"].keys() == {"summary", "action"}
        assert re.fullmatch(r"[0-9]+[smh]", rule["for"])
        assert f"`{rule['alert']}`" in page


@pytest.mark.parametrize("page", [events_page, metrics_page])
def test_the_kept_pages_are_as_generated(page):
    name = page.__name__.rpartition(".")[2].removesuffix("_page")
    assert page.render() == (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def test_the_page_of_events_names_every_event_with_its_version_its_aggregate_and_its_fields():
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    for model in (model for service in SERVICES for model in event_models(service)):
        of_service = page.partition(f"\n## {model.service} publishes\n")[2].partition("\n## ")[0]
        (line,) = re.findall(rf"^\| `{model.event_name}` v{model.event_version} \|.*$", of_service, re.MULTILINE)
        assert all(f"`{field}`" in line for field in model.model_fields)
        assert all(reader in line for reader in set(readers_of(model.service, model.event_name)) - {"audit"})
