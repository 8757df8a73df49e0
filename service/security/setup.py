"""Reads the settings and gives the layers that check who asks and that face browsers."""

from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp

from service.security.browsers import Browsers, with_cors
from service.security.failures import KeysError
from service.security.gate import Gate
from service.security.keys import Keys
from service.security.table import OPEN, Table
from service.settings import Settings

Layer = Callable[[ASGIApp], ASGIApp]


def gate_for(settings: Settings) -> Callable[[ASGIApp], Gate] | None:
    """Give the layer that checks keys and tokens, None if neither is set up; KeysError if they cannot be used."""
    keys = Keys(settings.keys, settings.rate_limit, settings.session_quota) if settings.keys else None
    tokens = None
    if settings.jwt_issuer:
        try:
            from service.security.tokens import Tokens
        except ImportError:
            raise KeysError("tokens need a library more: pip install 'nextply[jwt]'") from None
        tokens = Tokens(settings)
    if keys is None and tokens is None:
        return None
    table = Table(open_metrics=settings.open_metrics)
    return lambda behind: Gate(behind, table, keys, tokens.find if tokens is not None else None)


def describe_keys(openapi: dict[str, Any]) -> None:
    """Tell OpenAPI how a key is sent, and which calls want none."""
    scheme = {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the issuer."}
    openapi.setdefault("components", {})["securitySchemes"] = {"key": scheme}
    openapi["security"] = [{"key": []}]
    table = Table(open_metrics=False)
    for path, calls in openapi["paths"].items():
        if table.needed(path) == OPEN:
            for call in calls.values():
                call["security"] = []


def facing_browsers(settings: Settings) -> Layer:
    """Give the outermost layer; CORS is a part of it only where origins are set up."""

    def layer(behind: ASGIApp) -> ASGIApp:
        app = Browsers(behind, settings.origins)
        return with_cors(app, settings.origins) if settings.origins else app

    return layer
