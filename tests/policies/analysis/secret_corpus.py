"""Settings with and without secrets, by public naming conventions. The values are invented; those
in the format of a token are assembled, so that scanners do not report them.
"""

import base64
import hashlib
import string


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
            for line in """\
MAX_TOKENS=4096
NUM_TOKENS=16
TOKENIZERS_PARALLELISM=false
API_KEY_HEADER=x-api-key
PASSWORD_POLICY=at least 12 characters
PASSWORD_MIN_LENGTH=12
TOKEN_ISSUER=https://login.example.com
TOKEN_URL=https://login.example.com/token
ACCESS_TOKEN_LIFETIME=15m
ACCESS_TOKEN_EXPIRE_MINUTES=30
JWT_TOKEN_AUDIENCE=acme
SECRET_NAME=acme/database
DB_SECRET_ARN=arn:aws:secretsmanager:eu-west-1:123456789012:secret:db
DB_SECRET=arn:aws:secretsmanager:eu-west-1:123456789012:secret:db
DB_SECRET=acme-database-credentials
DB_SECRET=prod/acme/database
DB_PASSWORD_FILE=/run/secrets/db
POSTGRES_PASSWORD_FILE=/run/secrets/db
DB_PASSWORD=${DB_PASSWORD}
DB_PASSWORD={{resolve:secretsmanager:acme/db}}
DB_PASSWORD=
REDIS_AUTH=true
ENABLE_AUTH=true
USE_TOKEN=always-and-everywhere
KAFKA_AUTH=scram
AUTH=oauth2
AUTH_URL=https://login.example.com
AUTH_MODE=oidc
GRPC_AUTH=none
DATABASE_AUTH=password
DATABASE_AUTH=password_or_iam
SECRETS_BACKEND=aws
SECRET_PREFIX=acme
SECRET_ROTATION_DAYS=30
CREDENTIALS_PROVIDER=instance-profile
GOOGLE_APPLICATION_CREDENTIALS=/var/run/gcp.json
AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/credentials/1
KMS_KEY_ID=1234abcd-12ab-34cd-56ef-1234567890ab
PRIMARY_KEY=customer_id
PARTITION_KEY=customer_id
SORT_KEY=created_at
CACHE_KEY_PREFIX=acme
S3_KEY=releases/acme.zip
KEY_PATH=/etc/keys/tls
PUBLIC_KEY=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAu1SU1LfVLPHCozMxH2Mo
VERIFIER=MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs5o9yOPnWAMe8D5gHNO7r8mFkw
NEXT_PUBLIC_API_URL=https://api.example.com
COMMIT_SHA=2fd4e1c67a2d28fced849ee1bb76e7391b93eb12
INSTANCE_UUID=6ba7b8109dad11d180b400c04fd430c8
HANDLER=AcmeGatewayNotificationServiceHandlerV2
CLASSPATH=/opt/acme/lib/AcmeGatewayService2.jar
MODULE=com/acme/gateway/NotificationService2Handler
CONFIG_PATH=/etc/Acme/Gateway2/Settings/Production
QUEUE_URL=https://sqs.eu-west-1.amazonaws.com/123456789012/Acme-Jobs-Production1
TABLE=AcmeGatewayCustomerOrdersProduction2
BUCKET=acme-gateway-prod-eu-west-1-123456789012
DATABASE_URL=postgres://db.internal:5432/app
DATABASE_URL=postgres://app@db.internal:5432/app
DATABASE_HOST=db.cluster-abc123.eu-west-1.rds.amazonaws.com
LOG_LEVEL=info
PORT=8080
SPRING_PROFILES_ACTIVE=prod
NODE_ENV=production
DJANGO_SETTINGS_MODULE=acme.settings.production
JAVA_OPTS=-Xmx512m -XX:+UseG1GC
PYTHONPATH=/app
FEATURE_PASSWORD_RESET=true
PASSWORD_RESET_URL=https://www.example.com/reset
TOKEN_TABLE=acme-tokens
TOKEN_BUCKET_SIZE=100
RATE_LIMIT_TOKENS_PER_SECOND=50
SESSION_COOKIE_NAME=session
COGNITO_CLIENT_ID=3n4b5urk1ft4fl3mg5e62d9ado
OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318
BYPASS=/healthz
COMPASS_HOST=compass.internal
KEYBOARD=us
PASSENGER_COUNT=4
API_KEY=yyyy
DB_PASSWORD=${{DB_PASSWORD}}
DB_PASSWORD={DbPassword}
DB_PASSWORD=ENC[AES256_GCM,data:k3J0,iv:b2Jq,tag:cTk1,type:str]
PRIVATE_KEY=certs/localhost/server.pem
RESET_PASSWORD=reset-password.sh
auth-token=^1.4.6
CLIENT_AUTH=want
UPDATE_PASSWORD=on_create
STORAGE_SECRET=ceph-key-admin
KMS_KEY=3f0c9a51-7be2-4d86-9c1e-52ab60f7d413
TOKEN_AUDIENCE=3f0c9a51-7be2-4d86-9c1e-52ab60f7d413
TOKEN_TABLE=acme-tokens-3f2a1b4
SECRETS_STORE=acme-secrets-3f2a1b4
TOKEN_ENDPOINT=login-1.acme2.example.com:5215
BUCKET=acmegatewayproductionlogs123456789012
""".splitlines()
        )
    ),
)
