"""`gatehouse customers`, `gatehouse plans` and `gatehouse limits`: manages customers, plans and
limits of subjects through the console.
"""

import re
from typing import Annotated, Any

import typer
from gatehouse_client import ConsoleClient

from gatehouse.commands.cli.actions import PROPAGATION, Action, Items, sentence
from gatehouse.commands.cli.actions import register as register_actions
from gatehouse.commands.cli.common.forms import CUSTOMER_FORMS, PLAN_FORMS
from gatehouse.commands.cli.common.lists import LIMIT, AllOption, LimitOption
from gatehouse.commands.cli.common.options import Output, console_command
from gatehouse.commands.cli.common.output import (
    note,
    print_fields,
    print_items,
    print_text,
    reject,
    stop,
)
from gatehouse.commands.cli.common.shapes import parameters, request
from gatehouse.commands.cli.endpoints import Command, identifier
from gatehouse.commands.cli.endpoints import register as register_all
from gatehouse.core.customers import ID
from gatehouse.core.notation import count
from gatehouse.features.customers.schemas import (
    ChangedCustomer,
    ChangedLimit,
    ChangedPlan,
    CreateCustomer,
    CreateLimit,
    CreatePlan,
    CreatePortalLink,
    CustomerFilter,
    CustomerView,
    LimitList,
    LimitView,
    ListCustomers,
    Overrides,
    PlanList,
    PlanView,
    PortalLink,
    PurgeCustomer,
    PurgedCustomer,
    UpdateCustomer,
    UpdateLimit,
    UpdatePlan,
)

_CUSTOMERS, _PLANS = "/v1/customers", "/v1/plans"
_ITEMS = Items(
    noun="customer",
    path=_CUSTOMERS,
    view=CustomerView,
    filters=CustomerFilter,
    columns=("id", "name", "state", "plan", "keys", "contact", "tags"),
    is_id=lambda text: re.fullmatch(ID, text) is not None,
    example="acme --reason unpaid",
)
_ACTIONS = tuple(
    Action(name=name, done=done, states=states, help=help, response=ChangedCustomer)
    for name, done, states, help in (
        (
            "disable",
            "Disabled",
            ("active",),
            "Disable customers: the gateway denies all of their keys until they are enabled again.",
        ),
        ("enable", "Enabled", ("disabled",), "Enable disabled customers."),
        (
            "delete",
            "Deleted",
            ("active", "disabled"),
            "Delete customers: the gateway denies all of their keys as if they did not exist. A "
            "deleted customer can be restored until it is purged.",
        ),
        ("restore", "Restored", ("deleted",), "Restore deleted customers to their previous state."),
    )
)
_COMMANDS = (
    Command(
        name="create",
        operation="POST /v1/customers",
        shape=CreateCustomer,
        response=CustomerView,
        forms=CUSTOMER_FORMS,
        help="Create a customer.",
        example='--id acme --name "Acme Ltd" --plan starter',
        done="Created {id} ({name}).",
    ),
    Command(
        name="show",
        operation="GET /v1/customers/{customer}",
        resolve=_ITEMS.resolve,
        response=CustomerView,
        help="Show a customer.",
        example="acme",
    ),
    Command(
        name="update",
        operation="PATCH /v1/customers/{customer}",
        resolve=_ITEMS.resolve,
        shape=UpdateCustomer,
        response=ChangedCustomer,
        forms=CUSTOMER_FORMS,
        version="version",
        help="Change a customer and thereby all of its keys, or all active and disabled customers "
        "that match filters. Omitted settings stay unchanged; an empty --plan removes the plan. "
        "The same command continues an interrupted run.",
        example="acme --plan business\n\nExample: gatehouse customers update --filter-plan starter "
        "--plan pro --dry-run",
        items=_ITEMS,
        done=lambda shown: sentence("Updated", shown["customer"], shown["effective"]),
    ),
    Command(
        name="portal",
        operation="POST /v1/customers/{customer}/portal",
        resolve=_ITEMS.resolve,
        shape=CreatePortalLink,
        response=PortalLink,
        help="Create a one-time link to the portal, on which a customer manages its own keys.",
        example="acme --ttl 1h",
        once="url",
    ),
)
_PLAN_COMMANDS = (
    Command(
        name="create",
        operation="POST /v1/plans",
        shape=CreatePlan,
        response=PlanView,
        forms=PLAN_FORMS,
        help="Create a plan.",
        example="--name starter --shared-limit 500/1m",
        done="Created {name}.",
    ),
    Command(
        name="list",
        operation="GET /v1/plans",
        response=PlanList,
        help="List plans.",
        columns=("name", "limits", "shared_limits", "credits", "scopes", "customers", "keys"),
    ),
    Command(
        name="update",
        operation="PATCH /v1/plans/{plan}",
        shape=UpdatePlan,
        response=ChangedPlan,
        forms=PLAN_FORMS,
        version="version",
        help="Change a plan for all customers and keys that follow it, except for values of their "
        "own. Omitted settings stay unchanged; an empty --scope or --ttl removes the value.",
        example="starter --credits 100000/month",
        done=lambda shown: f"Updated {shown['plan'].name}. {PROPAGATION[shown['effective']]}",
    ),
    Command(
        name="delete",
        operation="DELETE /v1/plans/{plan}",
        help="Delete a plan that no customer and no key follows.",
        example="starter",
        done="Deleted {plan}.",
    ),
)
_LIMIT_COMMANDS = (
    Command(
        name="create",
        operation="POST /v1/limits",
        shape=CreateLimit,
        response=LimitView,
        help="Create a rate limit for subjects that your services name, such as users or "
        "addresses.",
        example="--name sign-in --quota 5 --window 15m",
        done="Created {name}.",
    ),
    Command(
        name="list",
        operation="GET /v1/limits",
        response=LimitList,
        help="List limits.",
        columns=("name", "quota", "window_s", "burst", "description"),
    ),
    Command(
        name="show",
        operation="GET /v1/limits/{limit_name}",
        response=LimitView,
        help="Show a limit.",
        example="sign-in",
    ),
    Command(
        name="update",
        operation="PATCH /v1/limits/{limit_name}",
        shape=UpdateLimit,
        response=ChangedLimit,
        version="version",
        help="Change a limit. Omitted settings stay unchanged.",
        example="sign-in --quota 10",
        done=lambda shown: f"Updated {shown['limit'].name}. {PROPAGATION[shown['effective']]}",
    ),
    Command(
        name="delete",
        operation="DELETE /v1/limits/{limit_name}",
        help="Delete a limit.",
        example="sign-in",
        done="Deleted {limit_name}.",
    ),
)


