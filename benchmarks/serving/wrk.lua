-- The rows in turn, from a file with one body per line; at the end one line of JSON.

local bodies = {}
local turn = 0

function init(args)
   for line in io.lines(args[1]) do
      bodies[#bodies + 1] = wrk.format("POST", nil, {["content-type"] = "application/json"}, line)
   end
end

function request()
   turn = turn % #bodies + 1
   return bodies[turn]
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"seconds": %.6f, "requests": %d, "errors": %d, "p50_ms": %.4f, "p99_ms": %.4f}\n',
      summary.duration / 1e6, summary.requests,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
