-- Arguments after "--": depth, method, a file with the body. Prints what it counted as one line of JSON at the end.

local batch

function init(args)
  local depth = tonumber(args[1])
  wrk.method = args[2]
  local file = assert(io.open(args[3], "rb"))
  local body = file:read("*a")
  file:close()
  if body ~= "" then wrk.body = body end
  batch = string.rep(wrk.format(), depth)
end

function request()
  return batch
end

function done(summary, latency, requests)
  io.write(string.format(
    '\nCOUNTED {"requests":%d,"microseconds":%d,"bytes":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"p99":%d}\n',
    summary.requests, summary.duration, summary.bytes, summary.errors.connect, summary.errors.read,
    summary.errors.write, summary.errors.status, summary.errors.timeout, latency:percentile(99)))
end
