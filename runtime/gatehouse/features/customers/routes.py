"""Endpoints for customers, plans and limits."""

from functools import partial

import msgspec

from gatehouse.core.customers import shared_limits
from gatehouse.core.roles import KEY_MANAGERS, KEY_READERS, OPERATORS, OWNERS, READERS, Role
from gatehouse.features.customers.repository import CustomerPosition, Found
from gatehouse.features.customers.schemas import (
    ChangedCustomer,
    ChangedLimit,
    ChangedPlan,
    CreateCustomer,
    CreateLimit,
    CreatePlan,
    CustomerFilter,
    CustomerPage,
    CustomerView,
    LimitList,
    LimitView,
    ListCustomers,
    Overrides,
    PlanList,
    PlanView,
    PurgeCustomer,
    PurgedCustomer,
    UpdateCustomer,
    UpdateLimit,
    UpdatePlan,
    customer_view,
    fields_of,
    limit_view,
    plan_view,
)
from gatehouse.features.customers.service import (
    CustomerAction,
    CustomerService,
    LimitService,
    PlanService,
)
from gatehouse.features.keys.schemas import ReasonBody
from gatehouse.platform.web.endpoint import Endpoint, StepUp
from gatehouse.platform.web.fields import IF_MATCH, TOTAL_MAX, etag, expected_version
from gatehouse.platform.web.request import Request


async def create_customer(
    request: Request, body: CreateCustomer, customers: CustomerService
) -> CustomerView:
    """Create a customer."""
    found = await customers.create(body, request.actor)
    request.add_header(b"location", f"/v1/customers/{body.id}")
    return _tagged(request, found)


async def list_customers(
    request: Request, query: ListCustomers, customers: CustomerService
) -> CustomerPage:
    """List customers.

    Returns the customers that match all filters, in the order that `sort` specifies.
    """
    only = msgspec.convert(query, CustomerFilter, from_attributes=True)
    cursors = request.cursors(f"customers|{only!r}|{query.sort}")
    after = cursors.read(query.cursor, CustomerPosition)
    store, creator = customers.store, request.authenticated.creator
    page, last = await store.page(
        only, after=after, size=query.limit, sort=query.sort, creator=creator
    )
    total = await store.count(only, TOTAL_MAX, creator) if query.total else None
    return CustomerPage([_view(found) for found in page], cursors.write(last), total)


async def show_customer(
    request: Request, customer: str, customers: CustomerService
) -> CustomerView:
    """Retrieve a customer.

    To update the customer, send its ETag in `If-Match`.
    """
    return _tagged(request, await customers.get(customer))


async def update_customer(
    request: Request, customer: str, body: UpdateCustomer, customers: CustomerService
) -> ChangedCustomer:
    """Update a customer.

    Responds when every live gateway worker has confirmed the change, or when the propagation bound
    is reached.
    """
    version = expected_version(request.header(b"if-match"))
    changed = await customers.update(customer, fields_of(body), request.actor, version=version)
    return ChangedCustomer(_tagged(request, changed.found), changed.effective)


async def purge_customer(
    request: Request, customer: str, body: PurgeCustomer, customers: CustomerService
) -> PurgedCustomer:
    """Purge a customer.

    Erases the data of a deleted customer and of its keys, up to 100 keys in a request. Repeat the
    request until `keys_left` is 0. A purge cannot be undone. The audit trail keeps the events.
    """
    roles = request.authenticated.roles
    purged, left = await customers.purge(customer, body.confirm, body.reason, request.actor, roles)
    return PurgedCustomer(customer, purged, left)


async def create_plan(request: Request, body: CreatePlan, plans: PlanService) -> PlanView:
    """Create a plan."""
    plan = await plans.create(fields_of(body), request.actor)
    request.add_header(b"etag", etag(plan.version))
    request.add_header(b"location", f"/v1/plans/{plan.name}")
    return plan_view(plan)


async def list_plans(request: Request, plans: PlanService) -> PlanList:
    """List plans."""
    return PlanList([plan_view(plan) for plan in await plans.store.all()])


async def show_plan(request: Request, plan: str, plans: PlanService) -> PlanView:
    """Retrieve a plan.

    To update the plan, send its ETag in `If-Match`.
    """
    found = await plans.get(plan)
    request.add_header(b"etag", etag(found.version))
    return plan_view(found)


async def update_plan(
    request: Request, plan: str, body: UpdatePlan, plans: PlanService
) -> ChangedPlan:
    """Update a plan.

    The change applies to all customers and keys that follow the plan, except to values of their
    own. Remaining credits change by the difference of the refills. A changed lifetime changes the
    expiry of usable keys that had the lifetime before it, and is refused if it would end one of
    them at once.
    """
    version = expected_version(request.header(b"if-match"))
    changed = await plans.update(plan, fields_of(body), request.actor, version=version)
    request.add_header(b"etag", etag(changed.value.version))
    return ChangedPlan(plan_view(changed.value), changed.effective)


async def delete_plan(request: Request, plan: str, plans: PlanService) -> None:
    """Delete a plan.

    Only a plan that no customer and no key follows.
    """
    await plans.delete(plan, request.actor)


