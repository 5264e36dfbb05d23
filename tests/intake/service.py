"""Intake as it runs, over HTTP in one process, with people whose token is their name."""

import base64
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import text

from spoel_common.identity import TokenInvalid
from spoel_common.ids import new_id
from spoel_common.people import Actor, Profession, Role
from spoel_intake.app import create_app
from spoel_intake.domain.questionnaire import safety_questionnaire
from spoel_intake.settings import IntakeSettings

NOWHERE = "nats://127.0.0.1:1"
KEK = base64.b64encode(bytes(range(32))).decode()


def _actor(name: str, role: Role, number: str | None = None, profession: Profession | None = None) -> Actor:
    return Actor(person_id=name, roles=frozenset({role}), big_number=number, profession=profession)


PEOPLE = {
    "hospital": _actor("hospital", Role.EHR),
    "other-hospital": _actor("other-hospital", Role.EHR),
    "hospital-auditor": Actor(person_id="hospital-auditor", roles=frozenset({Role.EHR, Role.AUDITOR})),
    "nurse": _actor("nurse", Role.CLINICIAN, "19000000130", Profession.VERPLEEGKUNDIGE),
    "physician": _actor("physician", Role.PHYSICIAN, "19000000201", Profession.ARTS),
    "professional": _actor("professional", Role.TMS_PROFESSIONAL, "19000000325", Profession.GZ_PSYCHOLOOG),
    "supervisor": _actor("supervisor", Role.SUPERVISOR, "19000000401", Profession.PSYCHIATER),
    "technician": _actor("technician", Role.TMS_TECHNICIAN),
    "trainee": _actor("trainee", Role.TRAINEE),
    "auditor": _actor("auditor", Role.AUDITOR),
    "room": _actor("room", Role.ROOM),
}


class Tokens:
    """A verifier for which the token is the name of somebody."""

    async def verify(self, token: str) -> Actor:
        try:
            return PEOPLE[token]
        except KeyError:
            raise TokenInvalid("This token is nobody's.") from None


class Service:
    """Intake under test.

    Attributes:
        http: talks to it.
        folder: where its files are.
        runtime: what it has open.
    """

    def __init__(self, app: FastAPI, http: httpx.AsyncClient, folder: Path) -> None:
        self.http = http
        self.app = app
        self.folder = folder
        self.runtime = app.state.runtime

    async def post(self, path: str, body: Any, who: str, *, key: str | None = None, **headers: str) -> httpx.Response:
        """Send a command as ``who``."""
        names = {"Authorization": f"Bearer {who}", "Idempotency-Key": key or new_id(), **headers}
        return await self.http.post(path, json=body, headers=names)

    async def get(self, path: str, who: str, **query: Any) -> httpx.Response:
        """Read as ``who``."""
        return await self.http.get(path, params=query, headers={"Authorization": f"Bearer {who}"})

    def start_anew_from(self, template: Path) -> None:
        """Put the content of another database into the open one, whatever was in it."""
        with closing(sqlite3.connect(template)) as source, closing(sqlite3.connect(self.folder / "intake.db")) as own:
            own.execute("PRAGMA synchronous=OFF")
            source.backup(own)

    async def events(self) -> int:
        """Return how many events are stored, lines of the access log apart: reading writes one too."""
        return sum(row["aggregate_type"] != "access" for row in await self.rows("events"))

    async def access_log(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return the lines of the access log: what it was, who, and the rest."""
        events = [json.loads(row["raw"]) for row in await self.rows("events") if row["aggregate_type"] == "access"]
        return [(event["type"].split(".")[2], event["actorid"], event["data"]) for event in events]

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """Return a table."""
        return (await self.content(table))[table]

    async def content(self, *tables: str) -> dict[str, list[dict[str, Any]]]:
        """Return tables by name."""
        async with self.runtime.database.read() as conn:
            return {
                table: [dict(row) for row in (await conn.execute(text(f"SELECT * FROM {table}"))).mappings()]
                for table in tables  # the test names them
            }

    async def verify_staff(self, *names: str) -> None:
        """Have the registrations of people verified."""
        for name in names:
            person = PEOPLE[name]
            body = {
                "name": name.title(),
                "big_number": person.big_number,
                "profession": person.profession,
                "verified_on": "2026-11-01",
                "evidence": "bigregister.nl print-out 2026-11-01",
            }
            answer = await self.post(f"/staff/{name}/registration", body, "supervisor")
            assert answer.status_code == 201, answer.text

    async def refer(self, who: str = "hospital", **changes: Any) -> dict[str, str]:
        """Have a referral taken in; return the ids."""
        answer = await self.post("/referrals", referral_body(**changes), who)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def screen(self, case_id: str, *yes: str) -> None:
        """Have the safety screen completed."""
        answer = await self.post(f"/cases/{case_id}/safety-screen", screen_body(*yes), "nurse")
        assert answer.status_code == 201, answer.text


def create_app_for(folder: Path, *, nats_url: str = NOWHERE, **settings: Any) -> FastAPI:
    """Wire intake on a database in ``folder``; without NATS unless ``nats_url`` says so."""
    kek_file = folder / "kek"
    if not kek_file.exists():
        kek_file.write_text(KEK)
        kek_file.chmod(0o600)
    usual = {
        "database_url": f"sqlite:///{folder}/intake.db",
        "data_dir": folder,
        "nats_url": nats_url,
        "kek_file": kek_file,
        "stop_timeout_s": 1.0,
    }
    return create_app(IntakeSettings(**{**usual, **settings}), verifier=Tokens())


@asynccontextmanager
async def running_intake(folder: Path, **settings: Any) -> AsyncIterator[Service]:
    """Run intake as ``create_app_for`` wires it."""
    app = create_app_for(folder, **settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://intake.test") as http,
    ):
        yield Service(app, http, folder)


def patient_body(**changes: Any) -> dict[str, Any]:
    """A patient as plain JSON."""
    facts = {
        "bsn": "999911120",
        "given_name": "Wilhelmina",
        "family_name": "Aardappel",
        "birth_date": "1971-03-14",
        "gender": "female",
    }
    return {**facts, **changes}


def referral_body(**changes: Any) -> dict[str, Any]:
    """A referral as plain JSON."""
    facts = {
        "patient": patient_body(),
        "referrer_kind": "gp",
        "referrer_agb": "01012345",
        "indication": "depression",
        "referred_on": "2026-01-05",
        "question": "Somber sinds de zomervakantie; graag beoordeling.",
        "external_id": "ORD-2026-0007",
    }
    return {**facts, **changes}


def screen_body(*yes: str) -> dict[str, Any]:
    """A completed safety screen, with these items answered yes."""
    questionnaire = safety_questionnaire()
    return {
        "questionnaire": questionnaire.id,
        "questionnaire_version": questionnaire.version,
        "answers": {item.id: item.id in yes for item in questionnaire.items},
    }


def facts_body(**changes: Any) -> dict[str, Any]:
    """Facts on which the rules advise treatment."""
    facts = {
        "severity": "severe",
        "earlier_treatments": [
            {"kind": "antidepressant", "name_code": "N06AB04", "adequate": True, "stopped_for": "insufficient-effect"},
            {"kind": "psychotherapy", "name_code": "cbt", "adequate": True, "stopped_for": "insufficient-effect"},
        ],
        "psychotic_features": False,
        "other_treatment_suitable": False,
    }
    return {**facts, **changes}


def decision_body(decision: str = "indicated", **changes: Any) -> dict[str, Any]:
    """A decision on such facts."""
    return {**facts_body(), "decision": decision, **changes}
