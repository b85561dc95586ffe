-- Script for wrk: sends the requests of a file in turn, on all connections. Arguments: the file, and
-- the mean pause of a connection between two requests in milliseconds (0: none). In the file, each
-- request follows a line with its size in bytes. Prints one line with the results.
local requests, position = {}, 0

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  for size in file:lines() do
    requests[#requests + 1] = file:read(tonumber(size))
  end
  file:close()
  local pause_ms = tonumber(arguments[2])
  if pause_ms > 0 then
    function delay()
      return math.random(0, 2 * pause_ms)
    end
  end
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout + errors.status
  io.write(string.format("result %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), failed))
end
