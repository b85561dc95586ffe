-- Translates the URLs of a Core in the headers of a response to those that clients use. The check
-- adds the header x-gh-urls: the prefix of the Core for clients, its prefix at the instance, the
-- host for clients, the host of the instance, and "/" if that is the path of the request below the
-- prefix. "-" stands for an empty text.

local CONSOLE_COOKIE = "__host-gatehouse"

local function below(path, prefix)
  if path:sub(1, #prefix) ~= prefix then return false end
  local following = path:sub(#prefix + 1, #prefix + 1)
  return following == "" or following == "/" or following == "?" or following == "#"
end

local function without_default_port(host)
  return (host:lower():gsub(":80$", ""):gsub(":443$", ""))
end

-- A host without a port is the known host with any port: applications behind a proxy often do not
-- know their port.
local function same_host(host, known)
  host, known = without_default_port(host), without_default_port(known)
  return host == known or host == known:gsub(":%d+$", "")
end

-- A Core that knows the prefix, for example from X-Forwarded-Prefix, uses the path of clients.
local function client_path(path, urls)
  if urls.client ~= "" and below(path, urls.client) then return path end
  if not below(path, urls.core) then return path end
  path = urls.client .. path:sub(#urls.core + 1)
  return path:sub(1, 1) == "/" and path or "/" .. path
end

-- The host and the rest of a URL with an authority. Browsers read a backslash as a slash.
local function authority(reference)
  local rest = reference:match("^[hH][tT][tT][pP][sS]?:([/\\][/\\].*)$") or reference
  local host, path = rest:match("^[/\\][/\\]([^/\\?#]*)(.*)$")
  if host then host = host:match("@([^@]*)$") or host end
  return host, path
end

local function location(reference, urls)
  local host, path = authority(reference)
  if not host then
    -- A relative reference stays valid: the client resolves it against its own URL.
    return reference:sub(1, 1) == "/" and client_path(reference, urls) or reference
  end
  local is_public = same_host(host, urls.public_host)
  if not (is_public or same_host(host, urls.core_host)) then return reference end
  if is_public and urls.client ~= "" and path:sub(1, 7) == "/cores/" then return reference end
  path = client_path(path:sub(1, 1) == "/" and path or "/" .. path, urls)
  return path:match("^[/\\][/\\]") and "//" .. urls.public_host .. path or path
end

-- Without Domain, so that no other host receives the cookie, and with the path that clients use. A
-- path outside of the Core becomes the prefix. Only the last path is valid (RFC 6265, section 5.3).
local function cookie(value, urls)
  local pair, attributes = value:match("^([^;]*)(.*)$")
  local name = pair:gsub("^[= \t]+", ""):lower()
  if name:sub(1, #CONSOLE_COOKIE) == CONSOLE_COOKIE then return nil end
  local is_host = name:sub(1, 7) == "__host-"
  if is_host and urls.client ~= "" then
    -- All Cores would receive it, because a cookie with this prefix is valid only with Path=/.
    pair, is_host = "__Secure-Host-" .. pair:gsub("^[= \t]+", ""):sub(8), false
  end
  local path, kept = nil, {pair}
  for attribute in attributes:gmatch(";([^;]*)") do
    local key = attribute:match("^[ \t]*([^= \t]*)"):lower()
    if key == "path" then
      path = (attribute:match("=(.*)$") or ""):match("^%s*(.-)%s*$")
    elseif key ~= "domain" then
      kept[#kept + 1] = attribute
    end
  end
  if path and path:sub(1, 1) == "/" then
    if not is_host then
      path = client_path(path, urls)
      if not below(path, urls.client) then path = urls.client end
      path = path:match("^(.+)/$") or (path == "" and "/" or path)
    end
  elseif urls.path == "/" then
    -- The default path of a cookie from /cores/docs would be /cores (RFC 6265, section 5.1.4).
    path = urls.client ~= "" and urls.client or "/"
  else
    return table.concat(kept, ";")
  end
  return table.concat(kept, ";") .. "; Path=" .. path
end

-- Fields for a single connection (RFC 9110, section 7.6.1).
local function remove_listed(headers)
  local connection = headers:get("connection")
  if not connection then return end
  for name in connection:gmatch("[^%s,]+") do
    name = name:lower()
    if name ~= "close" and name ~= "keep-alive" and name ~= "upgrade" then headers:remove(name) end
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  if headers:get(":status") == "101" and handle:streamInfo():routeName() ~= "websocket" then
    headers:replace(":status", "502")
  end
  remove_listed(headers)
  local text = headers:get("x-gh-urls")
  if not text then return end
  headers:remove("x-gh-urls")
  local urls = {}
  for _, name in ipairs({"client", "core", "public_host", "core_host", "path"}) do
    local value, rest = text:match("^(%S+) ?(.*)$")
    urls[name], text = value == "-" and "" or value, rest
  end
  for _, name in ipairs({"location", "content-location"}) do
    -- One value is valid, and get() would join all.
    local value = headers:getAtIndex(name, 0)
    if value then headers:replace(name, location(value, urls)) end
  end
  local number, values = headers:getNumValues("set-cookie"), {}
  if number == 0 then return end
  for index = 0, number - 1 do
    values[#values + 1] = cookie(headers:getAtIndex("set-cookie", index), urls)
  end
  headers:remove("set-cookie")
  for _, value in ipairs(values) do headers:add("set-cookie", value) end
end
