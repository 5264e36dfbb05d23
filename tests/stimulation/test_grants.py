"""A session's grant: it stands for a token that lapsed, also while the issuer is away, and a revocation ends it."""

import json
import time
from types import SimpleNamespace

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey
from tests.stimulation.clinic import fast_clock, simulated
from tests.stimulation.story import OPERATOR, SUPERVISOR, TECHNICIAN
from tests.stimulation.two_nodes import problem_of

from spoel_common.identity import TokenVerifier

ISSUER = "http://127.0.0.1:1"
KEY = OKPKey.generate_key("Ed25519")
HOUR_S = 3_600


class Issuer:
    """An issuer whose keys were fetched once, and that has been away since; its clock is the test's."""

    def __init__(self, folder):
        self.ahead_s = 0.0
        self._cache = folder / "jwks.json"
        public = {**KEY.as_dict(private=False), "kid": "1", "use": "sig"}
        self._cache.write_text(json.dumps({"issuer": ISSUER, "jwks_url": None, "jwks": {"keys": [public]}}))
        self._cache.chmod(0o600)

    def now(self):
        return time.time() + self.ahead_s

    def verifier(self):
        return TokenVerifier(ISSUER, None, "stimulation", cache_file=self._cache, now=self.now)

    def token(self, person, key=KEY, **claims):
        """Return somebody whose name is a token of ``person``, good for ten minutes."""
        usual = {"iss": ISSUER, "aud": "stimulation", "sub": person.person_id, "exp": int(self.now()) + 600}
        usual |= {"roles": sorted(person.roles), "big_number": person.big_number}
        header = {"alg": "Ed25519", "kid": "1", "typ": "at+jwt"}
        return SimpleNamespace(person_id=jwt.encode(header, usual | claims, key, algorithms=["Ed25519"]))


@pytest.fixture
async def issuer(tmp_path):
    return Issuer(tmp_path)


@pytest.fixture
async def clinic(tmp_path, issuer):
    async with simulated(tmp_path, fast_clock(8)) as clinic:
        clinic.verifier = issuer.verifier()
        async with clinic.opened():
            await clinic.ready()
            yield clinic


@pytest.mark.requirement("ST-03")
async def test_an_expired_token_does_not_stop_care_and_opens_nothing_else(clinic, issuer):
    petra, tom = issuer.token(OPERATOR), issuer.token(TECHNICIAN)
    forged = issuer.token(OPERATOR, OKPKey.generate_key("Ed25519"))
    elsewhere = issuer.token(OPERATOR, aud="planning")
    session_id = await clinic.started(await clinic.prepare(by=petra), by=petra)
    next_one = await clinic.book()
    issuer.ahead_s = HOUR_S
    assert (await clinic.ask(session_id, "pause", petra, reason="coil-check")).status_code == 200

    async def resumed():
        answer = await clinic.ask(session_id, "resume", petra, ear_protection=True)
        assert answer.status_code == 200 or problem_of(answer) == "train-under-way", answer.text
        return answer.status_code == 200

    await clinic.until(resumed, "the session resumed")
    for path in (f"/sessions/{session_id}", "/rooms/room-1"):
        assert (await clinic.get(path, petra)).status_code == 200
        assert problem_of(await clinic.get(path, tom)) == "token-expired"
    for path in ("/rooms", "/site/rooms", "/sessions/unknown"):
        assert problem_of(await clinic.get(path, petra)) == "token-expired"
    pause = {"reason": "coil-check"}
    assert problem_of(await clinic.ask(session_id, "pause", tom, **pause)) == "token-expired"
    assert problem_of(await clinic.ask(session_id, "pause", forged, **pause)) == "token-invalid"
    assert problem_of(await clinic.ask(session_id, "pause", elsewhere, **pause)) == "token-invalid"
    assert problem_of(await clinic.open(next_one, petra)) == "token-expired"
    assert problem_of(await clinic.post("/supervision/end", by=petra)) == "token-expired"
    stopped = await clinic.ask(session_id, "stop", petra, reason="other")
    assert stopped.status_code == 200, stopped.text
    assert problem_of(await clinic.get(f"/sessions/{session_id}", petra)) == "token-expired"  # the grant is over


@pytest.mark.requirement("ST-03")
async def test_a_token_that_lapsed_longer_ago_than_a_grant_lasts_is_good_for_nothing(clinic, issuer):
    petra = issuer.token(OPERATOR)
    session_id = await clinic.started(await clinic.prepare(by=petra), by=petra)
    issuer.ahead_s = 5 * HOUR_S
    assert problem_of(await clinic.ask(session_id, "pause", petra, reason="coil-check")) == "token-expired"
    fresh = issuer.token(OPERATOR)
    assert (await clinic.ask(session_id, "pause", fresh, reason="coil-check")).status_code == 200


@pytest.mark.requirement("ST-03")
async def test_a_restarted_node_goes_on_with_the_keys_on_disk(tmp_path, issuer):
    petra = issuer.token(OPERATOR)
    async with simulated(tmp_path, fast_clock(8)) as clinic:
        clinic.verifier = issuer.verifier()
        async with clinic.opened():
            await clinic.ready()
            session_id = await clinic.started(await clinic.prepare(by=petra), by=petra)
        issuer.ahead_s = HOUR_S
        clinic.verifier = issuer.verifier()
        async with clinic.opened():
            await clinic.ready()
            assert (await clinic.ask(session_id, "stop", petra, reason="other")).status_code == 200


@pytest.mark.invariant("INV-4")
async def test_a_revoked_grant_disarms_interrupts_and_ends_what_the_token_could(clinic, issuer):
    petra, sanne = issuer.token(OPERATOR), issuer.token(SUPERVISOR)
    session_id = await clinic.started(await clinic.prepare(by=petra), by=petra)
    refused = await clinic.ask(session_id, "revoke-grant", petra, reason="access-withdrawn")
    assert problem_of(refused) == "role-not-allowed"
    revoked = await clinic.ask(session_id, "revoke-grant", sanne, reason="access-withdrawn")
    assert revoked.status_code == 200, revoked.text
    await clinic.until_event("session-paused")
    session = (await clinic.get(f"/sessions/{session_id}", petra)).json()
    assert (session["state"], session["reason"]) == ("interrupted", "grant-ended")
    assert not clinic.simulator.enabled
    assert problem_of(await clinic.arm(session_id, petra)) == "grant-ended"
    issuer.ahead_s = HOUR_S
    assert problem_of(await clinic.arm(session_id, petra)) == "token-expired"
    assert (await clinic.ask(session_id, "stop", issuer.token(TECHNICIAN), reason="other")).status_code == 200
