"""Trust policies for identity providers: whose tokens may assume a role."""

import re
from collections.abc import Iterator, Mapping

from gatehouse_policies.analysis.iam.actions import is_narrowing
from gatehouse_policies.analysis.iam.grammar import Condition, Document, Statement, variables_of
from gatehouse_policies.analysis.iam.patterns import Clause, clause_of, compiled, example
from gatehouse_policies.analysis.iam.strangers import result_of

_GITHUB = "token.actions.githubusercontent.com"
# Condition key of the audience, keyed by a part of the ARN or name of the identity provider.
_AUDIENCES = {
    ":saml-provider/": "saml:aud",
    "cognito-identity.amazonaws.com": "cognito-identity.amazonaws.com:aud",
}
# https://docs.aws.amazon.com/cognito/latest/developerguide/role-trust-and-permissions.html
_GUESTS = {"cognito-identity.amazonaws.com:amr": "unauthenticated"}
# The audience of all tokens for AWS.
_AWS_AUDIENCE = "sts.amazonaws.com"
# Issuers whose tokens name the customer in the subject (sub). Without a subject that names one, any
# customer of the issuer matches.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_oidc_secure-by-default.html
_SHARED_ISSUERS = (
    *("gitlab.com", "app.terraform.io", "agent.buildkite.com", "oidc.circleci.com"),
    *("oidc.vercel.com", "api.pulumi.com"),
)
# The tenant that a subject begins with: the owner, group, organization, team, or namespace of a
# service account of Amazon EKS. The character behind the name ends it, so that nobody can register
# a longer one. In another format, the second part names the tenant.
_NAME = r"[^:/|*?$]+"
_TENANT = re.compile(
    rf"(?:project_path|owner|organization|org|pulumi:\w+:org|system:serviceaccount)[:/]{_NAME}[:/]"
    rf"|repo(?:sitory)?:{_NAME}/{_NAME}[:/]|\{{[\w-]+\}}:|(?!repo|pulumi|system){_NAME}[:|]{_NAME}[:/|]"
)
_REPOSITORY = re.compile(rf"repo(?:sitory)?:({_NAME}/{_NAME})[:/]")


def federation_defects(document: Document) -> tuple[str, ...]:
    """Defects in a trust policy for identity providers other than GitHub's, which
    `github_trust_defects` covers.
    """
    defects: list[str] = []
    for allow in document.allows:
        exact = {
            condition.key
            for condition in allow.conditions
            if _names_customer(condition)
            and (not condition.key.endswith(":sub") or _names_one(allow, condition.key, _TENANT))
        }
        for kind, provider in allow.principals or ():
            if kind != "Federated" or f"oidc-provider/{_GITHUB}" in provider:
                continue
            audience = next((key for part, key in _AUDIENCES.items() if part in provider), "")
            # Amazon, Facebook and Google have no ARN.
            issuer = provider.rpartition(":oidc-provider/")[2]
            claims = {f"{issuer}:{name}".lower() for name in ("sub", "aud", "app_id")}
            if audience and audience not in exact:
                defects.append(
                    f"the trust policy does not require the audience ({audience}) of the "
                    f"identity provider"
                )
            elif audience.startswith("cognito") and _matches(allow, _GUESTS):
                defects.append(
                    "the trust policy allows guests: it does not require "
                    "cognito-identity.amazonaws.com:amr to be authenticated"
                )
            elif (
                issuer.partition("/")[0].endswith(_SHARED_ISSUERS) or issuer.startswith("oidc.eks.")
            ) and f"{issuer}:sub".lower() not in exact:
                defects.append(
                    f"the trust policy does not require a subject (sub) of {issuer} that names a "
                    f"group, organization, team or namespace"
                )
            elif not audience and not exact & claims:
                defects.append(
                    f"the trust policy requires neither a subject (sub) of {issuer} nor an "
                    f"audience (aud) other than {_AWS_AUDIENCE}"
                )
    return tuple(defects)


def _names_customer(condition: Condition) -> bool:
    """False for a claim that tokens of other customers have, such as a pattern of an audience."""
    text = "".join(condition.values)
    is_exact = re.match("saml:|.*:sub$", condition.key) or not re.search("[*?]", text)
    is_own = "${" not in text and _AWS_AUDIENCE not in condition.values
    return is_own and bool(is_exact) and is_narrowing(condition)