async def list_overrides(request: Request, plan: str, plans: PlanService) -> Overrides:
    """List overrides of a plan.

    Returns the customers and keys that follow the plan and have values of their own, up to 500.
    """
    await plans.get(plan)
    return Overrides(await plans.store.overrides(plan))


async def create_limit(request: Request, body: CreateLimit, limits: LimitService) -> LimitView:
    """Create a limit.

    For `POST /v1/limits/{limit}/take` of the gateway.
    """
    settings = {**fields_of(body), "burst": body.burst or body.quota, "is_deleted": False}
    limit = await limits.create(settings, request.actor)
    request.add_header(b"etag", etag(limit.version))
    request.add_header(b"location", f"/v1/limits/{limit.name}")
    return limit_view(limit)


async def list_limits(request: Request, limits: LimitService) -> LimitList:
    """List limits.

    Returns the limits for subjects that callers name, ordered by name.
    """
    return LimitList([limit_view(limit) for limit in await limits.store.all()])


async def show_limit(request: Request, limit_name: str, limits: LimitService) -> LimitView:
    """Retrieve a limit.

    To update the limit, send its ETag in `If-Match`.
    """
    found = await limits.get(limit_name)
    request.add_header(b"etag", etag(found.version))
    return limit_view(found)


async def update_limit(
    request: Request, limit_name: str, body: UpdateLimit, limits: LimitService
) -> ChangedLimit:
    """Update a limit.

    Units that were used stay used.
    """
    version = expected_version(request.header(b"if-match"))
    changed = await limits.update(limit_name, fields_of(body), request.actor, version=version)
    request.add_header(b"etag", etag(changed.value.version))
    return ChangedLimit(limit_view(changed.value), changed.effective)


async def delete_limit(request: Request, limit_name: str, limits: LimitService) -> None:
    """Delete a limit."""
    await limits.delete(limit_name, request.actor)


def _view(found: Found) -> CustomerView:
    customer, plan = found
    return customer_view(customer, shared_limits(customer, plan))


def _tagged(request: Request, found: Found) -> CustomerView:
    request.add_header(b"etag", etag(found[0].version))
    return _view(found)


_CUSTOMER, _PLAN = "/v1/customers/{customer}", "/v1/plans/{plan}"
_LIMIT = "/v1/limits/{limit_name}"
_read = partial(Endpoint, "GET", tag="customers", roles=READERS)
_write = partial(Endpoint, tag="customers", roles=OPERATORS, step_up=StepUp.MANAGING)
_change = partial(_write, "PATCH", errors=(404, 412, 428), headers=(IF_MATCH,))


def _action(
    action: CustomerAction,
    description: str,
    *,
    method: str = "POST",
    roles: frozenset[Role] = OPERATORS,
) -> Endpoint:
    async def perform(
        request: Request, customer: str, body: ReasonBody, customers: CustomerService
    ) -> ChangedCustomer:
        changed = await customers.act(customer, action, body.reason, request.actor)
        return ChangedCustomer(_view(changed.found), changed.effective)

    perform.__name__ = f"{action}_customer"
    perform.__doc__ = f"{action.capitalize()} a customer.\n\n{description}"
    path = _CUSTOMER if method == "DELETE" else f"{_CUSTOMER}/{action}"
    return _write(method, path, perform, roles=roles, errors=(404,))


ENDPOINTS = (
    _write("POST", "/v1/customers", create_customer, roles=KEY_MANAGERS, status=201),
    _read("/v1/customers", list_customers, roles=KEY_READERS),
    _read(_CUSTOMER, show_customer, roles=KEY_READERS, errors=(404,)),
    _change(_CUSTOMER, update_customer, roles=KEY_MANAGERS),
    _action(
        CustomerAction.DELETE,
        "The gateway denies all keys of the customer as if they did not exist. A deleted customer "
        "can be restored until it is purged. Idempotent.",
        method="DELETE",
    ),
    _action(CustomerAction.RESTORE, "The customer returns to its state before the deletion."),
    _action(
        CustomerAction.DISABLE,
        "The gateway denies all keys of the customer until it is enabled again. Idempotent.",
        roles=KEY_MANAGERS,
    ),
    _action(CustomerAction.ENABLE, "A disabled customer becomes active. Idempotent."),
    Endpoint(
        "POST",
        f"{_CUSTOMER}/purge",
        purge_customer,
        tag="customers",
        roles=OWNERS,
        step_up=StepUp.ALWAYS,
        errors=(404,),
    ),
    _write("POST", "/v1/plans", create_plan, status=201),
    _read("/v1/plans", list_plans),
    _read(_PLAN, show_plan, errors=(404,)),
    _change(_PLAN, update_plan),
    _write("DELETE", _PLAN, delete_plan, status=204, errors=(404,)),
    _read(f"{_PLAN}/overrides", list_overrides, errors=(404,)),
    _write("POST", "/v1/limits", create_limit, status=201),
    _read("/v1/limits", list_limits),
    _read(_LIMIT, show_limit, errors=(404,)),
    _change(_LIMIT, update_limit),
    _write("DELETE", _LIMIT, delete_limit, status=204, errors=(404,)),
)
