"""HTTP for every service: the application, who calls, commands, and problems."""

from spoel_common.runtime import Unavailable
from spoel_common.web.app import create_app, plain_app
from spoel_common.web.commands import CommandCall, CommandDep, command_call
from spoel_common.web.dependencies import (
    ActorDep,
    CredentialsDep,
    RuntimeDep,
    TokenDep,
    counting_refusals,
    current_actor,
    runtime_of,
    token_of,
)
from spoel_common.web.problems import (
    BodyTooLarge,
    BodyTooSlow,
    ErrorRenderer,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    IdempotencyTwinUnderWay,
    InternalError,
    MalformedJson,
    MethodNotAllowed,
    NotAcceptable,
    RequestRefused,
    UnsupportedMediaType,
    ValidationFailed,
    problem_document,
    render_problem,
)
from spoel_common.web.server import run_service, serve

__all__ = [
    "ActorDep",
    "BodyTooLarge",
    "BodyTooSlow",
    "CommandCall",
    "CommandDep",
    "CredentialsDep",
    "ErrorRenderer",
    "IdempotencyKeyMissing",
    "IdempotencyKeyReused",
    "IdempotencyTwinUnderWay",
    "InternalError",
    "MalformedJson",
    "MethodNotAllowed",
    "NotAcceptable",
    "RequestRefused",
    "RuntimeDep",
    "TokenDep",
    "Unavailable",
    "UnsupportedMediaType",
    "ValidationFailed",
    "command_call",
    "counting_refusals",
    "create_app",
    "current_actor",
    "plain_app",
    "problem_document",
    "render_problem",
    "run_service",
    "runtime_of",
    "serve",
    "token_of",
]
