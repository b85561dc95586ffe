-- Contacts of keys
ALTER TABLE api_key ADD COLUMN contact text NOT NULL DEFAULT '';
ALTER TABLE api_key ADD CONSTRAINT api_key_purged_contact_check
    CHECK (state <> 'purged' OR contact = '');
ALTER TABLE webhook ADD COLUMN contact_only boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN delivery.target IS 'ID of a webhook, or topic, or email';
