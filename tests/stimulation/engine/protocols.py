"""Public protocols as they are printed: what the engine has to be able to say. Sources are with the clinical facts in
docs/engine.md."""

from spoel_stimulation.engine import Convention, Course, Part, Pattern, Session, Train, read_pause

THETA = {"pulses_per_burst": 3, "pulse_interval_s": 0.02}
SLOTS = Convention.SLOTS

HF_STANDARD = read_pause(Train(10, 40), 75, 26, SLOTS)
DASH = read_pause(Train(10, 40), 75, 11, SLOTS)
FIVE_SECONDS = read_pause(Train(10, 50), 60, 25, SLOTS)
DEEP_H1 = read_pause(Train(18, 36), 55, 20, SLOTS)
DEEP_H7 = read_pause(Train(20, 40), 50, 20, SLOTS)
SACHDEV = read_pause(Train(10, 50), 30, 25, SLOTS)
LOW_900 = read_pause(Train(1, 900), 1, 0, SLOTS)
LOW_1200 = read_pause(Train(1, 1200), 1, 0, SLOTS)
LOW_1800 = read_pause(Train(1, 1800), 1, 0, SLOTS)
ITBS_600 = read_pause(Train(5, 10, **THETA), 20, 8, SLOTS)
ITBS_1200 = read_pause(Train(5, 10, **THETA), 40, 8, SLOTS)
SNT = read_pause(Train(5, 10, **THETA), 60, 8, SLOTS)
CTBS_300 = read_pause(Train(5, 100, **THETA), 1, 0, SLOTS)
CTBS_600 = read_pause(Train(5, 200, **THETA), 1, 0, SLOTS)
CTBS_1800 = read_pause(Train(5, 600, **THETA), 1, 0, SLOTS)
QPS_5 = read_pause(Train(0.2, 360, 4, 0.005), 1, 0, SLOTS)

SNT_DAY = Course(session=Session.of(SNT, 45), sessions_per_day=10, session_interval_s=3600)
SNT_COURSE = Course(session=Session.of(SNT, 45), sessions_per_day=10, session_interval_s=3600, days=5)
STANDARD_COURSE = Course(session=Session.of(HF_STANDARD, 60), days=30)

BILATERAL = Session.in_sequence(
    [
        Part(pattern=read_pause(Train(1, 600), 1, 0, SLOTS), percent_mso=60, site="right-dlpfc"),
        Part(pattern=read_pause(Train(10, 50), 30, 25, SLOTS), percent_mso=62, site="left-dlpfc"),
    ],
    pause_s=120,
)
PAIRED = Pattern(
    pulses_per_burst=2,
    pulse_interval_s=0.003,
    bursts_per_train=30,
    burst_interval_s=5.0,
    trains=1,
    train_interval_s=150.0,
)
