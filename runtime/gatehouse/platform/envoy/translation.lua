-- Translates the URLs of a Core in the headers of a response to those that clients use. The check
-- adds the header x-gh-urls, which Envoy removes after this: the prefix of the Core for clients, its prefix at the instance, the
-- host for clients, the host of the instance, and "/" if that is the path of the request below the
-- prefix. "-" stands for an empty text. bootstrap.py adds the table GATEWAY_HEADERS before this.
--
-- This code runs in a thread that serves many clients, and a Core determines the values. So a
-- pattern is a single set of characters, and a bounded part of a value is read, a fixed number of
-- times.

-- Browsers store no cookie with a name and a value of more than 4,096 bytes, and ignore attributes
-- of more than 1,024 (RFC 6265bis, section 5.7). Of a URL, only its host and prefix are read.
local VALUE_BYTES_MAX, CONNECTION_BYTES_MAX = 8192, 1024
local CONSOLE_COOKIE = "__host-gatehouse"

-- The position of the first of these characters, or the position after the text.
local function find_any(text, characters, position)
  return text:find(characters, position) or #text + 1
end

local function trim(text)
  local first, last = find_any(text, "[^ \t]", 1), #text
  while last > first and text:find("[ \t]", last) == last do last = last - 1 end
  return text:sub(first, last)
end

-- Calls a function with each part of a text between separators.
local function for_each(text, separator, call)
  local first = 1
  while first <= #text + 1 do
    local last = text:find(separator, first, true) or #text + 1
    call(text:sub(first, last - 1))
    first = last + 1
  end
end

