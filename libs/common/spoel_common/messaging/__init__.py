"""Events on their way between services: relay, watermarks, consumers. The only importer of NATS."""

from spoel_common.messaging.aside import HeldEvent, State, list_held, replay
from spoel_common.messaging.broker import Broker, BrokerAway, NatsSettings
from spoel_common.messaging.bucket import Bucket
from spoel_common.messaging.consumer import Consumer
from spoel_common.messaging.inbox import Inbox, Superseded
from spoel_common.messaging.keeper import Keeper, ProjectionStatus, RebuildStatus, ask_rebuild, cancel_rebuild
from spoel_common.messaging.projection import NEVER_S, FeedKnowledge, Projection, Received
from spoel_common.messaging.relay import Relay, StreamAhead
from spoel_common.messaging.streams import StreamUnsafe, ensure_stream
from spoel_common.messaging.watermark import Watermark, WatermarkPublisher

__all__ = [
    "NEVER_S",
    "Broker",
    "BrokerAway",
    "Bucket",
    "Consumer",
    "FeedKnowledge",
    "HeldEvent",
    "Inbox",
    "Keeper",
    "NatsSettings",
    "Projection",
    "ProjectionStatus",
    "RebuildStatus",
    "Received",
    "Relay",
    "State",
    "StreamAhead",
    "StreamUnsafe",
    "Superseded",
    "Watermark",
    "WatermarkPublisher",
    "ask_rebuild",
    "cancel_rebuild",
    "ensure_stream",
    "list_held",
    "replay",
]
