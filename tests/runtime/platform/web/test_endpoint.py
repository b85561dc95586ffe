"""Services that handlers take."""

from typing import Any, NewType

import pytest
from gatehouse.platform.web.endpoint import Endpoint, resolve

Url = NewType("Url", str)


class Keys:
    pass


async def show(request: object, id: str, keys: Keys, url: Url) -> None:
    """Show."""


SHOW = Endpoint("GET", "/v1/keys/{id}", show, tag="keys", security=())


def test_other_parameters_of_a_handler_are_services() -> None:
    assert SHOW.services == {"keys": Keys, "url": Url}
    services: dict[Any, object] = {Keys: (keys := Keys()), Url: "https://gateway.test"}
    assert resolve(SHOW, services) == {"keys": keys, "url": "https://gateway.test"}


@pytest.mark.parametrize(("services", "missing"), [({}, "Keys"), ({Keys: Keys()}, "Url")])
def test_missing_service_names_endpoint_and_type(services: dict[Any, object], missing: str) -> None:
    with pytest.raises(LookupError, match=f"GET /v1/keys/{{id}} takes {missing}, "):
        resolve(SHOW, services)