def github_trust_defects(document: Document) -> tuple[str, ...]:
    """Defects in a trust policy for GitHub's OIDC provider. Empty for a trust policy that does not
    name this provider.

    https://docs.github.com/en/actions/how-tos/secure-your-work/security-harden-deployments/oidc-in-aws
    """
    defects: list[str] = []
    for allow in document.allows:
        # The issuer of an enterprise ends with the slug of the enterprise.
        issuer = next(
            (
                value.partition("oidc-provider/")[2].lower()
                for kind, value in allow.principals or ()
                if kind == "Federated" and f"oidc-provider/{_GITHUB}" in value
            ),
            "",
        )
        if not issuer:
            continue
        if _exact_values(allow, f"{issuer}:aud") != (_AWS_AUDIENCE,):
            defects.append(
                f"the trust policy does not require the audience (aud) {_AWS_AUDIENCE} with "
                "StringEquals"
            )
        keys = [f"{issuer}:{claim}" for claim in ("sub", "repository", "repository_id")]
        if not _subjects(allow, issuer):
            defects.append("the trust policy does not require a subject (sub)")
        elif not any(_names_one(allow, key, _REPOSITORY) for key in keys) or any(
            _accepts(allow, issuer, job) for job in _other_jobs(allow, issuer)
        ):
            defects.append(
                "the subject (sub) does not name one repository and one environment or ref"
            )
    return tuple(defects)


def _names_one(allow: Statement, key: str, owned: re.Pattern[str]) -> bool:
    """True if the conditions reject every text that is neither one of their values nor begins with
    the part of a value that names who owns it.
    """
    conditions = [
        condition
        for condition in allow.conditions
        if condition.key == key and not condition.if_exists and condition.quantifier == ""
    ]
    own = [
        compiled(f"{name[0]}*", any_case=True)
        if (name := owned.match(value))
        else compiled(value, any_case=True, literal=True)
        for condition in conditions
        for value in condition.values
        if not (variables_of(value) and owned.match(value) is None)
    ]
    texts = [each for each in map(clause_of, conditions) if each is not None]
    return bool(texts) and example((*texts, Clause(tuple(own), False))) is None


def _other_jobs(allow: Statement, issuer: str) -> Iterator[str]:
    """Subjects of the tokens of pull requests, and of branches and environments that anybody with
    write access can create, in the repositories that the statement names.
    """
    names = {
        match[1] for subject in _subjects(allow, issuer) if (match := _REPOSITORY.match(subject))
    }
    for name in sorted(names | {*_exact_values(allow, f"{issuer}:repository")}):
        for context in ("pull_request", "ref:refs/heads/stranger", "environment:stranger"):
            yield f"repo:{name}:{context}"


def _accepts(allow: Statement, issuer: str, subject: str) -> bool:
    repository = subject.removeprefix("repo:").partition(":")[0]
    claims = {
        "sub": subject,
        "repository": repository,
        "repository_owner": repository.partition("/")[0],
    }
    context = {f"{issuer}:{name}": value for name, value in claims.items()}
    return _matches(allow, context)


def _matches(allow: Statement, context: Mapping[str, str]) -> bool:
    """True if no condition on these keys rejects a token with these values."""
    return all(
        result_of(condition, context) is not False
        for condition in allow.conditions
        if condition.key in context
    )


def github_repositories(document: Document) -> tuple[str, ...]:
    """The repositories (owner/name) whose jobs may assume a role through GitHub's OIDC provider,
    sorted.
    """
    subjects = (subject for allow in document.allows for subject in _subjects(allow, _GITHUB))
    return tuple(
        sorted({subject.split(":")[1] for subject in subjects if subject.startswith("repo:")})
    )


def _subjects(allow: Statement, issuer: str) -> list[str]:
    return [
        value
        for condition in allow.conditions
        if condition.key.startswith(issuer) and condition.key.endswith(":sub")
        for value in condition.values
    ]


def _exact_values(statement: Statement, key: str) -> tuple[str, ...]:
    for condition in statement.conditions:
        is_inexact = condition.if_exists or condition.quantifier
        if (condition.operator, condition.key) == ("stringequals", key.lower()) and not is_inexact:
            return condition.values
    return ()
