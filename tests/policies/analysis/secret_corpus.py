"""Settings with and without secrets, by public naming conventions. The values are invented; those
in the format of a token are assembled, so that scanners do not report them.
"""

import base64
import hashlib
import string
from pathlib import Path


def _names(text: str) -> list[str]:
    return text.split()


def _hex(seed: str, chars: int) -> str:
    return hashlib.sha512(seed.encode()).hexdigest()[:chars]


def _base64(seed: str, chars: int) -> str:
    return base64.b64encode(hashlib.sha512(seed.encode()).digest()).decode()[:chars]


def _text(seed: str, chars: int, alphabet: str = string.ascii_lowercase + string.digits) -> str:
    number = int.from_bytes(hashlib.sha512(seed.encode()).digest() * 2)
    return "".join(
        alphabet[number // len(alphabet) ** index % len(alphabet)] for index in range(chars)
    )


SECRETS: tuple[tuple[str, str], ...] = (
    *(
        (name, "hunter2-Prod")
        for name in _names(
            "DB_PASSWORD DB_PASS DB_PWD MYSQL_PW MYSQL_ROOT_PASSWORD POSTGRES_PASSWORD "
            "PGPASSWORD REDIS_AUTH REDIS_PASSWORD MONGO_INITDB_ROOT_PASSWORD "
            "RABBITMQ_DEFAULT_PASS SMTP_PASSWORD SPRING_DATASOURCE_PASSWORD "
            "spring.datasource.password dbPassword ConnectionStrings__Password "
            "KEYSTORE_PASSPHRASE ADMIN_PASSWD GF_SECURITY_ADMIN_PASSWORD LDAP_BIND_PASSWORD "
            "BASIC_AUTH"
        )
    ),
    *(
        (name, _hex(name, 40))
        for name in _names(
            "GITHUB_TOKEN GH_TOKEN NPM_TOKEN SLACK_BOT_TOKEN VAULT_TOKEN SONAR_TOKEN "
            "SENTRY_AUTH_TOKEN DATADOG_API_KEY DD_API_KEY OPENAI_API_KEY STRIPE_SECRET "
            "STRIPE_API_KEY NEW_RELIC_LICENSE_KEY AWS_SECRET_ACCESS_KEY AZURE_CLIENT_SECRET "
            "GOOGLE_CLIENT_SECRET JWT_SECRET JWT_SECRET_KEY SECRET_KEY SECRET_KEY_BASE "
            "DJANGO_SECRET_KEY FLASK_SECRET_KEY APP_KEY SESSION_SECRET apiKey COOKIE_SECRET "
            "ENCRYPTION_KEY SIGNING_KEY HMAC_KEY WEBHOOK_SECRET clientSecret "
            "TWILIO_AUTH_TOKEN DATABASE_CREDENTIALS REFRESH_TOKEN ACCESS_TOKEN API_TOKEN_1 "
            "AZURE_STORAGE_KEY TOKEN_PEPPER CLOUDFLARE_API_TOKEN PULUMI_ACCESS_TOKEN TF_TOKEN "
            "GITLAB_PAT MASTER_KEY ALGOLIA_ADMIN_KEY TELEGRAM_BOT_TOKEN GPG_PASSPHRASE "
            "OAUTH_CLIENT_SECRET API_KEY_BASE64 API_SECRET_VALUE"
        )
    ),
    ("DATABASE_URL", "postgres://app:" + "s3cr3t@db.internal:5432/app"),
    ("REDIS_URL", "redis://:" + "s3cr3t@cache.internal:6379/0"),
    ("AMQP_ADDRESS", "amqps://worker:" + "s3cr3t@mq.internal"),
    ("CONNECTION", "Server=db;User=app;Pass" + "word=hunter2-Prod;"),
    ("AWS_ACCESS_KEY_ID", "AKIA" + "IOSFODNN7EXAMPLE"),
    ("SETTING", "ghp_" + _hex("github", 36)),
    ("SETTING", "glpat-" + _hex("gitlab", 20)),
    ("SETTING", "xoxb-" + "123456789012-abcdef"),
    ("SETTING", "sk_live_" + _hex("stripe", 24)),
    ("SETTING", "AIza" + _hex("google", 35)),
    ("SETTING", "-----BEGIN RSA " + "PRIVATE KEY-----"),
    ("SETTING", "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0.c2ln"),
    *(("SEED", _hex(str(chars), chars)) for chars in (32, 48, 64)),
    *((f"VALUE_{number}", _base64(f"random {number}", 44)) for number in range(8)),
    # Names that indicate a secret only together with the value.
    *(
        (name, _text(f"token of {name}", 24))
        for name in _names(
            "GITHUB_KEY WEATHER_KEY TOKEN_GITHUB PASSWORD_SHOP_ADMIN API_KEY_ACME SECRETS_OF_ACME"
        )
    ),
    ("HOSTING_KEY", "3f0c9a51-7be2-4d86-9c1e-52ab60f7d413"),
    ("SETTING", _text("lower case", 40)),
    *(
        (name, "hunter2-Prod")
        for name in _names("dbpassword CLIENTSECRET bottoken DB_PASSWORD_PROD API_TOKEN_STAGING")
    ),
    *((name, _hex(name, 40)) for name in ("TLS_KEY", "CONSUMER_KEY", "AUTHORIZATION")),
    # Random text with slashes is not a path, and does not name a secret.
    ("AWS_SECRET_ACCESS_KEY", "k7HqLmRtVwXz/B3NDp9Q/" + "dGfHjKsL2TyUe4Rkey"),
    ("HEADER", "Bearer " + _text("bearer", 30)),
    # Names that are not covered: one word in another language, and a PIN.
    ("KENNWORT", "hunter2-Prod"),
    ("SIM_PIN", "4711"),
)

HARMLESS: tuple[tuple[str, str], ...] = (
    ("IMAGE_DIGEST", _hex("image", 64)),
    ("FILE_HASH", _hex("file", 64)),
    ("TRACE_ID", _hex("trace", 32)),
    ("BUILD_VERSION", _hex("build", 32)),
    *((name, "x" * 12) for name in ("DB_PASSWORD", "API_KEY", "SETTING")),
    ("SLACK_TOKEN", "xoxb-" + "x" * 12 + "-" + "x" * 24),
    ("DB_PASSWORD", "AQICAH" + _base64("ciphertext", 80)),
    ("DB_PASSWORD", "vault:v1:" + _base64("transit", 40)),
    ("SETTING", "AQICAH" + _base64("random ciphertext", 80)),
    ("SITE_KEY", _text("site", 40, string.ascii_letters)),
    ("CACHE_KEY", "v1-" + _text("cache", 24)),
    ("PUBLIC_TOKEN", _text("public", 40)),
    ("STRIPE_PUBLISHABLE_KEY", "pk_live_" + _text("stripe", 40)),
    ("COMMIT", "a" * 7 + _hex("commit", 33)),
    ("RUM_CLIENT_TOKEN", "pub" + _hex("rum", 32)),
    *(
        (name, value)
        for name, _, value in (
            line.partition("=")
            for line in Path(__file__).with_name("harmless.env").read_text().splitlines()
        )
    ),
)
