-- The database and its two roles. Run by an administrator with psql 15 or later, with the passwords in OWNER_PASSWORD and APP_PASSWORD.
\getenv owner_password OWNER_PASSWORD
\getenv app_password APP_PASSWORD
CREATE ROLE gatehouse_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE gatehouse_app LOGIN PASSWORD :'app_password';
-- Without this membership, only a superuser can create a database for another owner.
GRANT gatehouse_owner TO CURRENT_USER;
CREATE DATABASE gatehouse OWNER gatehouse_owner;
