"""The AWS provider of the tests of releases, with another ARN for each created resource."""

import uuid
from typing import Any

from tests.release import aws_provider


class Provider(aws_provider.Provider):
    def Create(self, request: Any, context: Any) -> Any:
        response = super().Create(request, context)
        response.properties["arn"] = f"arn:{uuid.uuid4()}"
        return response


if __name__ == "__main__":
    aws_provider.main(Provider())
