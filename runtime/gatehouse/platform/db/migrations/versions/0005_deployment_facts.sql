-- Settings on which the processes of a deployment agree
CREATE TABLE deployment_fact (
    name  text PRIMARY KEY,  -- a setting, with the generation of a secret
    value text NOT NULL      -- of a secret: an HMAC
);
GRANT SELECT, INSERT ON deployment_fact TO gatehouse_app;
GRANT SELECT ON schema_revision TO gatehouse_app;
