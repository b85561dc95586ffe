"""The serverless form of the sharing service: a Lambda function behind a REST API."""

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.context import Stack
from components.contract import Function
from components.iam.documents import render
from components.iam.role_policies import function_role
from components.iam.sharing_roles import API_LOG_ROLE, STAGE, access_log
from components.naming import tags
from components.settings.workloads import SHARING_MEMORY_MIB, SHARING_TIMEOUT_S
from components.sharing import rest_api

TLS_POLICY = "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09"
"""TLS 1.2 and 1.3 with forward secrecy and post-quantum key exchange. Source: API Gateway Developer
Guide, "Security policies for REST APIs in API Gateway"."""
ALIAS = "live"
REQUESTS_PER_SECOND = 200
"""Of all callers. API Gateway responds to requests over the limit with status code 429."""


class SharingFunction(StackComponent):
    """A Lambda function with reserved concurrency, an alias for the newest version, and a regional
    REST API with throttling, request validation, tracing and an access log.

    Why: Public requests reach a process that cannot list or delete secrets, and an idle service
    costs almost nothing. The function runs outside the VPC because it connects to neither the
    database nor the cache. `make deploy` shifts traffic to a new version gradually. `pulumi up`
    shifts all traffic at once. X-Ray and load balancers record full paths, so a path must never
    contain the secret part of a link.

    image: Image reference, which resolves after Lambda has permission to pull the image. Lambda
        requires the digest of a single-architecture image, not of an image index.
    role_arns: ARNs of the function's role and, if this stack creates it, of the API log role, keyed
        by resource name.
    """

    log_group: pulumi.Output[str]
    """Name of the function's log group."""
    version: pulumi.Output[str]
    """Number of the most recently published version."""
    alias = ALIAS
    """Name of the alias that the REST API invokes."""
    api: pulumi.Output[str]
    """ID of the REST API."""
    stage_arn: pulumi.Output[str]
    """ARN of the stage, for the web ACL."""
    domain_name: pulumi.Output[str]
    domain_zone_id: pulumi.Output[str]
    """Domain name and hosted zone to which the DNS record for the host name points."""

    def __init__(
        self,
        definition: Function,
        stack: Stack,
        opts: pulumi.ResourceOptions,
        *,
        image: pulumi.Input[str],
        variables: Mapping[str, pulumi.Input[str]],
        role_arns: Mapping[str, pulumi.Input[str]],
        key_arn: pulumi.Input[str],
        logs_key_arn: pulumi.Input[str],
        certificate_arn: pulumi.Input[str],
    ) -> None:
        name = definition.name
        super().__init__(name, stack, opts)
        self._service = definition.service.name
        group = self.create_log_group(name, self.names.log_group(name), logs_key_arn)
        self.log_group = group.name
        function = aws.lambda_.Function(
            name,
            name=self.names.name(name),
            description=f"Gatehouse {self._service} service",
            role=role_arns[function_role(name)],
            package_type="Image",
            image_uri=image,
            image_config={
                "entry_points": list(definition.entry_point),
                "commands": list(definition.command),
            },
            architectures=["arm64"],
            timeout=SHARING_TIMEOUT_S,
            memory_size=SHARING_MEMORY_MIB,
            reserved_concurrent_executions=self.settings.function_concurrency.get(name),
            kms_key_arn=key_arn,
            environment={"variables": dict(variables)},
            logging_config={"log_format": "JSON", "log_group": group.name},
            tracing_config={"mode": "Active"},
            publish=True,
            tags=tags("internal"),
            opts=self.child,
        )
        alias = aws.lambda_.Alias(
            name,
            name=ALIAS,
            description="Version that the REST API invokes",
            function_name=function.name,
            function_version=function.version,
            opts=self.child,
        )
        api = aws.apigateway.RestApi(
            name,
            name=self.names.name(name),
            description=f"Gatehouse {self._service} service",
            endpoint_configuration={"types": "REGIONAL"},
            # The default endpoint would bypass the rate limits of the web ACL for the host name.
            disable_execute_api_endpoint=True,
            policy=render(rest_api.caller_policy(self.names)),
            binary_media_types=rest_api.BINARY_MEDIA_TYPES,
            tags=tags("none"),
            opts=self.child,
        )
        resources = [*self._methods(name, api, alias), *self._gateway_responses(name, api)]
        stage = self._stage(name, api, resources, logs_key_arn, role_arns.get(API_LOG_ROLE))
        aws.lambda_.Permission(
            name,
            statement_id="AllowApiGateway",
            action="lambda:InvokeFunction",
            function=function.name,
            qualifier=alias.name,
            principal="apigateway.amazonaws.com",
            source_arn=pulumi.Output.format("{}/{}/*/*", api.execution_arn, STAGE),
            opts=self.child,
        )
        self._throttling(name, api, stage)
        domain = self._domain(name, api, stage, certificate_arn)
        self.domain_name, self.domain_zone_id = domain.regional_domain_name, domain.regional_zone_id
        self.version = function.version
        self.function_name, self.api, self.stage_arn = function.name, api.id, stage.arn
        self.register_outputs({})

    def _methods(
        self, name: str, api: aws.apigateway.RestApi, alias: aws.lambda_.Alias
    ) -> list[pulumi.Resource]:
        proxy = aws.apigateway.Resource(
            name,
            rest_api=api.id,
            parent_id=api.root_resource_id,
            path_part=rest_api.PROXY.removeprefix("/"),
            opts=self.child,
        )
        validator = aws.apigateway.RequestValidator(
            name,
            name="body-and-parameters",
            rest_api=api.id,
            validate_request_body=True,
            validate_request_parameters=True,
            opts=self.child,
        )
        model = aws.apigateway.Model(
            name,
            name=rest_api.BODY["title"],
            rest_api=api.id,
            description="Fields of a JSON body",
            content_type=rest_api.BODY_CONTENT_TYPE,
            schema=render(rest_api.BODY),
            opts=self.child,
        )
        resources: list[pulumi.Resource] = []
        for suffix, (path, verb) in rest_api.METHODS.items():
            method = aws.apigateway.Method(
                f"{name}-{suffix}",
                rest_api=api.id,
                resource_id=api.root_resource_id if path == rest_api.ROOT else proxy.id,
                http_method=verb,
                authorization="NONE",
                request_validator_id=validator.id,
                request_models={rest_api.BODY_CONTENT_TYPE: model.name}
                if verb == rest_api.WRITE
                else None,
                opts=self.child,
            )
            resources += [method, self._integration(f"{name}-{suffix}", api, method, alias)]
        return resources

    def _integration(
        self,
        name: str,
        api: aws.apigateway.RestApi,
        method: aws.apigateway.Method,
        alias: aws.lambda_.Alias,
    ) -> aws.apigateway.Integration:
        return aws.apigateway.Integration(
            name,
            rest_api=api.id,
            resource_id=method.resource_id,
            http_method=method.http_method,
            type="AWS_PROXY",
            integration_http_method="POST",
            uri=alias.invoke_arn,
            timeout_milliseconds=(SHARING_TIMEOUT_S + 1) * 1000,
            opts=self.child,
        )

    def _gateway_responses(self, name: str, api: aws.apigateway.RestApi) -> list[pulumi.Resource]:
        return [
            aws.apigateway.Response(
                f"{name}-{kind.lower().replace('_', '-')}",
                rest_api_id=api.id,
                response_type=kind,
                status_code=str(status) if status else None,
                response_parameters=rest_api.response_headers(headers),
                response_templates={"application/json": rest_api.response_body(message)},
                opts=self.child,
            )
            for kind, (status, message, headers) in rest_api.GATEWAY_RESPONSES.items()
        ]

    def _stage(
        self,
        name: str,
        api: aws.apigateway.RestApi,
        resources: list[pulumi.Resource],
        logs_key_arn: pulumi.Input[str],
        log_role_arn: pulumi.Input[str] | None,
    ) -> aws.apigateway.Stage:
        deployment = aws.apigateway.Deployment(
            name,
            rest_api=api.id,
            triggers={"definition": rest_api.definition_hash(self.names)},
            # A deployment is a snapshot of the API, so it must depend on all resources of the API.
            opts=self.after(*resources),
        )
        group = self.create_log_group(
            access_log(name), self.names.log_group(access_log(name)), logs_key_arn
        )
        log_role: list[pulumi.Resource] = []
        if log_role_arn is not None:
            retained = pulumi.ResourceOptions(parent=self, retain_on_delete=True)
            log_role.append(
                aws.apigateway.Account(name, cloudwatch_role_arn=log_role_arn, opts=retained)
            )
        return aws.apigateway.Stage(
            name,
            rest_api=api.id,
            deployment=deployment.id,
            stage_name=STAGE,
            description=f"Stage of {self.contract.hosts[self._service]}",
            access_log_settings={
                "destination_arn": group.arn,
                "format": render(rest_api.ACCESS_LOG),
            },
            xray_tracing_enabled=True,
            tags=tags("none"),
            # API Gateway rejects a stage with logging enabled if the account has no log role.
            opts=self.after(*log_role),
        )

    def _throttling(
        self, name: str, api: aws.apigateway.RestApi, stage: aws.apigateway.Stage
    ) -> None:
        """Limit the requests per second of all callers. The limit for writes is one tenth of the
        general limit.
        """
        limit = REQUESTS_PER_SECOND
        for resource, path, rate in (
            (name, "*/*", limit),
            (f"{name}-writes", rest_api.WRITES, max(1, limit // 10)),
        ):
            aws.apigateway.MethodSettings(
                resource,
                rest_api=api.id,
                stage_name=stage.stage_name,
                method_path=path,
                settings={
                    "throttling_rate_limit": rate,
                    "throttling_burst_limit": rate * 2,
                    "metrics_enabled": True,
                    # Execution logs contain headers and are written to a log group without a KMS
                    # key.
                    "logging_level": "OFF",
                    "data_trace_enabled": False,
                    "caching_enabled": False,
                },
                opts=self.child,
            )

    def _domain(
        self,
        name: str,
        api: aws.apigateway.RestApi,
        stage: aws.apigateway.Stage,
        certificate_arn: pulumi.Input[str],
    ) -> aws.apigateway.DomainName:
        domain = aws.apigateway.DomainName(
            name,
            domain_name=self.contract.hosts[self._service],
            regional_certificate_arn=certificate_arn,
            endpoint_configuration={"types": "REGIONAL"},
            security_policy=TLS_POLICY,
            endpoint_access_mode="STRICT",
            tags=tags("none"),
            opts=self.child,
        )
        aws.apigateway.BasePathMapping(
            name,
            rest_api=api.id,
            stage_name=stage.stage_name,
            domain_name=domain.domain_name,
            opts=self.child,
        )
        return domain
