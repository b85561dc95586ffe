"""The base of the responses of the services."""

import msgspec

#: Fields of requests and responses that contain a secret or identify a person, which must not reach
#: a log or an error.
SECRET_FIELDS = frozenset(
    {
        *("token", "link", "url", "text", "content_base64", "ciphertext_base64", "passphrase"),
        *("claim", "subject"),
    }
)


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A response. Unknown fields are ignored, so that a later version of the service can add some.
    The representation contains no secret.
    """

    def __repr__(self) -> str:
        fields = (
            f"{name}=..." if name in SECRET_FIELDS else f"{name}={getattr(self, name)!r}"
            for name in self.__struct_fields__
        )
        return f"{type(self).__name__}({', '.join(fields)})"
