"""A GraphQL API with a subscription."""

from collections.abc import AsyncIterator

import strawberry
from fastapi import FastAPI
from strawberry.fastapi import GraphQLRouter


@strawberry.type
class Query:
    @strawberry.field
    def name(self) -> str:
        return "numbers"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number


app = FastAPI()
schema = strawberry.Schema(Query, subscription=Subscription)
app.include_router(GraphQLRouter(schema), prefix="/graphql")
