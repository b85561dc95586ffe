-- The action of haproxy.cfg: asks the gateway, and returns status, body and headers of a denial.
local VERIFY = "http://127.0.0.1:8080/v1/keys/authorize?scope=orders:read&method="

core.register_action("gatehouse", { "http-req" }, function(txn)
    local received, sent = txn.http:req_get_headers(), { ["x-forwarded-for"] = { txn.sf:src() } }
    for _, name in ipairs({ "authorization", "x-api-key" }) do
        for _, value in pairs(received[name] or {}) do
            sent[name] = sent[name] or {}
            table.insert(sent[name], value)
        end
    end
    local reply = core.httpclient():get({ url = VERIFY .. txn.sf:method(), headers = sent, timeout = 5000 })
    if reply.status == 200 then
        txn:set_var("txn.key_id", reply.headers["gatehouse-key-id"][0])
        return
    end
    local denial = txn:reply({ status = reply.status > 0 and reply.status or 503 })
    for _, name in ipairs({ "content-type", "www-authenticate", "retry-after" }) do
        for _, value in pairs(reply.headers[name] or {}) do
            denial:add_header(name, value)
        end
    end
    denial:set_body(reply.body or "")
    txn:done(denial)
end)
