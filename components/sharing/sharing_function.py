"""The serverless form of the share service: a Lambda function from the same image, behind a REST API."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.contract import Function
from components.iam.documents import render
from components.iam.role_policies import function_role
from components.iam.sharing_roles import LOG_ROLE, access_log
from components.naming import Naming
from components.settings.workloads import SharingSettings
from components.sharing import rest_api as form
from components.tags import tags

TIMEOUT_S = 10
TLS_POLICY = "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09"
"""TLS 1.3 and 1.2 with forward secrecy and post-quantum key exchange (API Gateway developer guide, "Security policies for
REST APIs")."""
ALIAS = "live"


@dataclass(frozen=True, kw_only=True)
class SharingFunctionArgs:
    """What the function and its API are told.

    names: the stack's names. sharing: memory, concurrency and limits. function: what the contract says.
    image: reference by digest, once Lambda may pull it; the digest is that of the image itself, for Lambda takes no index.
    variables: value of each variable. roles: ARN by name, of the function's role and, where this stack sets it for the
    account, of that with which API Gateway writes logs. key_arn: the KMS key of its settings.
    log_key_arn, log_retention_days: its log groups. host, zone_id, certificate_arn: where it is found.
    """

    names: Naming
    sharing: SharingSettings
    function: Function
    image: pulumi.Input[str]
    variables: Mapping[str, pulumi.Input[str]]
    role_arns: Mapping[str, pulumi.Input[str]]
    key_arn: pulumi.Input[str]
    log_key_arn: pulumi.Input[str]
    log_retention_days: int
    host_name: str
    zone_id: pulumi.Input[str]
    certificate_arn: pulumi.Input[str]


class SharingFunction(pulumi.ComponentResource):
    """A function with reserved concurrency and its own role, an alias that points at its newest version, and a regional
    REST API with limits, checks of what it takes, traces and an access log, under the service's own host name.

    Why: strangers meet a process that has nothing but the tokens table, not the one that also manages keys; and nobody
    pays for a service that nobody comes to. The function stands outside the VPC: it opens no connection to database or cache,
    every service that it calls asks for its role, and inside it would need a way out and the right to make network
    interfaces. A new version takes all traffic at once, and the old digest is the way back: a canary is what the container
    form has. X-Ray and every load balancer log whole paths, so what opens a secret may never be part of one.
    Cost: nothing while nobody comes but 0.80 USD a month for alarms; 3.50 USD a million requests for the API, 0.20 USD and
    about 1 USD of time for the function, 0.60 USD for the firewall.
    Controls: GH-API-001 to GH-API-005, GH-LAM-003 to GH-LAM-005, GH-CW-001, GH-CW-002.
    """

    function_name: pulumi.Output[str]
    api: pulumi.Output[str]
    """Its id."""
    stage_arn: pulumi.Output[str]
    """What a firewall stands before."""

    def __init__(self, name: str, args: SharingFunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:sharing:SharingFunction", name, component_inputs(args), opts)
        function, alias = self._function(name, args)
        api = aws.apigateway.RestApi(
            name,
            name=args.names.name(name),
            description=f"The {args.function.service.name} service",
            endpoint_configuration=aws.apigateway.RestApiEndpointConfigurationArgs(types="REGIONAL"),
            # Only by its own host name: another one would go past the limits that the firewall has for it.
            disable_execute_api_endpoint=True,
            policy=render(form.caller_policy(args.names)),
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        parts = [*self._methods(name, api, alias, args), *self._answers(name, api)]
        stage = self._stage(name, api, parts, args)
        aws.lambda_.Permission(
            name,
            statement_id="ApiCalls",
            action="lambda:InvokeFunction",
            function=function.name,
            qualifier=alias.name,
            principal="apigateway.amazonaws.com",
            source_arn=pulumi.Output.format("{}/{}/*/*", api.execution_arn, form.STAGE),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._limits(name, api, stage, args)
        self._host(name, api, stage, args)
        self.function_name, self.api, self.stage_arn = function.name, api.id, stage.arn
        self.register_outputs({"functionName": self.function_name, "api": self.api, "stageArn": self.stage_arn})

    def _function(self, name: str, args: SharingFunctionArgs) -> tuple[aws.lambda_.Function, aws.lambda_.Alias]:
        group = self._group(name, name, args)
        function = aws.lambda_.Function(
            name,
            name=args.names.name(name),
            description=f"Serves the {args.function.service.name} service",
            role=args.role_arns[function_role(name)],
            package_type="Image",
            image_uri=args.image,
            image_config=aws.lambda_.FunctionImageConfigArgs(
                entry_points=list(args.function.entry_point), commands=list(args.function.command)
            ),
            architectures=["arm64"],
            timeout=TIMEOUT_S,
            memory_size=args.sharing.memory_mib,
            reserved_concurrent_executions=args.sharing.reserved_concurrency,
            kms_key_arn=args.key_arn,
            environment=aws.lambda_.FunctionEnvironmentArgs(variables=dict(args.variables)),
            logging_config=aws.lambda_.FunctionLoggingConfigArgs(log_format="JSON", log_group=group.name),
            tracing_config=aws.lambda_.FunctionTracingConfigArgs(mode="Active"),
            publish=True,
            tags=tags("internal"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        alias = aws.lambda_.Alias(
            name,
            name=ALIAS,
            description="What the API calls",
            function_name=function.name,
            function_version=function.version,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return function, alias

    def _group(self, name: str, writer: str, args: SharingFunctionArgs) -> aws.cloudwatch.LogGroup:
        return aws.cloudwatch.LogGroup(
            writer,
            name=args.names.log_group(writer),
            retention_in_days=args.log_retention_days,
            kms_key_id=args.log_key_arn,
            tags=tags("log"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _methods(
        self, name: str, api: aws.apigateway.RestApi, alias: aws.lambda_.Alias, args: SharingFunctionArgs
    ) -> list[pulumi.Resource]:
        """Every method hands the whole request to the function, after the checks."""
        here = pulumi.ResourceOptions(parent=self)
        rest = aws.apigateway.Resource(
            name, rest_api=api.id, parent_id=api.root_resource_id, path_part=form.REST.removeprefix("/"), opts=here
        )
        checks = aws.apigateway.RequestValidator(
            name,
            name="body-and-parameters",
            rest_api=api.id,
            validate_request_body=True,
            validate_request_parameters=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        model = aws.apigateway.Model(
            name,
            name="Form",
            rest_api=api.id,
            description="A few fields of text",
            content_type="application/json",
            schema=render(form.BODY),
            opts=pulumi.ResourceOptions(parent=self),
        )
        made: list[pulumi.Resource] = []
        for wanted in form.METHODS:
            method = aws.apigateway.Method(
                f"{name}-{wanted.name}",
                rest_api=api.id,
                resource_id=api.root_resource_id if wanted.path == form.ROOT else rest.id,
                http_method=wanted.verb,
                authorization="NONE",
                request_validator_id=checks.id,
                # Whatever the caller says that the body is.
                request_models={"$default": model.name} if wanted.takes_body else None,
                opts=pulumi.ResourceOptions(parent=self),
            )
            integration = aws.apigateway.Integration(
                f"{name}-{wanted.name}",
                rest_api=api.id,
                resource_id=method.resource_id,
                http_method=method.http_method,
                type="AWS_PROXY",
                integration_http_method="POST",
                uri=alias.invoke_arn,
                timeout_milliseconds=(TIMEOUT_S + 1) * 1000,
                opts=pulumi.ResourceOptions(parent=self),
            )
            made += [method, integration]
        return made

    def _answers(self, name: str, api: aws.apigateway.RestApi) -> list[pulumi.Resource]:
        return [
            aws.apigateway.Response(
                f"{name}-{answer.kind.lower().replace('_', '-')}",
                rest_api_id=api.id,
                response_type=answer.kind,
                status_code=str(answer.status) if answer.status else None,
                response_parameters=answer.parameters,
                response_templates={"application/json": answer.body},
                opts=pulumi.ResourceOptions(parent=self),
            )
            for answer in form.ANSWERS
        ]

    def _stage(
        self, name: str, api: aws.apigateway.RestApi, parts: list[pulumi.Resource], args: SharingFunctionArgs
    ) -> aws.apigateway.Stage:
        deployment = aws.apigateway.Deployment(
            name,
            rest_api=api.id,
            triggers={"definition": form.definition_hash(args.names)},
            # A deployment copies what there is at that moment, so everything must be there.
            opts=pulumi.ResourceOptions(parent=self, depends_on=parts),
        )
        group = self._group(name, access_log(name), args)
        allowed: list[pulumi.Resource] = []
        if LOG_ROLE in args.role_arns:
            allowed.append(
                aws.apigateway.Account(
                    name,
                    cloudwatch_role_arn=args.role_arns[LOG_ROLE],
                    opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True),
                )
            )
        return aws.apigateway.Stage(
            name,
            rest_api=api.id,
            deployment=deployment.id,
            stage_name=form.STAGE,
            description="What the host name leads to",
            access_log_settings=aws.apigateway.StageAccessLogSettingsArgs(destination_arn=group.arn, format=form.access_format()),
            xray_tracing_enabled=True,
            tags=tags("none"),
            # Without the account's role, API Gateway refuses a stage that logs.
            opts=pulumi.ResourceOptions(parent=self, depends_on=allowed),
        )

    def _limits(self, name: str, api: aws.apigateway.RestApi, stage: aws.apigateway.Stage, args: SharingFunctionArgs) -> None:
        """Requests a second of all callers together; of those that may change something, a tenth."""
        most = args.sharing.requests_per_second_max
        for thing, path, rate in ((name, "*/*", most), (f"{name}-writes", form.WRITES, max(1, most // 10))):
            aws.apigateway.MethodSettings(
                thing,
                rest_api=api.id,
                stage_name=stage.stage_name,
                method_path=path,
                settings=aws.apigateway.MethodSettingsSettingsArgs(
                    throttling_rate_limit=rate,
                    throttling_burst_limit=rate * 2,
                    metrics_enabled=True,
                    # Execution logs hold headers and go to a group without our key; the access log has what is needed.
                    logging_level="OFF",
                    data_trace_enabled=False,
                    caching_enabled=False,
                ),
                opts=pulumi.ResourceOptions(parent=self),
            )

    def _host(self, name: str, api: aws.apigateway.RestApi, stage: aws.apigateway.Stage, args: SharingFunctionArgs) -> None:
        domain = aws.apigateway.DomainName(
            name,
            domain_name=args.host_name,
            regional_certificate_arn=args.certificate_arn,
            endpoint_configuration=aws.apigateway.DomainNameEndpointConfigurationArgs(types="REGIONAL"),
            security_policy=TLS_POLICY,
            endpoint_access_mode="STRICT",
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.apigateway.BasePathMapping(
            name,
            rest_api=api.id,
            stage_name=stage.stage_name,
            domain_name=domain.domain_name,
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.route53.Record(
            name,
            zone_id=args.zone_id,
            name=args.host_name,
            type="A",
            aliases=[
                aws.route53.RecordAliasArgs(
                    name=domain.regional_domain_name, zone_id=domain.regional_zone_id, evaluate_target_health=False
                )
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