local function below(path, prefix)
  if path:sub(1, #prefix) ~= prefix then return false end
  local following = path:sub(#prefix + 1, #prefix + 1)
  return following == "" or following == "/" or following == "?" or following == "#"
end

local function without_default_port(host)
  host = host:lower()
  if host:sub(-3) == ":80" then host = host:sub(1, -4) end
  return host:sub(-4) == ":443" and host:sub(1, -5) or host
end

local function without_port(host)
  local last = #host
  while last > 0 and host:find("[0-9]", last) == last do last = last - 1 end
  return host:sub(last, last) == ":" and last < #host and host:sub(1, last - 1) or host
end

-- A host without a port is the known host with any port: applications behind a proxy often do not
-- know their port.
local function same_host(host, known)
  host, known = without_default_port(host), without_default_port(known)
  return host == known or host == without_port(known)
end

-- A Core that knows the prefix, for example from X-Forwarded-Prefix, uses the path of clients.
local function client_path(path, urls)
  if urls.client ~= "" and below(path, urls.client) then return path end
  if not below(path, urls.core) then return path end
  path = urls.client .. path:sub(#urls.core + 1)
  return path:sub(1, 1) == "/" and path or "/" .. path
end

-- Browsers read a backslash as a slash.
local function has_two_slashes(text, position)
  local two = text:sub(position, position + 1)
  return #two == 2 and not two:find("[^/\\]")
end

-- The host and the rest of a URL with an authority.
local function authority(reference)
  local scheme, first = reference:sub(1, 6):lower(), 1
  if scheme == "https:" then first = 7 elseif scheme:sub(1, 5) == "http:" then first = 6 end
  if not has_two_slashes(reference, first) then return nil end
  first = first + 2
  local last = find_any(reference, "[/\\?#]", first)
  local path, at = reference:sub(last), reference:find("@", first, true)
  while at and at < last do
    first, at = at + 1, reference:find("@", at + 1, true)
  end
  return reference:sub(first, last - 1), path
end

local function location(reference, urls)
  local start, rest = reference:sub(1, VALUE_BYTES_MAX), reference:sub(VALUE_BYTES_MAX + 1)
  local host, path = authority(start)
  if not host then
    -- A relative reference stays valid: the client resolves it against its own URL.
    return reference:sub(1, 1) == "/" and client_path(start, urls) .. rest or reference
  end
  local is_public = same_host(host, urls.public_host)
  if not (is_public or same_host(host, urls.core_host)) then return reference end
  if path == "" and rest ~= "" then return reference end  -- the end of the host is unknown
  if is_public and urls.client ~= "" and path:sub(1, 7) == "/cores/" then return reference end
  path = client_path(path:sub(1, 1) == "/" and path or "/" .. path, urls) .. rest
  return has_two_slashes(path, 1) and "//" .. urls.public_host .. path or path
end

-- The path of a cookie, and its other attributes, each with a semicolon. The path is nil without
-- the attribute. Only the last one is valid (RFC 6265, section 5.3).
local function cookie_attributes(attributes)
  local path, kept = nil, {}
  for_each(attributes, ";", function(attribute)
    local first = find_any(attribute, "[^ \t]", 1)
    local last = find_any(attribute, "[= \t]", first)
    local name = attribute:sub(first, last - 1):lower()
    if name == "path" then
      local equals = attribute:find("=", last, true)
      path = equals and trim(attribute:sub(equals + 1)) or ""
    elseif name ~= "domain" then
      kept[#kept + 1] = ";" .. attribute
    end
  end)
  return path, table.concat(kept)
end

-- Without Domain, so that no other host receives the cookie, and with the path that clients use. A
-- path outside of the Core becomes the prefix. Returns nil if a client must not receive it.
local function cookie(value, urls)
  if #value > VALUE_BYTES_MAX then return nil end
  local last = find_any(value, "[;]", 1)
  local pair = value:sub(1, last - 1)
  local stripped = pair:sub(find_any(pair, "[^= \t]", 1))
  local name = stripped:sub(1, #CONSOLE_COOKIE):lower()
  if name == CONSOLE_COOKIE then return nil end
  local is_host = name:sub(1, 7) == "__host-"
  if is_host and urls.client ~= "" then
    -- All Cores would receive it, because a cookie with this prefix is valid only with Path=/.
    pair, is_host = "__Secure-Host-" .. stripped:sub(8), false
  end
  local path, kept = nil, ""
  if last <= #value then path, kept = cookie_attributes(value:sub(last + 1)) end
  if path and path:sub(1, 1) == "/" then
    if not is_host then
      path = client_path(path, urls)
      if not below(path, urls.client) then path = urls.client end
      if path == "" then path = "/" end
      if path ~= "/" and path:sub(-1) == "/" then path = path:sub(1, -2) end
    end
  elseif urls.path == "/" then
    -- The default path of a cookie from /cores/docs would be /cores (RFC 6265, section 5.1.4).
    path = urls.client ~= "" and urls.client or "/"
  else
    return pair .. kept
  end
  return pair .. kept .. "; Path=" .. path
end

local function is_of_gateway(name)
  for _, own in ipairs(GATEWAY_HEADERS) do
    if name == own or own:sub(-1) == "*" and name:sub(1, #own - 1) == own:sub(1, -2) then
      return true
    end
  end
  return false
end

-- Fields for a single connection (RFC 9110, section 7.6.1), except those that a Core does not set
-- and the header of a WebSocket handshake.
local function remove_listed(headers)
  local connection = headers:get("connection")
  if not connection then return end
  for_each(connection:sub(1, CONNECTION_BYTES_MAX), ",", function(name)
    name = trim(name):lower()
    local is_field = name ~= "" and name ~= "upgrade" and name:sub(1, 1) ~= ":"
    if is_field and not is_of_gateway(name) then headers:remove(name) end
  end)
end

local function translate(headers, urls)
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

function envoy_on_response(handle)
  local headers = handle:headers()
  if headers:get(":status") == "101" and handle:streamInfo():routeName() ~= "websocket" then
    headers:replace(":status", "502")
  end
  remove_listed(headers)
  local text = headers:get("x-gh-urls")
  if not text then return end
  local names, urls = {"client", "core", "public_host", "core_host", "path"}, {}
  for_each(text, " ", function(value)
    urls[names[1]] = value == "-" and "" or value
    table.remove(names, 1)
  end)
  translate(headers, urls)
end