def register(app: typer.Typer) -> None:
    customers = typer.Typer(name="customers", help="Manage customers, to whom keys belong.")
    options = parameters(ListCustomers, "cursor", "limit", "total")
    console_command(customers, list_, options=options)
    register_actions(customers, _ITEMS, *_ACTIONS)
    console_command(customers, purge, options=parameters(PurgeCustomer, "confirm"))
    register_all(customers, *_COMMANDS)
    plans = typer.Typer(name="plans", help="Manage plans, which customers and keys follow.")
    console_command(plans, show_plan, "show")
    register_all(plans, *_PLAN_COMMANDS)
    limits = typer.Typer(name="limits", help="Manage rate limits for requests without a key.")
    register_all(limits, *_LIMIT_COMMANDS)
    for group in (customers, plans, limits):
        app.add_typer(group)


def list_(
    client: ConsoleClient, limit: LimitOption = LIMIT, all: AllOption = False, **settings: Any
) -> Output:
    """List customers.

    Example: gatehouse customers list --plan starter --sort name
    """
    return _ITEMS.listing(client, request(settings), limit, all)


def purge(
    client: ConsoleClient,
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="ID of the customer.")],
    yes: Annotated[bool, typer.Option("--yes", help="Confirm. A purge cannot be undone.")] = False,
    **settings: Any,
) -> Output:
    """Erase all data of a deleted customer and of its keys, except for their IDs. A purge cannot be
    undone. The same command continues an interrupted purge.

    Example: gatehouse customers purge acme --yes
    """
    path = f"{_CUSTOMERS}/{identifier(customer)}/purge"
    if not yes:
        reject(f"a purge cannot be undone: add --yes to purge {customer}")
    body, keys = {**request(settings), "confirm": customer}, 0
    while (purged := client.call(PurgedCustomer, "POST", path, body)).keys_left:
        keys += purged.purged_keys
        if not purged.purged_keys:
            stop(f"{count(purged.keys_left, 'key')} of {customer} could not be purged")
        note(f"Purged {count(keys, 'key')}, {purged.keys_left} left.")
    keys += purged.purged_keys
    return purged, lambda: print_text(f"Purged {customer} and {count(keys, 'key')}.")


def show_plan(
    client: ConsoleClient,
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="Name of the plan.")],
) -> Output:
    """Show a plan, and the customers and keys with values of their own instead of those of the
    plan.

    Example: gatehouse plans show starter
    """
    path = f"{_PLANS}/{identifier(plan)}"
    found, overrides = client.get(PlanView, path), client.get(Overrides, f"{path}/overrides")

    def show() -> None:
        print_fields(found)
        if overrides.overrides:
            print_items(overrides.overrides, "customer_id", "key_id", "name", "fields")
        note(count(len(overrides.overrides), "override"))

    return {"plan": found, "overrides": overrides.overrides}, show
