"""The resource monitor: receives the registrations of a program and passes them to a provider."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote, urlparse

from google.protobuf import empty_pb2
from pulumi.runtime.proto import resource_pb2

from pulumi_local.errors import CommandError
from pulumi_local.files.project import Project
from pulumi_local.outputs.lookup_decisions import Lookups
from pulumi_local.schema import with_json_text
from pulumi_local.source_lines import source_line
from pulumi_local.type_tokens import class_name, function_name
from pulumi_local.types import UNKNOWN, Provider, Registration, Resource
from pulumi_local.values import decode, path_steps, properties

STACK_TYPE = "pulumi:pulumi:Stack"
_FIELDS = """
    type name parent custom remote object provider providers dependencies propertyDependencies
    protect retainOnDelete deletedWith deleteBeforeReplace deleteBeforeReplaceDefined
    ignoreChanges aliases aliasURNs additionalSecretOutputs customTimeouts importId hooks
    sourcePosition stackTrace version pluginDownloadURL pluginChecksums packageRef hideDiffs
    snippetId parentStackTraceHandle acceptSecrets acceptResources accepts_byte_string
    aliasSpecs supportsPartialValues supportsResultReporting"""
"""The fields of RegisterResourceRequest that are read or do not change what is created. A request
with another field, such as an option that a later SDK adds, is rejected. Hooks are rejected when
they are registered.
"""
_REPLACEMENTS = frozenset({"replaceOnChanges", "replace_with", "replacement_trigger"})
"""Fields that only an update reads, and that `engine` does not support."""
_FEATURES = """
    SECRETS RESOURCE_REFERENCES ALIAS_SPECS REPLACEMENT_TRIGGER DELETED_WITH REPLACE_WITH TRANSFORMS
    INVOKE_TRANSFORMS PARAMETERIZATION RESOURCE_HOOKS ERROR_HOOKS"""
"""The features of the monitor in the protocol of the engine, including those that it rejects with
its own message. Without OUTPUT_VALUES, the SDK sends values and not outputs.
"""


def _rejection(feature: str, instead: str) -> Callable[["Monitor", Any], Any]:
    """A monitor method that rejects a feature that needs the Pulumi engine."""
    return lambda monitor, _request: monitor.record_failure(lambda: _reject(feature, instead))


class Monitor:
    """Creates resources with `provider` in the order in which the program registers them. The
    methods with capital letters are those of the `ResourceMonitor` service of the engine.

    preview: accept remote components. The SDK replaces the outputs that a preview does not return
        by unknown values.
    failure: the first registration error. The SDK reports only the consequences of this error.
    """

    failure: CommandError | None

    def __init__(
        self,
        project: Project,
        provider: Provider,
        on_resource: Callable[[Resource], None] | None,
        lookups: Lookups,
        *,
        preview: bool,
    ) -> None:
        self._project = project
        self._provider = provider
        self._on_resource = on_resource
        self._lookups = lookups
        self._preview = preview
        self._lock = threading.RLock()
        self._resources_by_urn: dict[str, Resource] = {}
        self.exports: dict[str, Any] = {}
        self.failure = None

    @property
    def created(self) -> tuple[Resource, ...]:
        return tuple(self._resources_by_urn.values())

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """The URN in the engine's format, with the types of all parents except the stack, joined by
        `$`.
        """
        chain = parent.split("::")[2] if parent else ""
        qualified = f"{chain}${type_}" if chain and chain != STACK_TYPE else type_
        return f"urn:pulumi:{self._project.stack}::{self._project.name}::{qualified}::{name}"

    def RegisterResource(self, request: Any) -> Any:
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK_TYPE:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        with self._lock:
            return self.record_failure(lambda: self._register(urn, request))

    def ReadResource(self, request: Any) -> Any:
        with self._lock:
            return self.record_failure(lambda: self._read(request))

    def RegisterResourceOutputs(self, request: Any) -> Any:
        if request.urn.split("::")[2] == STACK_TYPE:
            self.exports.update(decode(request.outputs)[0])
        elif request.urn in self._resources_by_urn:
            with self._lock:
                before = self._resources_by_urn[request.urn]
                outputs = {**before.outputs, **decode(request.outputs)[0]}
                self._resources_by_urn[request.urn] = replace(before, outputs=outputs)
        return empty_pb2.Empty()

    def Invoke(self, request: Any) -> Any:
        args = decode(request.args)[0]
        if request.tok == "pulumi:pulumi:getResource":
            return self.record_failure(lambda: self._get_resource(args["urn"]))
        with self._lock:
            provider = self._provider_inputs(request.provider, request.tok.partition(":")[0])
            result = self.record_failure(lambda: self._provider.invoke(request.tok, args, provider))
            self._lookups.add(f"the result of {function_name(request.tok)}", result)
        fields: dict[str, Any] = (
            {"unknown": True} if result is None else {"return": properties(result)}
        )
        return resource_pb2.ResourceInvokeResponse(**fields)

    RegisterStackTransform = _rejection(
        "stack transforms", "Set the property in the declaration of the resource."
    )
    RegisterStackInvokeTransform = _rejection(
        "invoke transforms", "Pass the argument in the function call."
    )
    RegisterResourceHook = _rejection("resource hooks", "Run the step outside the program.")
    RegisterErrorHook = _rejection("error hooks", "Run the step outside the program.")
    ExistsResource = _rejection("checks for existing resources", "Use a configuration value.")
    Call = _rejection("methods of remote components", "Use a component in Python.")

    def RegisterPackage(self, request: Any) -> Any:
        return resource_pb2.RegisterPackageResponse(ref=request.name)

    def GetDeploymentInfo(self, _request: Any) -> Any:
        features = resource_pb2.ResourceMonitorFeature.items()
        return resource_pb2.DeploymentInfo(
            supportedFeatures=[
                number
                for name, number in features
                if name.removeprefix("RESOURCE_MONITOR_FEATURE_") in _FEATURES.split()
            ]
        )

    def SignalAndWaitForShutdown(self, _request: Any) -> Any:
        return empty_pb2.Empty()

    def record_failure(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except CommandError as exc:
            if self.failure is None:
                self.failure = exc
            raise

    def _register(self, urn: str, request: Any) -> Any:
        source = self._source(request)
        if urn in self._resources_by_urn:
            first = self._resources_by_urn[urn].registration.source
            raise CommandError(
                f"{_at(source)}Duplicate resource URN {urn!r}; try giving it a unique name"
                + (f" (first declared at {first})." if first else ".")
            )
        if request.remote and not self._preview:
            raise CommandError(
                f"{_at(source)}{urn}: remote components need the Pulumi engine. Use a component "
                "in Python."
            )
        options = {field.name for field, _ in request.ListFields()} - set(_FIELDS.split())
        if options := options - (_REPLACEMENTS if self._preview else set()):
            _reject(
                f"the resource options {', '.join(sorted(options))}",
                f"Remove them from {urn}.",
                _at(source),
            )
        resource = self._create(self._registration(urn, request, source))
        return resource_pb2.RegisterResourceResponse(
            urn=urn, id=resource.id, object=self._serialized(resource)
        )

    def _read(self, request: Any) -> Any:
        urn = self.make_urn(request.parent, request.type, request.name)
        inputs, secrets = decode(request.properties)
        registration = Registration(
            urn=urn,
            type=request.type,
            name=request.name,
            custom=True,
            parent=self._parent(request.parent),
            inputs=inputs,
            provider=request.provider,
            dependencies=tuple(request.dependencies),
            secret_inputs=secrets,
            additional_secret_outputs=tuple(request.additionalSecretOutputs),
            import_id=request.id,
            external=True,
            source=self._source(request),
        )
        resource = self._create(registration)
        self._lookups.add(f"an output of {class_name(request.type)}.get", resource.outputs)
        return resource_pb2.ReadResourceResponse(urn=urn, properties=self._serialized(resource))

    def _create(self, registration: Registration) -> Resource:
        """Create a resource. The outputs of a component are its inputs until it registers outputs.

        A remote component has no known outputs: an output can have the name of an input and another
        type.
        """
        inputs = {} if registration.remote else dict(registration.inputs)
        try:
            id_, outputs = (
                self._provider.create(registration) if registration.custom else ("", inputs)
            )
        except CommandError as exc:
            raise CommandError(f"{_at(registration.source)}{exc.message}") from exc
        resource = Resource(registration, id_, outputs)
        self._resources_by_urn[registration.urn] = resource
        if self._on_resource is not None:
            self._on_resource(resource)
        return resource

    def _get_resource(self, urn: str) -> Any:
        """The resource of a reference, which a component returns or `Resource.get` reads."""
        resource = self._resources_by_urn.get(urn)
        if resource is None:
            raise CommandError(f"unknown resource {urn}")
        secrets = (f"state.{path}" for path in resource.registration.secret_output_names)
        state = {"urn": urn, "id": resource.id, "state": resource.outputs}
        fields: dict[str, Any] = {"return": properties(state, secrets)}
        return resource_pb2.ResourceInvokeResponse(**fields)

    def _serialized(self, resource: Resource) -> Any:
        return properties(resource.outputs, resource.registration.secret_output_names)

    def _registration(self, urn: str, request: Any, source: str) -> Registration:
        """The registration, with the options that a resource inherits from its parent, as in the
        engine (inheritFromParent in source_eval.go). The SDK adds other inherited options.
        """
        decoded, secrets = decode(request.object)
        inputs = with_json_text(request.type, decoded)
        # The text of a document with a secret is secret.
        names = ((path_steps(path)[0], path) for path in secrets)
        secrets = tuple(path if inputs[name] is decoded[name] else name for name, path in names)
        provider = request.provider
        if request.custom and not provider and not request.type.startswith("pulumi:"):
            provider = self._default_provider(request.type.split(":")[0], urn, source)
        timeouts = {
            name: value
            for name in ("create", "update", "delete")
            if (value := getattr(request.customTimeouts, name))
        }
        parent = self._resources_by_urn.get(request.parent)
        return Registration(
            urn=urn,
            type=request.type,
            name=request.name,
            custom=request.custom,
            parent=self._parent(request.parent),
            inputs=inputs,
            protect=request.protect,
            provider=provider,
            dependencies=tuple(request.dependencies),
            property_dependencies={
                key: tuple(value.urns) for key, value in request.propertyDependencies.items()
            },
            secret_inputs=secrets,
            additional_secret_outputs=tuple(request.additionalSecretOutputs),
            ignore_changes=tuple(request.ignoreChanges),
            retain_on_delete=parent.registration.retain_on_delete
            if parent is not None and not request.HasField("retainOnDelete")
            else request.retainOnDelete,
            deleted_with=parent.registration.deleted_with
            if parent is not None and not request.deletedWith
            else request.deletedWith,
            delete_before_replace=request.deleteBeforeReplace
            if request.deleteBeforeReplaceDefined
            else None,
            aliases=self._aliases(request),
            custom_timeouts=timeouts,
            import_id=request.importId,
            remote=request.remote,
            source=source,
        )

    def _aliases(self, request: Any) -> tuple[str, ...]:
        """The aliases of a resource, and those that it inherits from the aliases of its parent, as
        in the engine (alias.go).
        """
        own = [(self._alias(alias, request), alias.spec) for alias in request.aliases]
        aliases = [urn for urn, _ in own] + list(request.aliasURNs)
        parent = self._resources_by_urn.get(request.parent)
        names = [
            (request.type, request.name),
            *((spec.type or request.type, spec.name or request.name) for _, spec in own),
        ]
        for inherited in parent.registration.aliases if parent is not None else ():
            old_parent = inherited.split("::", 3)[3]
            for type_, name in names:
                suffix = name.removeprefix(request.parent.split("::", 3)[3])
                aliases.append(
                    self.make_urn(
                        inherited, type_, f"{old_parent}{suffix}" if suffix != name else name
                    )
                )
        return tuple(dict.fromkeys(aliases))

    def _alias(self, alias: Any, request: Any) -> str:
        if alias.WhichOneof("alias") == "urn":
            return str(alias.urn)
        spec = alias.spec
        parent = "" if spec.noParent else spec.parentUrn or request.parent
        return self.make_urn(parent, spec.type or request.type, spec.name or request.name)

    def _default_provider(self, package: str, urn: str, source: str) -> str:
        """The default provider of a package, configured by the `<package>:` keys of the stack, as
        in the engine.
        """
        disabled = json.loads(self._project.config.get("pulumi:disable-default-providers", "[]"))
        if "*" in disabled or package in disabled:
            raise CommandError(
                f"{_at(source)}Default provider for '{package}' disabled. '{urn}' must use an "
                f"explicit provider: "
                "pass `opts=ResourceOptions(provider=...)` or give its parent `providers=[...]`."
            )
        suffix = _package_version(package).replace(".", "_")
        name = f"default_{suffix}" if suffix else "default"
        provider_urn = self.make_urn("", f"pulumi:providers:{package}", name)
        if provider_urn not in self._resources_by_urn:
            inputs = self._provider_inputs("", package)
            self._create(
                Registration(provider_urn, f"pulumi:providers:{package}", name, True, "", inputs)
            )
        return f"{provider_urn}::{self._resources_by_urn[provider_urn].id or UNKNOWN}"

    def _provider_inputs(self, reference: str, package: str) -> dict[str, Any]:
        """The inputs of a provider `<URN>::<ID>`. The keys `<package>:` of the stack configure the
        default provider ("").
        """
        declared = self._resources_by_urn.get(reference.rpartition("::")[0])
        if declared is not None:
            return declared.registration.inputs
        prefix = f"{package}:"
        return {
            key.removeprefix(prefix): value
            for key, value in self._project.config.items()
            if key.startswith(prefix)
        }

    def _parent(self, parent: str) -> str:
        return "" if not parent or parent.split("::")[2] == STACK_TYPE else parent

    def _source(self, request: Any) -> str:
        """The innermost line of the program in the stack trace. Libraries are ignored."""
        for frame in request.stackTrace.frames:
            line = source_line(_path(frame.pc.uri), frame.pc.line, self._project.root)
            if line:
                return line
        return ""


@lru_cache(maxsize=4096)
def _path(uri: str) -> str:
    return unquote(urlparse(uri).path)


def _at(source: str) -> str:
    return f"{source}: " if source else ""


def _reject(feature: str, instead: str, prefix: str = "") -> None:
    raise CommandError(f"{prefix}Without the Pulumi engine, {feature} are not supported. {instead}")


@lru_cache(maxsize=64)
def _package_version(package: str) -> str:
    try:
        return version(f"pulumi-{package}")
    except ModuleNotFoundError:
        return ""
