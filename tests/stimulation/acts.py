"""Every act of a session, asked for in a way in which nothing but the session's phase is against it."""

from tests.stimulation.story import (
    ARMED,
    GO,
    OPERATOR,
    REGISTRATIONS,
    SAID,
    SESSION,
    STRIP,
    SUPERVISOR,
    TODAY,
    device,
    facts,
    on_duty,
)

from spoel_stimulation import commands as asked
from spoel_stimulation.domain import checks, conduct, session
from spoel_stimulation.domain.phases import PEOPLES_ACTS, Act

ASKED_OF_PEOPLE = sorted(PEOPLES_ACTS)


def armed(story):
    session.check_arm(story.state, asked.Arm(ear_protection=True), OPERATOR, around(story))
    return session.record_armed(story.state, ARMED.model_copy(update={"percent_mso": story.state.percent_mso}))


def around(story, roster=None, *, enabled=False):
    described = {} if roster is None else {"roster": roster}
    return facts(story.kind, story.order, device=device(enabled=enabled), now=story.now, **described)


def changed(story):
    command = asked.ChangeParameter(parameter="percent_rmt", value=100.0, reason="pain")
    return session.change_parameter(story.state, command, OPERATOR, around(story))


ASK = {
    Act.OPEN: lambda its: session.open_session(its.state, asked.OpenSession(session_id=SESSION), OPERATOR, around(its)),
    Act.CONFIRM_IDENTITY: lambda its: session.confirm_identity(its.state, SAID, OPERATOR, around(its), STRIP),
    Act.CHECK_PATIENT: lambda its: checks.answer_daily_check(its.state, asked.AnswerDailyCheck(answers=GO), TODAY)[0],
    Act.DECIDE_CHECK: lambda its: checks.decide_daily_check(
        its.state, asked.DecideDailyCheck(question="sleep", decision="go"), SUPERVISOR, around(its, on_duty())
    ),
    Act.CONFIRM_PRESENCE: lambda its: checks.confirm_presence(
        its.state, asked.ConfirmPresence(awake=True), OPERATOR, REGISTRATIONS["petra"], its.now
    ),
    Act.ARM: armed,
    Act.START: lambda its: session.start(its.state, asked.Start(), OPERATOR, around(its, enabled=True)),
    Act.PAUSE: lambda its: session.pause(its.state, asked.Pause(reason="other"), OPERATOR, its.now),
    Act.RESUME: lambda its: session.resume(
        its.state, asked.Resume(ear_protection=True), OPERATOR, around(its, enabled=True)
    ),
    Act.PLACE_COIL: lambda its: session.place_coil(
        its.state, asked.PlaceCoil(side_or_site="left", ear_protection=True), OPERATOR, around(its)
    ),
    Act.STOP: lambda its: session.stop(its.state, asked.Stop(reason="other"), OPERATOR),
    Act.CHANGE_PARAMETER: changed,
    Act.STIMULATE: lambda its: session.stimulate(
        its.state, asked.Stimulate(percent_mso=40), "t", OPERATOR, around(its, enabled=True)
    ),
    Act.SEARCH: lambda its: session.search_location(
        its.state,
        asked.SearchLocation(location="F3", side_or_site="left", percent_mso=40, ear_protection=True),
        OPERATOR,
        around(its, enabled=True),
        None,
    ),
    Act.ANSWER: lambda its: session.answer_stimulus(
        its.state, "t", asked.AnswerStimulus(response="yes"), OPERATOR, around(its)
    ),
    Act.AUTHORISE_TRAIN: lambda its: its.authorise("t", around(its, enabled=True)),
    Act.AWAIT_COIL: lambda its: conduct.await_coil(its.state),
    Act.INTERRUPT: lambda its: conduct.interrupt(its.state, asked.Interrupt(reason="link-lost"), its.now),
    Act.CLOSE: lambda its: conduct.close(its.state, asked.Close(reason="consent-withdrawn")),
}


def ask(act, story):
    return ASK[act](story)
