"""The monthly budget of a stack."""

import pulumi
import pulumi_aws as aws

from components.component import StackComponent, Topics
from components.context import Stack
from components.naming import PROJECT, tags

ALERTS = (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))
"""Notification type and threshold in percent of the budget."""


def notifications(
    *,
    topic_arns: list[pulumi.Input[str]] | None = None,
    emails: list[pulumi.Input[str]] | None = None,
) -> list[aws.budgets.BudgetNotificationArgs]:
    """Return the notifications of a budget, which are sent to the topics or the e-mail
    addresses.
    """
    return [
        aws.budgets.BudgetNotificationArgs(
            notification_type=kind,
            comparison_operator="GREATER_THAN",
            threshold=percent,
            threshold_type="PERCENTAGE",
            subscriber_sns_topic_arns=topic_arns,
            subscriber_email_addresses=emails,
        )
        for kind, percent in ALERTS
    ]


class Budget(StackComponent):
    """A monthly budget for the stack's tagged cost, with alerts on actual and forecasted cost.

    Why: Recursive invocations and stolen credentials are often noticed first in the cost of a
    stack. Activate the cost allocation tags Project and Environment once in the payer account.
    """

    def __init__(
        self, name: str, stack: Stack, topics: Topics, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(name, stack, opts)
        aws.budgets.Budget(
            name,
            name=self.names.name("monthly"),
            account_id=self.names.account,
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=str(self.settings.budget.monthly_usd),
            limit_unit="USD",
            metrics="UnblendedCost",
            filter_expression={
                "ands": [
                    {"tags": {"key": key, "values": [value], "match_options": ["EQUALS"]}}
                    for key, value in (("Project", PROJECT), ("Environment", self.names.stack))
                ]
            },
            notifications=notifications(topic_arns=[topics.notices[name]]),
            tags=tags("internal"),
            opts=self.child,
        )
        self.register_outputs({})
