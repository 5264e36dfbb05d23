"""Events on their way between services: relay, watermarks, consumers. The only importer of NATS."""

from spoel_common.messaging.aside import HeldEvent, State, list_held
from spoel_common.messaging.ask import NobodyAnswers, answer, ask, ask_subject
from spoel_common.messaging.broker import Broker, BrokerAway, NatsSettings
from spoel_common.messaging.bucket import Bucket
from spoel_common.messaging.consumer import Consumer
from spoel_common.messaging.history import read_history
from spoel_common.messaging.inbox import Inbox, Superseded
from spoel_common.messaging.keeper import Keeper, ProjectionStatus, RebuildStatus, ask_rebuild, cancel_rebuild
from spoel_common.messaging.projection import NEVER_S, FeedKnowledge, Projection, Received
from spoel_common.messaging.relay import NotPublishing, Relay, StreamAhead
from spoel_common.messaging.resend import Resender
from spoel_common.messaging.streams import StreamUnsafe, ensure_stream
from spoel_common.messaging.taking import Gap, RecordGap
from spoel_common.messaging.watermark import Watermark, WatermarkPublisher

__all__ = [
    "NEVER_S",
    "Broker",
    "BrokerAway",
    "Bucket",
    "Consumer",
    "FeedKnowledge",
    "Gap",
    "HeldEvent",
    "Inbox",
    "Keeper",
    "NatsSettings",
    "NobodyAnswers",
    "NotPublishing",
    "Projection",
    "ProjectionStatus",
    "RebuildStatus",
    "Received",
    "RecordGap",
    "Relay",
    "Resender",
    "State",
    "StreamAhead",
    "StreamUnsafe",
    "Superseded",
    "Watermark",
    "WatermarkPublisher",
    "answer",
    "ask",
    "ask_rebuild",
    "ask_subject",
    "cancel_rebuild",
    "ensure_stream",
    "list_held",
    "read_history",
]
